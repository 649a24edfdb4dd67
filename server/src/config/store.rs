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
mod tests {
    use portcullis_crds::contract::{CREDENTIALS_FILE, POLICY_FILE};
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::fixtures::{client, credentials, policy};

    fn store(directory: &TempDir) -> Store {
        Store::new(StoreSettings::of(directory.path()))
    }

    fn write(directory: &TempDir, name: &str, document: &Value) {
        std::fs::write(directory.path().join(name), document.to_string()).unwrap();
    }

    /// The tools that exist, and the number of clients.
    fn in_force(store: &Store) -> (Vec<String>, usize) {
        let snapshot = store.current().unwrap();
        (snapshot.tools.by_name.keys().map(ToString::to_string).collect(), snapshot.clients)
    }

    #[test]
    fn a_policy_whose_server_half_is_refused_still_removes_clients() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        write(&directory, CREDENTIALS_FILE, &credentials(&["a", "b"]));
        write(&directory, POLICY_FILE, &policy(&[client("a", &json!({})), client("b", &json!({}))]));
        store.reload();
        assert_eq!(in_force(&store), (vec!["greet".to_owned()], 2));
        let complete = store.current().unwrap().complete_revision.clone();

        for (name, value) in [("masks", json!([])), ("tools", json!([])), ("backends", json!([]))] {
            let mut newer = policy(&[client("a", &json!({}))]);
            newer["spec"][name] = value;
            write(&directory, POLICY_FILE, &newer);
            let reload = store.reload();
            assert!(reload.policy.is_loaded && reload.policy.refused.is_some(), "{name}");
            assert_eq!(in_force(&store), (vec!["greet".to_owned()], 1), "{name}");
            assert!(store.errors().policy, "{name}");
            assert_eq!(store.current().unwrap().complete_revision, complete, "{name}");
        }
        write(&directory, POLICY_FILE, &policy(&[]));
        store.reload();
        assert_eq!(in_force(&store), (vec!["greet".to_owned()], 0));
        assert!(!store.errors().policy);
    }

    #[test]
    fn a_client_with_an_unknown_restriction_is_denied_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        write(&directory, CREDENTIALS_FILE, &credentials(&["a", "b"]));
        write(&directory, POLICY_FILE, &policy(&[client("a", &json!({"mask": ["/email"]})), client("b", &json!({}))]));
        let reload = store.reload();
        assert_eq!(in_force(&store).1, 1);
        assert_eq!(reload.policy.refused.unwrap().field, "clients[0].mask");
    }
}
