//! When a folder's manifests changed, and are whole again: editors write in steps, by truncation or by rename.
//!
//! The system's notices make it fast; a look at the files twice a second makes it sure, where notices are not to be had or the
//! folder was replaced.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::mpsc, time::sleep};

use super::Error;
use crate::manifests::{self, Fingerprint};

/// How often the files are looked at without a notice.
const LOOK: Duration = Duration::from_millis(500);
/// How long nothing may change before a change is taken for whole.
const SETTLE: Duration = Duration::from_millis(50);

pub(super) struct Watch {
    folder: PathBuf,
    notices: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
    /// None while the folder can't be listed.
    seen: Option<Fingerprint>,
}

impl Watch {
    /// # Errors
    /// Where the folder can't be listed.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        let seen = manifests::fingerprint(folder).map_err(Error::io(folder.display().to_string()))?;
        // One notice that waits stands for all that follow.
        let (sender, notices) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |_| {
            let _ = sender.try_send(());
        })
        .ok();
        if let Some(watcher) = &mut watcher {
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
        Ok(Self { folder: folder.to_owned(), notices, _watcher: watcher, seen: Some(seen) })
    }

    /// Waits for the next change, until it has settled. A change that nobody waited for to the end is not lost.
    pub async fn changed(&mut self) {
        while manifests::fingerprint(&self.folder).ok() == self.seen {
            tokio::select! {
                Some(()) = self.notices.recv() => {}
                () = sleep(LOOK) => {}
            }
        }
        self.settle().await;
    }

    /// Waits until nothing has changed for a moment.
    pub async fn settle(&mut self) {
        let mut last = manifests::fingerprint(&self.folder).ok();
        loop {
            sleep(SETTLE).await;
            let now = manifests::fingerprint(&self.folder).ok();
            if now == last {
                self.seen = now;
                return;
            }
            last = now;
        }
    }

    /// Whether the files still are what they were when they had settled.
    pub fn is_settled(&self) -> bool {
        manifests::fingerprint(&self.folder).ok() == self.seen
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

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
}
