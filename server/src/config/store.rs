//! The snapshot in force, and the directory that it comes from.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use portcullis_crds::contract::{CREDENTIALS_FILE, POLICY_FILE};

use super::{
    Snapshot,
    document::{Change, Document},
    reading::{CredentialsDocument, PolicyDocument},
    snapshot::{ServerInForce, Tools},
};
use crate::{audit::arguments::DigestKey, backend, limiter, metrics::Metrics, session::Sealer};

/// What every snapshot is made with.
pub struct StoreSettings {
    pub directory: PathBuf,
    pub metrics: Metrics,
    pub backends: backend::Factory,
    pub limit_stores: limiter::Stores,
}

/// Holds the snapshot; swaps it when the files changed.
pub struct Store {
    current: ArcSwapOption<Snapshot>,
    loader: Mutex<Loader>,
    // Beside the loader, so that nobody waits for a reload to know them.
    policy_error: AtomicBool,
    credentials_error: AtomicBool,
}

/// What a look at the files brought.
#[derive(Clone)]
pub struct Reload {
    pub policy: Change,
    pub credentials: Change,
    /// The snapshot that came into force, where one did.
    pub swapped: Option<Arc<Snapshot>>,
}

/// Whether the files say something else than what is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    pub policy_error: bool,
    pub credentials_error: bool,
}

struct Loader {
    settings: StoreSettings,
    policy: Document<PolicyDocument>,
    credentials: Document<CredentialsDocument>,
    /// That of the last policy whose server half could be read.
    server: Option<ServerInForce>,
    keys: Keys,
    /// The revision of the last policy of which nothing was refused.
    complete_revision: Option<String>,
}

/// The server's own keys. Where the credentials have none, some are made up and kept, so that a reload ends no session.
struct Keys {
    sessions: Option<[u8; 32]>,
    arguments: Option<[u8; 32]>,
    sealer: Arc<Sealer>,
    digest: DigestKey,
}

#[cfg(test)]
impl StoreSettings {
    /// For the files in a directory, with nothing else that matters.
    pub fn of(directory: &std::path::Path) -> Self {
        Self {
            directory: directory.to_owned(),
            metrics: Metrics::default(),
            backends: backend::Factory::new(backend::AddressPolicy::Services).unwrap(),
            limit_stores: limiter::Stores::default(),
        }
    }
}

impl Store {
    /// A store without a snapshot; [`Store::reload`] brings one.
    pub fn new(settings: StoreSettings) -> Self {
        let keys = Keys {
            sessions: None,
            arguments: None,
            sealer: Arc::new(Sealer::with_random_key()),
            digest: DigestKey::random(),
        };
        let loader = Loader {
            settings,
            policy: Document::default(),
            credentials: Document::default(),
            server: None,
            keys,
            complete_revision: None,
        };
        Self {
            current: ArcSwapOption::empty(),
            loader: Mutex::new(loader),
            policy_error: AtomicBool::new(false),
            credentials_error: AtomicBool::new(false),
        }
    }

    /// What is served now; `None` before the first policy.
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    pub fn condition(&self) -> Condition {
        Condition {
            policy_error: self.policy_error.load(Relaxed),
            credentials_error: self.credentials_error.load(Relaxed),
        }
    }

    /// Looks at the files, and puts in force what changed. Blocks for as long as parsing takes.
    pub fn reload(&self) -> Reload {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let reload = loader.look();
        if let Some(snapshot) = &reload.swapped {
            self.current.store(Some(snapshot.clone()));
        }
        self.policy_error.store(loader.policy.is_refused(), Relaxed);
        self.credentials_error.store(loader.credentials.is_refused(), Relaxed);
        reload
    }
}

impl Loader {
    fn look(&mut self) -> Reload {
        let directory = self.settings.directory.clone();
        let policy = self.policy.look(&directory.join(POLICY_FILE), PolicyDocument::parse);
        let credentials = self.credentials.look(&directory.join(CREDENTIALS_FILE), CredentialsDocument::parse);
        if policy.is_loaded {
            self.take_server_half();
        }
        let is_changed = policy.is_loaded || credentials.is_loaded;
        let swapped = if is_changed { self.snapshot() } else { None };
        Reload { policy, credentials, swapped }
    }

    fn take_server_half(&mut self) {
        let Some(document) = self.policy.good() else { return };
        let Some(checked) = &document.server else { return };
        let StoreSettings { metrics, backends, limit_stores, .. } = &self.settings;
        let previous = self.server.as_ref().map(|server| &*server.tools);
        let tools = Tools::new(checked, previous, backends, metrics);
        metrics.retain_tools(|name| tools.by_name.contains_key(name));
        let half = checked.half().clone();
        let limit_store = limit_stores.of(&half.spec.limits);
        self.server = Some(ServerInForce { half, tools: Arc::new(tools), limit_store });
    }

    fn snapshot(&mut self) -> Option<Arc<Snapshot>> {
        let (policy, server) = (self.policy.good()?, self.server.clone()?);
        let credentials = self.credentials.good().map(Arc::as_ref);
        if let Some(keys) = credentials.and_then(|credentials| credentials.keys.as_ref()) {
            self.keys.take(keys.sessions.0, keys.arguments.0);
        }
        if !self.policy.is_refused() {
            self.complete_revision = Some(policy.revision.clone());
        }
        let complete = self.complete_revision.clone();
        let keys = (self.keys.sealer.clone(), self.keys.digest.clone());
        Some(Arc::new(Snapshot::new(policy, complete, server, credentials, keys)))
    }
}

impl Keys {
    fn take(&mut self, sessions: [u8; 32], arguments: [u8; 32]) {
        if self.sessions != Some(sessions) {
            self.sealer = Arc::new(Sealer::new(&sessions));
            self.sessions = Some(sessions);
        }
        if self.arguments != Some(arguments) {
            self.digest = DigestKey::new(&arguments);
            self.arguments = Some(arguments);
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn clients_are_removed_also_by_a_policy_whose_server_half_is_refused() {
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
            assert!(store.condition().policy_error, "{name}");
            assert_eq!(store.current().unwrap().complete_revision, complete, "{name}");
        }
        write(&directory, POLICY_FILE, &policy(&[]));
        store.reload();
        assert_eq!(in_force(&store), (vec!["greet".to_owned()], 0));
        assert!(!store.condition().policy_error);
    }

    #[test]
    fn a_client_with_a_restriction_that_is_unknown_here_is_denied_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        write(&directory, CREDENTIALS_FILE, &credentials(&["a", "b"]));
        write(&directory, POLICY_FILE, &policy(&[client("a", &json!({"mask": ["/email"]})), client("b", &json!({}))]));
        let reload = store.reload();
        assert_eq!(in_force(&store).1, 1);
        assert_eq!(reload.policy.refused.unwrap().field, "clients[0].mask");
    }
}
