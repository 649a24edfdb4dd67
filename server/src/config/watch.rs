//! Sees that a file changed.
//!
//! The directory is watched, not the files: kubelet replaces a mounted volume by swapping its `..data` link, and a watch on a
//! file behind that link would never fire again. A slow look at the files covers what a watch can miss.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::{Reload, Store};

/// How long changes are gathered: one edit is several events, and one swap two files.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How often the files are looked at without any event.
const POLL: Duration = Duration::from_secs(2);

/// Reloads `store` whenever a file in `directory` changes, and says what each look brought that brought something. Never
/// returns.
pub async fn watch(store: Arc<Store>, directory: PathBuf, tell: impl Fn(Reload)) {
    let changed = Arc::new(Notify::new());
    let mut watched = None;
    loop {
        // A watch holds on to the directory that it found, whatever comes to stand at its path.
        let found = place(&directory);
        if watched.as_ref().map(|(place, _)| *place) != found {
            watched = found.and_then(|place| Some((place, start(&directory, changed.clone())?)));
        }
        if tokio::time::timeout(POLL, changed.notified()).await.is_ok() {
            tokio::time::sleep(DEBOUNCE).await;
        }
        let looking = store.clone();
        // Parsing a large policy takes long enough to hold up calls.
        match tokio::task::spawn_blocking(move || looking.reload()).await {
            Ok(reload) => tell(reload),
            Err(_) => tracing::error!("a reload ended before its time; the last good policy stays in force"),
        }
    }
}

/// The device and the number of the directory at the path; `None` where there is none.
fn place(directory: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(directory).ok().map(|found| (found.dev(), found.ino()))
}

fn start(directory: &Path, changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let notified = changed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // What only reads is no change, and our own look would make an endless row of it.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            notified.notify_one();
        }
    })
    .ok()?;
    watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    // What changed before it was watched.
    changed.notify_one();
    Some(watcher)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use tokio::sync::mpsc;

    use super::*;
    use crate::config::{Change, StoreSettings};

    #[tokio::test]
    async fn a_directory_that_is_replaced_is_watched_anew() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("current");
        for version in ["1", "2"] {
            fs::create_dir(root.path().join(version)).unwrap();
        }
        symlink("1", &link).unwrap();
        let store = Arc::new(Store::new(StoreSettings::of(&link)));
        let (said, mut sayings) = mpsc::unbounded_channel();
        tokio::spawn(watch(store, link.clone(), move |reload| {
            if reload.policy != Change::default() {
                said.send(()).unwrap();
            }
        }));
        sayings.recv().await.unwrap();
        symlink("2", root.path().join("next")).unwrap();
        fs::rename(root.path().join("next"), &link).unwrap();
        fs::write(root.path().join("2/policy.yaml"), "no policy").unwrap();
        // Nothing tells of a link that is swapped: the slow look finds it.
        tokio::time::timeout(POLL * 3, sayings.recv()).await.expect("the swap must be seen").unwrap();
        tokio::time::sleep(POLL / 4).await;
        for n in 0..3 {
            fs::write(root.path().join("2/policy.yaml"), format!("no policy either: {n}")).unwrap();
            tokio::time::timeout(POLL / 4, sayings.recv()).await.expect("a change must be seen at once").unwrap();
        }
    }
}
