//! The documents are true as far as a program can tell: what they name exists, and imports go as they say.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod floors;
mod links;

use std::path::{Path, PathBuf};

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
