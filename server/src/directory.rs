//! Directories whose files are replaced, as kubelet replaces those of a volume.

use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// What stays the same for a directory that is moved, and differs for one that replaces it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DirectoryId {
    device: u64,
    inode: u64,
}

/// The directory at a path; `None` if there is none.
pub fn directory_id(directory: &Path) -> Option<DirectoryId> {
    std::fs::metadata(directory).ok().map(|found| DirectoryId { device: found.dev(), inode: found.ino() })
}

/// A watch of a directory that notifies of each change; `None` if the system has none to give.
pub fn start_watch(directory: &Path, changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is not a change; otherwise each reading would cause the next.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    })
    .ok()?;
    watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}
