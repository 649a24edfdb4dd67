//! The server's folder, written as kubelet writes a projected volume: each state is a folder of its own, `..data` is a
//! link to the one in force, and the files are links through `..data`. A change is one rename.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis_crds::{Credentials, Policy, credentials, policy};
use tempfile::TempDir;

use crate::Error;

/// A folder with `policy.yaml` and `credentials.yaml`, removed with the value.
pub struct ConfigFolder {
    folder: TempDir,
    states: AtomicU32,
}

impl ConfigFolder {
    /// An empty one: neither file is there.
    pub fn new() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("pc-config-").tempdir().map_err(writing())?;
        Ok(Self { folder, states: AtomicU32::new(0) })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Both documents, in one swap.
    pub fn write(&self, policy: &Policy, credentials: &Credentials) -> Result<(), Error> {
        self.write_text(Some(&printed(policy.print())?), Some(&printed(credentials.print())?))
    }

    /// A new policy; the credentials stay as they are.
    pub fn write_policy(&self, policy: &Policy) -> Result<(), Error> {
        self.write_text(Some(&printed(policy.print())?), None)
    }

    /// New credentials; the policy stays as it is.
    pub fn write_credentials(&self, credentials: &Credentials) -> Result<(), Error> {
        self.write_text(None, Some(&printed(credentials.print())?))
    }

    /// Whatever these texts are; a file without a text stays as it is.
    pub fn write_text(&self, policy: Option<&str>, credentials: Option<&str>) -> Result<(), Error> {
        let state = format!("..state-{}", self.states.fetch_add(1, Ordering::Relaxed));
        let next = self.path().join(&state);
        std::fs::create_dir(&next).map_err(writing())?;
        let last = std::fs::read_link(self.data()).ok();
        for (name, text) in [(policy::FILE, policy), (credentials::FILE, credentials)] {
            match (text, &last) {
                (Some(text), _) => std::fs::write(next.join(name), text).map_err(writing())?,
                (None, Some(last)) => {
                    std::fs::copy(self.path().join(last).join(name), next.join(name)).map_err(writing())?;
                }
                (None, None) => {}
            }
        }
        let link = self.path().join("..data_tmp");
        symlink(&state, &link).map_err(writing())?;
        std::fs::rename(&link, self.data()).map_err(writing())?;
        for name in [policy::FILE, credentials::FILE] {
            if !self.path().join(name).is_symlink() {
                symlink(Path::new("..data").join(name), self.path().join(name)).map_err(writing())?;
            }
        }
        if let Some(last) = last {
            std::fs::remove_dir_all(self.path().join(last)).map_err(writing())?;
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.path().join("..data")
    }
}

fn printed(text: Result<String, serde_yaml::Error>) -> Result<String, Error> {
    text.map_err(|error| Error::io("printing a document")(std::io::Error::other(error)))
}

fn writing() -> impl FnOnce(std::io::Error) -> Error {
    Error::io("writing the server's folder")
}
