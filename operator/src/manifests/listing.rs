//! The files that may contain manifests, and a cheap way to detect that one of them changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    io::Read,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The content of each file or why it cannot be read, by the name that findings give it.
pub type Files = BTreeMap<String, Result<Vec<u8>, String>>;

/// What stands for standard input, and what findings call it.
const STDIN: (&str, &str) = ("-", "stdin");
/// How the names of manifests in a folder end.
const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Files, folders of which the manifests are read, and `-` for standard input. Findings call a file of the only folder by its name, and
/// others by their paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Vec<PathBuf>);

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{}: there is no such file or folder", path.display())]
    Missing { path: PathBuf },
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: the folder contains no file *.yaml, *.yml or *.json; folders in it are not read", path.display())]
    NoManifests { path: PathBuf },
    #[error("stdin is empty; pass manifests to it, or name files or folders")]
    EmptyStdin,
}

/// Differs whenever a file was written, created or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderStamp(BTreeMap<String, (Option<SystemTime>, u64, u64)>);

impl FolderStamp {
    /// The names of the files that differ between the two.
    pub fn differing(&self, other: &Self) -> BTreeSet<String> {
        let names = self.0.keys().chain(other.0.keys());
        names.filter(|name| self.0.get(*name) != other.0.get(*name)).cloned().collect()
    }
}

impl Sources {
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Reads all of them: of a folder the files `*.yaml`, `*.yml` and `*.json` that are not hidden, and no folders in it. A file that is
    /// named twice is read once.
    ///
    /// # Errors
    /// Returns an error if a path does not exist, or if a folder cannot be listed or contains no manifest.
    pub fn read(&self) -> Result<Files, SourceError> {
        let entries = self.entries()?;
        for path in self.0.iter().filter(|path| path.is_dir()) {
            if names(path).is_ok_and(|names| names.is_empty()) {
                return Err(SourceError::NoManifests { path: path.clone() });
            }
        }
        let mut files = contents(&entries);
        if self.0.iter().any(|path| is_stdin(path)) {
            let mut text = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut text);
            read.map_err(|source| SourceError::Unreadable { path: STDIN.1.into(), source })?;
            if text.trim_ascii().is_empty() {
                return Err(SourceError::EmptyStdin);
            }
            files.insert(STDIN.1.to_owned(), Ok(text));
        }
        Ok(files)
    }

    /// The same of files and folders, of which a folder may be empty.
    ///
    /// # Errors
    /// Returns an error if a path does not exist, or if a folder cannot be listed.
    pub fn reread(&self) -> Result<Files, SourceError> {
        Ok(contents(&self.entries()?))
    }

    /// The stamp of all files.
    ///
    /// # Errors
    /// As [`Sources::reread`].
    pub fn stamp(&self) -> Result<FolderStamp, SourceError> {
        let mark = |path: &Path| {
            let metadata = fs::metadata(path).ok();
            // With the inode: an editor may replace a file by one of the same size and time.
            let inode = |metadata: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(metadata);
            metadata.map_or((None, 0, 0), |it| (it.modified().ok(), it.len(), inode(&it)))
        };
        Ok(FolderStamp(self.entries()?.into_iter().map(|(name, path)| (name, mark(&path))).collect()))
    }

    /// Each file with the name that findings give it.
    fn entries(&self) -> Result<BTreeMap<String, PathBuf>, SourceError> {
        let mut entries = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for path in self.0.iter().filter(|path| !is_stdin(path)) {
            let failed = |source: io::Error| match source.kind() {
                io::ErrorKind::NotFound => SourceError::Missing { path: path.clone() },
                _ => SourceError::Unreadable { path: path.clone(), source },
            };
            let files = if fs::metadata(path).map_err(failed)?.is_dir() {
                let called = |name: &String| if self.0.len() == 1 { name.clone() } else { display(&path.join(name)) };
                let names = names(path).map_err(failed)?.into_iter();
                names.map(|name| (called(&name), path.join(name))).collect()
            } else {
                vec![(display(path), path.clone())]
            };
            // A file may also be in a folder that is named, or behind a link.
            let mut is_new = |file: &Path| seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()));
            entries.extend(files.into_iter().filter(|(_, file)| self.0.len() == 1 || is_new(file)));
        }
        Ok(entries)
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            self.0.iter().map(|path| if is_stdin(path) { STDIN.1.to_owned() } else { display(path) }).collect();
        f.write_str(&names.join(", "))
    }
}

/// Whether a path stands for standard input.
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN.0
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

fn contents(entries: &BTreeMap<String, PathBuf>) -> Files {
    let content = |path: &PathBuf| fs::read(path).map_err(|error| format!("cannot be read: {error}"));
    entries.iter().map(|(name, path)| (name.clone(), content(path))).collect()
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_manifest = ENDINGS.iter().any(|ending| name.ends_with(ending));
        // Editors keep files of their own under hidden names.
        if is_manifest && !name.starts_with('.') && may_be_read(&folder.join(&name)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether a name is a file: not a folder, a pipe or a device, and not deleted since it was listed. A link without a target counts,
/// so that it is reported and removes nothing.
fn may_be_read(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(_) => fs::symlink_metadata(path).is_ok(),
    }
}
