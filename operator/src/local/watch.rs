//! Detects that a folder's manifests changed and are complete: editors write in steps, by truncation or by rename.
//!
//! Notifications of the system make it fast. The files are also polled twice a second, because notifications can be missing, or
//! the folder can be replaced. Whoever only reads the folder, this watch included, wakes nothing.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::mpsc, time::sleep};

use super::{console::warn, error::Error};
use crate::manifests::{Files, FolderStamp, Sources};

/// How often the files are polled.
const POLL: Duration = Duration::from_millis(500);
/// How long nothing must change until a change counts as complete.
const SETTLE: Duration = Duration::from_millis(50);
/// How long files that keep changing may hold up the others.
const AT_MOST: Duration = Duration::from_millis(400);

pub(super) struct Watch {
    sources: Sources,
    notifications: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
    /// `None` while a source cannot be listed.
    seen: Option<FolderStamp>,
    /// Files that kept changing, so that they may be incomplete.
    unsettled: BTreeSet<String>,
    #[cfg(test)]
    looks: usize,
}

impl Watch {
    /// # Errors
    /// Returns an error if a path does not exist, or if a folder cannot be listed.
    pub fn new(sources: Sources) -> Result<Self, Error> {
        let seen = sources.stamp()?;
        let (watcher, notifications) = start(&folders(&sources));
        Ok(Self {
            sources,
            notifications,
            _watcher: watcher,
            seen: Some(seen),
            unsettled: BTreeSet::new(),
            #[cfg(test)]
            looks: 0,
        })
    }

    /// Waits for the next change, until it has settled. A change is not lost if the caller stops waiting.
    pub async fn changed(&mut self) {
        while self.unsettled.is_empty() && self.sources.stamp().ok() == self.seen {
            #[cfg(test)]
            {
                self.looks += 1;
            }
            tokio::select! {
                Some(()) = self.notifications.recv() => {}
                () = sleep(POLL) => {}
            }
        }
        self.settle().await;
    }

    /// Waits until nothing has changed for a moment, but not so long that files which keep changing hold up the others.
    pub async fn settle(&mut self) {
        let mut last = self.sources.stamp().ok();
        let until = Instant::now() + AT_MOST;
        loop {
            sleep(SETTLE).await;
            let now = self.sources.stamp().ok();
            if now == last || Instant::now() >= until {
                self.unsettled = differing(last.as_ref(), now.as_ref());
                self.seen = now;
                return;
            }
            last = now;
        }
    }

    /// Whether no file changed since they settled, apart from those that keep changing.
    pub fn is_settled(&self) -> bool {
        let now = self.sources.stamp().ok();
        differing(self.seen.as_ref(), now.as_ref()).is_subset(&self.unsettled)
    }

    /// Counts the files that changed since the others settled among those that keep changing.
    pub fn give_up_waiting(&mut self) {
        let now = self.sources.stamp().ok();
        self.unsettled.extend(differing(self.seen.as_ref(), now.as_ref()));
    }

    /// Makes the files that keep changing unreadable, so that each keeps its last valid state.
    pub fn hold_back(&self, files: &mut Files) {
        for name in &self.unsettled {
            files.insert(name.clone(), Err("is being written; it is read once it stops changing".into()));
        }
    }
}

