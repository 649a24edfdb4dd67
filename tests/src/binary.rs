//! The programs under test. `make` builds them once and names their folder in `PORTCULLIS_BINARIES`; without it each program is
//! built when a test first needs it, so that a plain `cargo test` never runs an old one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::Deserialize;

use crate::Error;

static BUILT: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);

/// The path of a program of this workspace: `portcullis-server`, `portcullis-operator`, `crm-api`. The package must have the
/// name of the program.
///
/// # Errors
/// Returns an error if it is not in `PORTCULLIS_BINARIES`, or cannot be built.
pub fn binary(name: &str) -> Result<PathBuf, Error> {
    if let Some(folder) = std::env::var_os("PORTCULLIS_BINARIES") {
        let path = Path::new(&folder).join(name);
        let missing =
            || Error::MissingBinary { name: name.to_owned(), folder: Path::new(&folder).display().to_string() };
        return path.canonicalize().map_err(|_| missing());
    }
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return Ok(path.clone());
    }
    let path = build(name)?;
    built.insert(name.to_owned(), path.clone());
    Ok(path)
}

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

fn build(name: &str) -> Result<PathBuf, Error> {
    let arguments =
        ["build", "--quiet", "--package", name, "--bin", name, "--message-format", "json-render-diagnostics"];
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(Error::io(format!("building {name}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    match messages.filter_map(|message| message.executable).next_back() {
        Some(path) if output.status.success() => Ok(path),
        _ => Err(Error::Command {
            command: format!("cargo {}", arguments.join(" ")),
            status: output.status,
            output: "(see its messages above)".to_owned(),
        }),
    }
}
