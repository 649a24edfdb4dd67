//! Sees that a file changed.
//!
//! The directory is watched, not the files: kubelet replaces a mounted volume by swapping its `..data` link, and a watch on a
//! file behind that link would never fire again. A slow look at the files covers what a watch can miss.

use std::{
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
    let mut watcher = None;
    loop {
        // A directory that is not there yet is watched once it is; one that was replaced is watched anew.
        if watcher.is_none() || !directory.exists() {
            watcher = start(&directory, changed.clone());
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

fn start(directory: &Path, changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // What only reads is no change, and our own look would make an endless row of it.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    })
    .ok()?;
    watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}
