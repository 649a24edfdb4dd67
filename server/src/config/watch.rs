//! Reloads the documents when their files change.
//!
//! The directory is watched, not the files: kubelet updates a mounted volume by replacing its `..data` link, and a watch of a file
//! behind that link would see only the first change. Polling covers what a watch can miss.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{document::SETTLED_AFTER, loader::Reload, store::Store};
use crate::directory::{DirectoryId, directory_id, start_watch};

/// How long events are collected: one edit causes several, and an update of a volume changes two files.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How often the files are read without an event.
const POLL: Duration = Duration::from_secs(2);
/// The same while there is no watch: the system may have no more of them, and a removal must not wait.
const POLL_UNWATCHED: Duration = Duration::from_millis(500);

/// Reloads `store` whenever a file in `directory` changes, and reports each reload. Never returns.
pub async fn watch(store: Arc<Store>, directory: PathBuf, report: impl Fn(Reload)) {
    watch_with(start_watch, store, directory, report).await;
}

/// The same, with a watch that `start` makes, if it can.
async fn watch_with<W: Send + 'static>(
    start: impl Fn(&Path, Arc<Notify>) -> Option<W> + Send + Sync + 'static,
    store: Arc<Store>,
    directory: PathBuf,
    report: impl Fn(Reload),
) {
    let changed = Arc::new(Notify::new());
    let watched: Mutex<Option<(DirectoryId, W)>> = Mutex::new(None);
    let shared = Arc::new((start, store, directory, watched));
    let mut at_most = POLL;
    let mut failures: u64 = 0;
    loop {
        let (shared, notified) = (shared.clone(), changed.clone());
        // Beside the threads that serve: a file system may hang, and parsing a large policy takes long enough to delay calls.
        let reload = tokio::task::spawn_blocking(move || {
            let (start, store, directory, watched) = &*shared;
            let watched = &mut *watched.lock();
            // A watch follows the directory that it was started for, even if another one takes its path.
            let found = directory_id(directory);
            if watched.as_ref().map(|(id, _)| *id) != found {
                *watched = found.and_then(|id| Some((id, start(directory, notified)?)));
            }
            (store.reload(), watched.is_some())
        });
        match reload.await {
            Ok((reload, is_watched)) => {
                failures = 0;
                let pause = if reload.is_unsettled { SETTLED_AFTER } else { POLL };
                at_most = if is_watched { pause } else { pause.min(POLL_UNWATCHED) };
                report(reload);
            }
            Err(_) => {
                failures += 1;
                // What fails each time is logged more and more seldom.
                if failures.is_power_of_two() {
                    tracing::error!(failures, "a reload failed unexpectedly; the last valid policy stays in force");
                }
            }
        }
        if tokio::time::timeout(at_most, changed.notified()).await.is_ok() {
            tokio::time::sleep(DEBOUNCE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering::SeqCst},
    };

    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        config::{Change, StoreSettings},
        supervise::{Part, faults, keep},
    };

    /// Longer than anything in a test takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_watch_that_panics_is_started_again_and_misses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(StoreSettings::of(directory.path())));
        let (sender, mut reloads) = mpsc::unbounded_channel();
        let mut panics = 2;
        let kept = keep(Part::Reloads, || {
            let (sender, is_to_panic) = (sender.clone(), panics > 0);
            panics -= i32::from(is_to_panic);
            watch(store.clone(), directory.path().to_owned(), move |reload| {
                assert!(!is_to_panic, "planned");
                sender.send(reload.policy).unwrap();
            })
        });
        let change = async {
            tokio::time::timeout(PATIENCE, reloads.recv()).await.expect("it must go on").unwrap();
            fs::write(directory.path().join("policy.yaml"), "no policy").unwrap();
            loop {
                let change =
                    tokio::time::timeout(PATIENCE, reloads.recv()).await.expect("a change must be seen").unwrap();
                if change != Change::default() {
                    return change;
                }
            }
        };
        tokio::select! {
            part = kept => panic!("{part} was given up"),
            change = change => assert!(change.refused.is_some()),
        }
    }

    #[tokio::test]
    async fn a_change_is_found_without_a_watch_and_a_watch_is_started_as_soon_as_there_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(StoreSettings::of(directory.path())));
        let (sender, mut reloads) = mpsc::unbounded_channel();
        // The system has no watch to give until `available` is set.
        let (available, has_watch) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (may_start, started) = (available.clone(), has_watch.clone());
        let start = move |directory: &Path, changed| {
            let watch = may_start.load(SeqCst).then(|| start_watch(directory, changed))?;
            started.store(watch.is_some(), SeqCst);
            watch
        };
        let path = directory.path().to_owned();
        tokio::spawn(watch_with(start, store, path, move |reload| {
            if reload.policy != Change::default() {
                sender.send(()).unwrap();
            }
        }));
        reloads.recv().await.unwrap();
        for n in 0..3 {
            fs::write(directory.path().join("policy.yaml"), format!("no policy: {n}")).unwrap();
            tokio::time::timeout(PATIENCE, reloads.recv()).await.expect("a change must be found by polling").unwrap();
        }
        assert!(!has_watch.load(SeqCst));
        available.store(true, SeqCst);
        tokio::time::timeout(PATIENCE, async {
            while !has_watch.load(SeqCst) {
                tokio::time::sleep(DEBOUNCE).await;
            }
        })
        .await
        .expect("a watch must be tried again");
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_holds_no_thread_that_serves() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(StoreSettings::of(directory.path())));
        let (sender, mut hanging) = mpsc::unbounded_channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Mutex::new(released);
        let hang = Arc::new(move || {
            let _ = sender.send(std::thread::current().id());
            let _ = released.lock().recv_timeout(PATIENCE);
        });
        let at_reload = hang.clone();
        faults::at(&format!("reload of {}", directory.path().display()), move || at_reload());
        let start = move |_: &Path, _| {
            hang();
            Some(())
        };
        tokio::spawn(watch_with(start, store, directory.path().to_owned(), |_| {}));
        for what in ["the start of the watch", "the reload"] {
            // This test has one thread.
            assert_ne!(hanging.recv().await.unwrap(), std::thread::current().id(), "{what}");
            release.send(()).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_that_panics_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(StoreSettings::of(directory.path())));
        let (sender, mut reloads) = mpsc::unbounded_channel();
        faults::plan(&format!("reload of {}", directory.path().display()), 3);
        tokio::spawn(watch(store.clone(), directory.path().to_owned(), move |reload| sender.send(reload).unwrap()));
        let reload = reloads.recv().await.expect("the watch must go on");
        assert!(reload.policy.refused.is_some(), "it is made as a whole");
    }

    #[tokio::test]
    async fn a_directory_that_replaces_another_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("current");
        for version in ["1", "2"] {
            fs::create_dir(root.path().join(version)).unwrap();
        }
        symlink("1", &link).unwrap();
        let store = Arc::new(Store::new(StoreSettings::of(&link)));
        let (sender, mut reloads) = mpsc::unbounded_channel();
        tokio::spawn(watch(store, link.clone(), move |reload| {
            if reload.policy != Change::default() {
                sender.send(()).unwrap();
            }
        }));
        reloads.recv().await.unwrap();
        symlink("2", root.path().join("next")).unwrap();
        fs::rename(root.path().join("next"), &link).unwrap();
        fs::write(root.path().join("2/policy.yaml"), "no policy").unwrap();
        // A link that is replaced causes no event: polling finds it.
        tokio::time::timeout(PATIENCE, reloads.recv()).await.expect("the swap must be seen").unwrap();
        let mut times = Vec::new();
        for n in 0..5 {
            let began = tokio::time::Instant::now();
            fs::write(root.path().join("2/policy.yaml"), format!("no policy either: {n}")).unwrap();
            tokio::time::timeout(PATIENCE, reloads.recv()).await.expect("a change must be seen").unwrap();
            times.push(began.elapsed());
        }
        // The fastest, because a busy machine can delay any of them. A poll is due that long after the change before.
        assert!(
            times.iter().min() < Some(&(POLL - SETTLED_AFTER)),
            "a change is found before the next poll: {times:?}"
        );
    }
}
