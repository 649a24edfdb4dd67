//! The files of a folder that may hold manifests, and a cheap way to see that one of them changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::SystemTime,
};

/// What each file holds, or why it can't be read; by its name in the folder.
pub type Files = BTreeMap<String, Result<String, String>>;

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

/// Reads the manifests of a folder: `*.yaml`, `*.yml` and `*.json` that are not hidden, not those of folders in it.
///
/// # Errors
/// Where the folder itself can't be listed.
pub fn read(folder: &Path) -> io::Result<Files> {
    let text = |name: &String| match fs::read(folder.join(name)) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}")),
        Err(error) => Err(format!("can't be read: {error}")),
    };
    Ok(names(folder)?.into_iter().map(|name| (name.clone(), text(&name))).collect())
}

/// # Errors
/// Where the folder itself can't be listed.
pub fn stamp(folder: &Path) -> io::Result<FolderStamp> {
    let mark = |name: &String| {
        let metadata = fs::metadata(folder.join(name)).ok();
        // The inode too: an editor may write a file of the same size and time under the same name.
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
        // Hidden files are editors' own.
        if is_manifest && !name.starts_with('.') && may_be_read(&folder.join(&name)) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Not a folder, a pipe or a device, nor gone since it was listed. What can't be looked at, such as a link that leads nowhere
/// for now, counts: it is to be told, and takes nothing away.
fn may_be_read(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(_) => fs::symlink_metadata(path).is_ok(),
    }
}
