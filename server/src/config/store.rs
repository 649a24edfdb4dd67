//! The snapshot in force. A reload replaces it; requests that hold the earlier one keep it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, futures::Notified};

use super::{
    loader::{Loader, Reload, StoreSettings},
    snapshot::Snapshot,
};

/// Both documents count as refused if nothing was read for this long: whatever reads them every two seconds hangs or is gone.
const STALE: Duration = Duration::from_secs(15);

/// Holds the snapshot, and replaces it when the files have changed.
pub struct Store {
    current: ArcSwapOption<Snapshot>,
    changes: Notify,
    loader: Mutex<Loader>,
    // Outside of the mutex, so that they can be read during a reload.
    policy_error: AtomicBool,
    credentials_error: AtomicBool,
    created: Instant,
    /// When the last reload ended, in milliseconds after `created`.
    reloaded_at: AtomicU64,
}

/// Which documents, or parts of them, are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DocumentErrors {
    pub policy: bool,
    pub credentials: bool,
}

impl Store {
    /// A store without a snapshot, which [`Store::reload`] loads.
    pub fn new(settings: StoreSettings) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            changes: Notify::new(),
            loader: Mutex::new(Loader::new(settings)),
            policy_error: AtomicBool::new(false),
            credentials_error: AtomicBool::new(false),
            created: Instant::now(),
            reloaded_at: AtomicU64::new(0),
        }
    }

    /// The snapshot in force; `None` before the first policy.
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Puts a snapshot in force.
    pub(crate) fn put(&self, snapshot: Arc<Snapshot>) {
        self.current.store(Some(snapshot));
        self.changes.notify_waiters();
    }

    /// Waits for the next change after this was called.
    pub fn changed(&self) -> Notified<'_> {
        self.changes.notified()
    }

    /// Whether a snapshot is the one in force.
    pub fn is_current(&self, snapshot: &Snapshot) -> bool {
        self.current.load().as_deref().is_none_or(|current| std::ptr::eq(current, snapshot))
    }

    pub fn errors(&self) -> DocumentErrors {
        let is_stale = self.is_stale(Instant::now());
        DocumentErrors {
            policy: is_stale || self.policy_error.load(Relaxed),
            credentials: is_stale || self.credentials_error.load(Relaxed),
        }
    }

    fn is_stale(&self, now: Instant) -> bool {
        now.duration_since(self.created).saturating_sub(Duration::from_millis(self.reloaded_at.load(Relaxed))) > STALE
    }

    /// Reads the files, and puts in force what changed. Blocks while the documents are parsed. After a panic both documents count as
    /// refused until they were read again as a whole.
    pub fn reload(&self) -> Reload {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let reload = catch_unwind(AssertUnwindSafe(|| loader.reload())).unwrap_or_else(|panic| {
            loader.forget_read();
            self.policy_error.store(true, Relaxed);
            self.credentials_error.store(true, Relaxed);
            resume_unwind(panic)
        });
        if let Some(snapshot) = &reload.swapped {
            self.put(snapshot.clone());
        }
        self.policy_error.store(loader.is_policy_refused(), Relaxed);
        self.credentials_error.store(loader.are_credentials_refused(), Relaxed);
        let since = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.reloaded_at.store(since, Relaxed);
        reload
    }
}

#[cfg(test)]
mod tests;
