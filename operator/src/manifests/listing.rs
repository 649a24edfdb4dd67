//! The files of a folder that may contain manifests, and a cheap way to detect that one of them changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::SystemTime,
};

/// The content of each file or why it cannot be read, by the file's name in the folder.
pub type Files = BTreeMap<String, Result<Vec<u8>, String>>;

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

/// Reads the manifests of a folder: the files `*.yaml`, `*.yml` and `*.json` that are not hidden. Folders in it are not read.
///
/// # Errors
/// Returns an error if the folder itself cannot be listed.
pub fn read(folder: &Path) -> io::Result<Files> {
    let content = |name: &String| fs::read(folder.join(name)).map_err(|error| format!("cannot be read: {error}"));
    Ok(names(folder)?.into_iter().map(|name| (name.clone(), content(&name))).collect())
}

/// The stamp of a folder's manifests.
///
/// # Errors
/// Returns an error if the folder itself cannot be listed.
pub fn stamp(folder: &Path) -> io::Result<FolderStamp> {
    let mark = |name: &String| {
        let metadata = fs::metadata(folder.join(name)).ok();
        // With the inode: an editor may replace a file by one of the same size and time.
        let inode = |metadata: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(metadata);
        metadata.map_or((None, 0, 0), |it| (it.modified().ok(), it.len(), inode(&it)))
    };
    Ok(FolderStamp(names(folder)?.into_iter().map(|name| (name.clone(), mark(&name))).collect()))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_manifest = [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
        // Editors keep files of their own under hidden names.
        if is_manifest && !name.starts_with('.') && may_be_read(&folder.join(&name)) {
            names.push(name);
        }
    }
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
