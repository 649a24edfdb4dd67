//! When a folder's manifests changed, and are whole again: editors write in steps, by truncation or by rename.
//!
//! The system's notices make it fast; a look at the files twice a second makes it sure, where notices are not to be had or the
//! folder was replaced.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::mpsc, time::sleep};

use super::Error;
use crate::manifests::{self, Files, FolderStamp};

/// How often the files are looked at without a notice.
const LOOK: Duration = Duration::from_millis(500);
/// How long nothing may change before a change is taken for whole.
const SETTLE: Duration = Duration::from_millis(50);
/// How long files that change all the time may keep the others waiting.
const AT_MOST: Duration = Duration::from_millis(400);

pub(super) struct Watch {
    folder: PathBuf,
    notices: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
    /// None while the folder can't be listed.
    seen: Option<FolderStamp>,
    /// Files that never were quiet long enough: nobody can say whether they are whole.
    restless: BTreeSet<String>,
}

impl Watch {
    /// # Errors
    /// Where the folder can't be listed.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        let seen = manifests::stamp(folder).map_err(Error::io(folder.display().to_string()))?;
        // One notice that waits stands for all that follow.
        let (sender, notices) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |_| {
            let _ = sender.try_send(());
        })
        .ok();
        if let Some(watcher) = &mut watcher {
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
        Ok(Self { folder: folder.to_owned(), notices, _watcher: watcher, seen: Some(seen), restless: BTreeSet::new() })
    }

    /// Waits for the next change, until it has settled. A change that nobody waited for to the end is not lost.
    pub async fn changed(&mut self) {
        while self.restless.is_empty() && manifests::stamp(&self.folder).ok() == self.seen {
            tokio::select! {
                Some(()) = self.notices.recv() => {}
                () = sleep(LOOK) => {}
            }
        }
        self.settle().await;
    }

    /// Waits until nothing has changed for a moment, or for so long that what still changes keeps the rest waiting.
    pub async fn settle(&mut self) {
        let mut last = manifests::stamp(&self.folder).ok();
        let until = Instant::now() + AT_MOST;
        loop {
            sleep(SETTLE).await;
            let now = manifests::stamp(&self.folder).ok();
            if now == last || Instant::now() >= until {
                self.restless = differing(last.as_ref(), now.as_ref());
                self.seen = now;
                return;
            }
            last = now;
        }
    }

    /// Whether the files still are what they were when they had settled, but for those that are restless.
    pub fn is_settled(&self) -> bool {
        let now = manifests::stamp(&self.folder).ok();
        differing(self.seen.as_ref(), now.as_ref()).is_subset(&self.restless)
    }

    /// Takes what changed since the rest had settled for restless too.
    pub fn give_up_waiting(&mut self) {
        let now = manifests::stamp(&self.folder).ok();
        self.restless.extend(differing(self.seen.as_ref(), now.as_ref()));
    }

    /// Makes restless files ones that can't be read, so that each keeps its last good state.
    pub fn hold_back(&self, files: &mut Files) {
        for name in &self.restless {
            files.insert(name.clone(), Err("is written again and again; it is read once it is quiet".into()));
        }
    }
}

fn differing(a: Option<&FolderStamp>, b: Option<&FolderStamp>) -> BTreeSet<String> {
    let none = FolderStamp::default();
    a.unwrap_or(&none).differing(b.unwrap_or(&none))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_once_it_is_whole_also_after_the_folder_was_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("manifests");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.yaml"), "a: 1").unwrap();
        let mut watch = Watch::new(&folder).unwrap();
        assert!(timeout(Duration::from_millis(700), watch.changed()).await.is_err(), "nothing changed");

        let began = Instant::now();
        fs::write(folder.join("draft"), "a: 2").unwrap();
        fs::rename(folder.join("draft"), folder.join("a.yaml")).unwrap();
        timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());

        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.yaml"), "a: 3").unwrap();
        timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
        fs::write(folder.join("a.yaml"), "a: 45").unwrap();
        timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
        assert!(watch.is_settled());

        fs::write(folder.join("a.yaml"), "a: 678").unwrap();
        let _ = timeout(SETTLE / 2, watch.changed()).await;
        timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_never_quiet_keeps_no_other_waiting_and_is_held_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("a.yaml"), "a").unwrap();
        let mut watch = Watch::new(&path).unwrap();
        let noisy = path.join("noisy.yaml");
        let writer = tokio::spawn(async move {
            for n in 0.. {
                fs::write(&noisy, "x".repeat(n)).unwrap();
                sleep(SETTLE / 5).await;
            }
        });
        timeout(AT_MOST * 3, watch.changed()).await.unwrap();
        assert!(watch.is_settled());
        let mut files = manifests::read(&path).unwrap();
        watch.hold_back(&mut files);
        assert!(files["a.yaml"].is_ok() && files["noisy.yaml"].is_err());

        writer.abort();
        let _ = writer.await;
        timeout(AT_MOST * 3, watch.changed()).await.unwrap();
        let mut files = manifests::read(&path).unwrap();
        watch.hold_back(&mut files);
        assert!(files["noisy.yaml"].is_ok(), "quiet at last, it is read");
    }
}
