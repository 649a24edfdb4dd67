//! The folder of a server's documents, written as kubelet writes a projected volume: each version is a folder of its own,
//! `..data` links to the current one, and the files link through `..data`. A change is one rename.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis_crds::contract::{CREDENTIALS_FILE, Credentials, POLICY_FILE, Policy};
use tempfile::TempDir;

use crate::Error;

/// A folder for `policy.yaml` and `credentials.yaml`, removed with the value.
pub struct ConfigFolder {
    folder: TempDir,
    versions: AtomicU32,
}

impl ConfigFolder {
    /// An empty folder.
    ///
    /// # Errors
    /// Returns an error if it cannot be created.
    pub fn new() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("pc-config-").tempdir().map_err(writing())?;
        Ok(Self { folder, versions: AtomicU32::new(0) })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces both documents at once.
    ///
    /// # Errors
    /// Returns an error if they cannot be written.
    pub fn write(&self, policy: &Policy, credentials: &Credentials) -> Result<(), Error> {
        self.write_text(Some(policy.text()), Some(credentials.text()))
    }

    /// Replaces the policy, and keeps the credentials.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn write_policy(&self, policy: &Policy) -> Result<(), Error> {
        self.write_text(Some(policy.text()), None)
    }

    /// Replaces the credentials, and keeps the policy.
    ///
    /// # Errors
    /// Returns an error if they cannot be written.
    pub fn write_credentials(&self, credentials: &Credentials) -> Result<(), Error> {
        self.write_text(None, Some(credentials.text()))
    }

    /// Replaces the files by these texts; `None` keeps a file.
    ///
    /// # Errors
    /// Returns an error if they cannot be written.
    pub fn write_text(&self, policy: Option<&str>, credentials: Option<&str>) -> Result<(), Error> {
        let version = format!("..version-{}", self.versions.fetch_add(1, Ordering::Relaxed));
        let next = self.path().join(&version);
        std::fs::create_dir(&next).map_err(writing())?;
        let last = std::fs::read_link(self.data()).ok();
        for (name, text) in [(POLICY_FILE, policy), (CREDENTIALS_FILE, credentials)] {
            match (text, &last) {
                (Some(text), _) => std::fs::write(next.join(name), text).map_err(writing())?,
                (None, Some(last)) => {
                    std::fs::copy(self.path().join(last).join(name), next.join(name)).map_err(writing())?;
                }
                (None, None) => {}
            }
        }
        let link = self.path().join("..data_tmp");
        symlink(&version, &link).map_err(writing())?;
        std::fs::rename(&link, self.data()).map_err(writing())?;
        for name in [POLICY_FILE, CREDENTIALS_FILE] {
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

fn writing() -> impl FnOnce(std::io::Error) -> Error {
    Error::io("writing the server's folder")
}
