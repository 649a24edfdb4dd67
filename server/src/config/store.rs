//! The snapshot in force, and the directory that it comes from.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use portcullis_crds::{Credentials, Policy, credentials, policy};

use super::{
    Snapshot,
    document::{Change, Document},
    snapshot::Tools,
};
use crate::{audit::arguments::DigestKey, metrics::Metrics, session::Sealer};

/// What every snapshot is made with.
pub struct Parts {
    pub directory: PathBuf,
    pub metrics: Metrics,
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
    parts: Parts,
    policy: Document<Policy>,
    credentials: Document<Credentials>,
    tools: Option<Arc<Tools>>,
    keys: Keys,
}

/// The server's own keys. Where the credentials have none, some are made up and kept, so that a reload ends no session.
struct Keys {
    sessions: Option<[u8; 32]>,
    arguments: Option<[u8; 32]>,
    sealer: Arc<Sealer>,
    digest: DigestKey,
}

impl Store {
    /// A store without a snapshot; [`Store::reload`] brings one.
    pub fn new(parts: Parts) -> Self {
        let keys = Keys {
            sessions: None,
            arguments: None,
            sealer: Arc::new(Sealer::with_random_key()),
            digest: DigestKey::random(),
        };
        let loader = Loader { parts, policy: Document::default(), credentials: Document::default(), tools: None, keys };
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
        let directory = self.parts.directory.clone();
        let before = self.policy.good().cloned();
        let mut policy = self.policy.look(&directory.join(policy::FILE), Policy::parse);
        let credentials = self.credentials.look(&directory.join(credentials::FILE), Credentials::parse);
        if policy == Change::Loaded
            && let Some(document) = self.policy.good()
        {
            let kept = self.tools.as_ref().map_or_else(HashMap::new, |tools| tools.http_backends());
            match Tools::new(document, &kept, &self.parts.metrics) {
                Ok(tools) => {
                    self.parts.metrics.retain_tools(|name| tools.by_name.contains_key(name));
                    self.tools = Some(Arc::new(tools));
                }
                Err(findings) => policy = self.policy.take_back(before, &findings),
            }
        }
        let changed = policy == Change::Loaded || credentials == Change::Loaded;
        let swapped = if changed { self.snapshot() } else { None };
        Reload { policy, credentials, swapped }
    }

    fn snapshot(&mut self) -> Option<Arc<Snapshot>> {
        let (policy, tools) = (self.policy.good()?, self.tools.clone()?);
        let credentials = self.credentials.good().map(Arc::as_ref);
        if let Some(keys) = credentials.and_then(|credentials| credentials.keys.as_ref()) {
            self.keys.take(keys.sessions.0, keys.arguments.0);
        }
        let keys = (self.keys.sealer.clone(), self.keys.digest.clone());
        Some(Arc::new(Snapshot::new(policy, tools, credentials, keys.0, keys.1)))
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
