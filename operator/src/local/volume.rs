//! A mounted volume, written as kubelet writes it: the files are links through `..data`, and one rename replaces them all.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use k8s_openapi::jiff::Timestamp;

use super::{error::Error, state};

/// The link through which all files are reached.
const DATA: &str = "..data";

/// Makes these files the content of a volume. Returns whether that changed anything.
///
/// # Errors
/// Returns an error if the file system refuses. The volume is then unchanged.
pub(super) fn write(volume: &Path, files: &BTreeMap<&str, impl AsRef<str>>) -> Result<bool, Error> {
    let current = fs::read_link(volume.join(DATA)).ok().map(|name| volume.join(name));
    if current.as_deref().is_some_and(|current| contains(current, files)) {
        return Ok(false);
    }
    state::make_folder(volume)?;
    let next = fresh(volume)?;
    for (name, content) in files {
        state::write(&next.join(name), content.as_ref().as_bytes())?;
    }
    swap(volume, &next, files).map_err(Error::io(volume.display().to_string()))?;
    for entry in fs::read_dir(volume).map_err(Error::io(volume.display().to_string()))?.flatten() {
        let name = entry.file_name();
        let is_older = name.to_string_lossy().starts_with("..2") && entry.path() != next;
        if is_older {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(true)
}

fn contains(folder: &Path, files: &BTreeMap<&str, impl AsRef<str>>) -> bool {
    let count = fs::read_dir(folder).map_or(0, Iterator::count);
    count == files.len()
        && files
            .iter()
            .all(|(name, content)| fs::read(folder.join(name)).is_ok_and(|it| it == content.as_ref().as_bytes()))
}

/// Creates a folder that is named as kubelet names it: `..2026_11_23_16_40_05.123456789`.
fn fresh(volume: &Path) -> Result<PathBuf, Error> {
    let now = Timestamp::now();
    let next = volume.join(format!("..{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond()));
    state::make_folder(&next)?;
    Ok(next)
}

fn swap(volume: &Path, next: &Path, files: &BTreeMap<&str, impl AsRef<str>>) -> io::Result<()> {
    let draft = volume.join("..data_tmp");
    let _ = fs::remove_file(&draft);
    symlink(next.file_name().unwrap_or_default(), &draft)?;
    fs::rename(&draft, volume.join(DATA))?;
    for name in files.keys() {
        let link = volume.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(volume: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(volume)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .map(|name| if name.starts_with("..2") { "..<time>".to_owned() } else { name })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_volume_is_swapped_as_by_kubelet_and_only_if_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("config");
        let files = |content: &str| BTreeMap::from([("a.yaml", content.to_owned()), ("b.yaml", "b".to_owned())]);
        assert!(write(&volume, &files("1")).unwrap());
        assert_eq!(names(&volume), ["..<time>", "..data", "a.yaml", "b.yaml"]);
        assert_eq!(fs::read_link(volume.join("a.yaml")).unwrap(), Path::new("..data/a.yaml"));
        let first = fs::read_link(volume.join(DATA)).unwrap();

        assert!(!write(&volume, &files("1")).unwrap());
        assert_eq!(fs::read_link(volume.join(DATA)).unwrap(), first);

        assert!(write(&volume, &files("2")).unwrap());
        assert_ne!(fs::read_link(volume.join(DATA)).unwrap(), first);
        assert_eq!(fs::read_to_string(volume.join("a.yaml")).unwrap(), "2");
        assert_eq!(names(&volume), ["..<time>", "..data", "a.yaml", "b.yaml"]);
    }
}
