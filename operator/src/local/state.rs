//! The state folder: what outlives a run. Readable by its owner only; one `local` at a time has it.

use std::{
    env, fs,
    fs::{DirBuilder, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use portcullis_crds::NamespacedName;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::Error;

/// A state folder that is this process's until it ends.
pub(super) struct State {
    root: PathBuf,
    /// The lock is the open file's: the system gives it back, however this process ends.
    _lock: File,
}

/// The state folder of a folder of manifests, where none is asked for.
pub(super) fn default_root(folder: &Path) -> PathBuf {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().map_or_else(|| "root".into(), |name| name.to_string_lossy().into_owned());
    let digest = hex::encode(Sha256::digest(folder.as_os_str().as_encoded_bytes()));
    let base = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|base| base.is_absolute());
    let home = || env::home_dir().map(|home| home.join(".local/state"));
    let base = base.or_else(home).map_or_else(|| PathBuf::from(".portcullis"), |base| base.join("portcullis"));
    base.join(format!("{name}-{}", &digest[..8]))
}

impl State {
    /// # Errors
    /// Where the folder can't be made, or another process has it.
    pub fn open(root: PathBuf) -> Result<Self, Error> {
        make_folder(&root)?;
        let root = fs::canonicalize(&root).map_err(Error::io(root.display().to_string()))?;
        let path = root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(Error::io(path.display().to_string()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| Error::Locked { root: root.clone() })?;
        Ok(Self { root, _lock: lock })
    }

    /// Where the clients' credentials are.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub fn servers(&self) -> PathBuf {
        self.root.join("servers")
    }

    /// What a server's pod would mount.
    pub fn volume(&self, server: &NamespacedName) -> PathBuf {
        self.servers().join(&server.namespace).join(&server.name).join("config")
    }

    pub fn log(&self, server: &NamespacedName) -> PathBuf {
        self.servers().join(&server.namespace).join(format!("{}.log", server.name))
    }

    pub fn identities(&self) -> PathBuf {
        self.root.join("identities.json")
    }

    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.json")
    }
}

/// Makes a folder, and those above it, for its owner only.
pub(super) fn make_folder(folder: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Error::io(folder.display().to_string()))
}

/// Writes a file for its owner only; a reader sees the old content or the new one.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let failed = || Error::io(path.display().to_string());
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let draft = path.with_extension("tmp");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft).map_err(failed())?;
    file.write_all(content).map_err(failed())?;
    fs::rename(&draft, path).map_err(failed())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn two_never_share_a_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::open(folder.path().join("a/b")).unwrap();
        let refused = State::open(folder.path().join("a/b")).map(|_| ()).unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }), "{refused}");
        drop(first);
        State::open(folder.path().join("a/b")).unwrap();
    }

    #[test]
    fn what_is_written_is_its_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path().join("state")).unwrap();
        let file = state.keys().join("sales/bot-key.key");
        write(&file, b"secret").unwrap();
        write(&file, b"another").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap()), mode(&state.root)), (0o600, 0o700, 0o700));
        assert_eq!(fs::read(&file).unwrap(), b"another");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }
}
