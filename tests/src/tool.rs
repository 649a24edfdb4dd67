//! Programs that check the Helm chart, from the recipe in `tests/cluster/tool`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

/// The path of a program, or of a folder, that `tests/cluster/tool` knows by this name. If the cache does not hold it, it is made first,
/// which can take minutes.
///
/// # Errors
/// Returns an error if it cannot be made.
pub fn tool(name: &str) -> Result<PathBuf, Error> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/tool");
    let mut command = Command::new(&script);
    let output = command.arg(name).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(Error::io(format!("making {name}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(PathBuf::from(text.trim_end())),
        false => {
            Err(Error::Command { command: format!("{} {name}", script.display()), status: output.status, output: text })
        }
    }
}
