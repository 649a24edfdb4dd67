//! The snapshot in force. A reload replaces it; requests that hold the earlier one keep it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use arc_swap::ArcSwapOption;

use super::{
    loader::{Loader, Reload, StoreSettings},
    snapshot::Snapshot,
};

/// Holds the snapshot, and replaces it when the files have changed.
pub struct Store {
    current: ArcSwapOption<Snapshot>,
    loader: Mutex<Loader>,
    // Outside of the mutex, so that they can be read during a reload.
    policy_error: AtomicBool,
    credentials_error: AtomicBool,
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
            loader: Mutex::new(Loader::new(settings)),
            policy_error: AtomicBool::new(false),
            credentials_error: AtomicBool::new(false),
        }
    }

    /// The snapshot in force; `None` before the first policy.
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    pub fn errors(&self) -> DocumentErrors {
        DocumentErrors { policy: self.policy_error.load(Relaxed), credentials: self.credentials_error.load(Relaxed) }
    }

    /// Reads the files, and puts in force what changed. Blocks while the documents are parsed.
    pub fn reload(&self) -> Reload {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let reload = loader.reload();
        if let Some(snapshot) = &reload.swapped {
            self.current.store(Some(snapshot.clone()));
        }
        self.policy_error.store(loader.is_policy_refused(), Relaxed);
        self.credentials_error.store(loader.are_credentials_refused(), Relaxed);
        reload
    }
}

#[cfg(test)]
mod tests;
