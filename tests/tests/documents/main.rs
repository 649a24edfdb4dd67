//! The documents agree with the code where a program can check it: the paths, names and links that they contain exist, and the
//! imports follow the floors of docs/architecture.md.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod floors;
mod links;
mod tasks;

use std::path::{Path, PathBuf};

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