/// The folders to be watched: those that are named, and those of the files, because an editor may replace a file.
fn folders(sources: &Sources) -> BTreeSet<PathBuf> {
    let folder = |path: &PathBuf| match path.parent() {
        _ if path.is_dir() => path.clone(),
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    sources.paths().iter().map(folder).collect()
}

/// Starts the system's notifications. Where it has none, or no more of them, polling alone finds a change, and that is said.
fn start(folders: &BTreeSet<PathBuf>) -> (Option<RecommendedWatcher>, mpsc::Receiver<()>) {
    // One pending notification stands for all that follow.
    let (sender, notifications) = mpsc::channel(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Listing and reading is no change; otherwise each look at the folder would cause the next.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = sender.try_send(());
        }
    });
    let watcher = watcher.and_then(|mut watcher| {
        folders.iter().try_for_each(|folder| watcher.watch(folder, RecursiveMode::NonRecursive))?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => (Some(watcher), notifications),
        Err(error) => {
            let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            let folders = folders.join(", ");
            warn(&format!("{folders} cannot be watched ({error}); the manifests are read every {POLL:?} instead"));
            (None, notifications)
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

    fn sources(path: &Path) -> Sources {
        Sources::new(vec![path.to_owned()])
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_change_is_detected_once_it_is_complete_even_after_the_folder_was_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("manifests");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.yaml"), "a: 1").unwrap();
        let mut watch = Watch::new(sources(&folder)).unwrap();
        // Longer than a poll takes to find a change.
        assert!(timeout(POLL + SETTLE * 4, watch.changed()).await.is_err(), "nothing changed");

        let mut times = Vec::new();
        for n in 0..5 {
            let began = Instant::now();
            fs::write(folder.join("draft"), format!("a: {n}{n}")).unwrap();
            fs::rename(folder.join("draft"), folder.join("a.yaml")).unwrap();
            timeout(PATIENCE, watch.changed()).await.unwrap();
            times.push(began.elapsed());
        }
        // The fastest, because a busy machine can delay any of them.
        assert!(times.iter().min() < Some(&(POLL - SETTLE)), "a change is found before the next poll: {times:?}");

        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.yaml"), "a: 3").unwrap();
        timeout(PATIENCE, watch.changed()).await.unwrap();
        fs::write(folder.join("a.yaml"), "a: 45").unwrap();
        timeout(PATIENCE, watch.changed()).await.unwrap();
        assert!(watch.is_settled());

        fs::write(folder.join("a.yaml"), "a: 678").unwrap();
        // A busy machine may be late to stop waiting.
        if timeout(SETTLE / 2, watch.changed()).await.is_err() {
            timeout(PATIENCE, watch.changed()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn neither_the_watch_itself_nor_another_reader_of_the_folder_causes_a_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("a.yaml"), "a: 1").unwrap();
        let mut watch = Watch::new(sources(&path)).unwrap();
        let began = Instant::now();
        let reader = tokio::spawn(async move {
            loop {
                sources(&path).reread().unwrap();
                // The pace of the reader.
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(timeout(POLL * 4, watch.changed()).await.is_err(), "nothing changed");
        reader.abort();
        // One at the start, and one for each poll.
        let polls = began.elapsed().as_millis() / POLL.as_millis();
        assert!(watch.looks as u128 <= 2 + polls, "{} looks in {polls} polls", watch.looks);
    }

    #[tokio::test]
    async fn files_of_several_folders_are_followed_and_others_beside_them_are_not() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [one, two, other] = [a.path().join("one"), b.path().join("two.yaml"), a.path().join("other.yaml")];
        fs::write(&one, "a: 1").unwrap();
        fs::write(&two, "a: 1").unwrap();
        let sources = Sources::new(vec![one.clone(), b.path().to_owned()]);
        let mut watch = Watch::new(sources.clone()).unwrap();
        fs::write(other, "a: 1").unwrap();
        assert!(timeout(POLL + SETTLE * 4, watch.changed()).await.is_err(), "nothing that was named changed");
        for (path, draft) in [(one, a.path().join("draft")), (two, b.path().join("draft"))] {
            fs::write(&draft, "a: 22").unwrap();
            fs::rename(draft, &path).unwrap();
            timeout(PATIENCE, watch.changed()).await.unwrap();
            assert_eq!(sources.reread().unwrap()[&path.display().to_string()], Ok(b"a: 22".to_vec()));
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_watched_is_polled() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(sources(folder.path())).unwrap();
        (watch._watcher, watch.notifications) = start(&[folder.path().join("missing")].into());
        assert!(watch._watcher.is_none());
        fs::write(folder.path().join("a.yaml"), "a: 1").unwrap();
        timeout(PATIENCE, watch.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_keeps_changing_is_held_back_and_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("a.yaml"), "a").unwrap();
        let mut watch = Watch::new(sources(&path)).unwrap();
        let noisy = path.join("noisy.yaml");
        let writer = tokio::spawn(async move {
            for n in 0.. {
                fs::write(&noisy, "x".repeat(n)).unwrap();
                // The pace of the writer.
                sleep(SETTLE / 5).await;
            }
        });
        timeout(PATIENCE, watch.changed()).await.unwrap();
        assert!(watch.is_settled());
        let mut files = sources(&path).reread().unwrap();
        watch.hold_back(&mut files);
        assert!(files["a.yaml"].is_ok() && files["noisy.yaml"].is_err());

        writer.abort();
        let _ = writer.await;
        timeout(PATIENCE, watch.changed()).await.unwrap();
        let mut files = sources(&path).reread().unwrap();
        watch.hold_back(&mut files);
        assert!(files["noisy.yaml"].is_ok(), "it is read once it has settled");
    }
}
