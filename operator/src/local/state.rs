//! The state folder: what outlives a run. It is readable by its owner only, and used by one `local` at a time.

use std::{
    collections::BTreeSet,
    env, fs,
    fs::{DirBuilder, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use portcullis_crds::NamespacedName;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::error::Error;

/// A state folder, locked until this process ends.
pub(super) struct State {
    root: PathBuf,
    /// The system releases the lock of an open file however the process ends.
    _lock: File,
}

/// The default state folder of these manifests, in whatever order they are named.
pub(super) fn default_root(paths: &[PathBuf]) -> PathBuf {
    let canonical = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let paths: BTreeSet<_> = paths.iter().map(canonical).collect();
    let name = paths.first().and_then(|path| path.file_name());
    let name = name.map_or_else(|| "root".into(), |name| name.to_string_lossy().into_owned());
    let paths: Vec<_> = paths.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect();
    let digest = hex::encode(Sha256::digest(paths.join(&0)));
    let base = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|base| base.is_absolute());
    let home = || env::home_dir().map(|home| home.join(".local/state"));
    let base = base.or_else(home).map_or_else(|| PathBuf::from(".portcullis"), |base| base.join("portcullis"));
    base.join(format!("{name}-{}", &digest[..8]))
}

impl State {
    /// # Errors
    /// Returns an error if the folder cannot be created, or if another process uses it.
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

    /// The values of Secrets that it would mount.
    pub fn secrets(&self, server: &NamespacedName) -> PathBuf {
        self.servers().join(&server.namespace).join(&server.name).join("secrets")
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

/// Creates a folder, and its parents, for its owner only.
pub(super) fn make_folder(folder: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Error::io(folder.display().to_string()))
}

/// Writes a file for its owner only. A reader sees either the old content or the new one.
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
    fn a_state_folder_is_used_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::open(folder.path().join("a/b")).unwrap();
        let refused = State::open(folder.path().join("a/b")).map(|_| ()).unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }), "{refused}");
        drop(first);
        State::open(folder.path().join("a/b")).unwrap();
    }

    #[test]
    fn files_are_readable_by_their_owner_only() {
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
