//! From the two files to a snapshot: what is kept from one reload to the next.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_crds::{
    Findings,
    contract::{CREDENTIALS_FILE, Effect, POLICY_FILE},
};

use super::{
    document::{Change, Document},
    grants::{self, KeptTool},
    reading::{CredentialsDocument, PolicyDocument},
    snapshot::{ServerInForce, Snapshot, Tools},
};
use crate::{audit::arguments::DigestKey, backend, limiter, metrics::Metrics, session::Sealer};

/// Where the documents are, and what snapshots are made with.
pub struct StoreSettings {
    pub directory: PathBuf,
    pub metrics: Metrics,
    pub backends: backend::Factory,
    pub limit_stores: limiter::Stores,
    /// For how long a file must stay the same if its document does not state its revision.
    pub settled_after: Duration,
}

/// The result of a reload.
#[derive(Clone)]
pub struct Reload {
    pub policy: Change,
    /// What a check of the new policy refuses, and what nevertheless is in force.
    pub notes: Findings,
    pub credentials: Change,
    /// The snapshot that came into force, if one did.
    pub swapped: Option<Arc<Snapshot>>,
    /// Whether a file contains something that does not count yet, so that it is to be read again soon.
    pub is_unsettled: bool,
}

/// Loads the documents.
pub struct Loader {
    settings: StoreSettings,
    policy: Document<PolicyDocument>,
    credentials: Document<CredentialsDocument>,
    /// The last credentials without unknown fields.
    known_credentials: Option<Arc<CredentialsDocument>>,
    /// The server's half of the last policy in which it was accepted.
    server: Option<ServerInForce>,
    /// That policy.
    policy_of_server: Option<Arc<PolicyDocument>>,
    keys: Keys,
}

/// The server's own keys. If the credentials have none, random ones are made and kept, so that a reload ends no session.
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
            backends: backend::Factory::new(backend::AddressPolicy::Services, 64).unwrap(),
            limit_stores: limiter::Stores::default(),
            settled_after: Duration::ZERO,
        }
    }
}

impl Loader {
    pub fn new(settings: StoreSettings) -> Self {
        let keys = Keys {
            sessions: None,
            arguments: None,
            sealer: Arc::new(Sealer::with_random_key()),
            digest: DigestKey::random(),
        };
        Self {
            settings,
            policy: Document::default(),
            credentials: Document::default(),
            known_credentials: None,
            server: None,
            policy_of_server: None,
            keys,
        }
    }

    /// Reads the files that changed.
    pub fn reload(&mut self) -> Reload {
        let directory = &self.settings.directory;
        let look = (Instant::now(), self.settings.settled_after);
        let in_force = self.server.as_ref().zip(self.policy_of_server.as_deref());
        let policy = self.policy.reload(&directory.join(POLICY_FILE), look, |text| {
            let (mut document, findings) = PolicyDocument::parse(text)?;
            keep_refused(&mut document, in_force);
            Ok((document, findings))
        });
        let before = self.known_credentials.as_deref().map_or(&[][..], |credentials| &credentials.clients);
        let credentials = self.credentials.reload(&directory.join(CREDENTIALS_FILE), look, |text| {
            let (mut document, findings) = CredentialsDocument::parse(text)?;
            if document.has_unknown_fields {
                document.keep_from(before);
            }
            Ok((document, findings))
        });
        if let Some(known) = self.credentials.valid().filter(|credentials| !credentials.has_unknown_fields) {
            self.known_credentials = Some(known.clone());
        }
        if policy.is_loaded {
            self.load_server_half();
        }
        #[cfg(test)]
        crate::supervise::faults::point(&format!("reload of {}", self.settings.directory.display()));
        let is_changed = policy.is_loaded || credentials.is_loaded;
        let swapped = if is_changed { self.snapshot() } else { None };
        let is_unsettled = self.policy.is_unsettled() || self.credentials.is_unsettled();
        let notes = self.policy.valid().filter(|_| policy.is_loaded).and_then(|policy| policy.server.as_ref());
        let notes = notes.map(|server| server.notes.clone()).unwrap_or_default();
        Reload { policy, notes, credentials, swapped, is_unsettled }
    }

    /// Forgets what was read, after a reload that panicked: it may have read what did not come into force.
    pub fn forget_read(&mut self) {
        self.policy.forget_read();
        self.credentials.forget_read();
    }

    /// Whether the policy, or a part of it, is refused.
    pub fn is_policy_refused(&self) -> bool {
        self.policy.is_refused()
    }

    /// Whether the credentials, or a part of them, are refused.
    pub fn are_credentials_refused(&self) -> bool {
        self.credentials.is_refused()
    }

    fn load_server_half(&mut self) {
        let Some(document) = self.policy.valid() else { return };
        let Some(checked) = &document.server else { return };
        let StoreSettings { metrics, backends, limit_stores, .. } = &self.settings;
        let previous = self.server.as_ref().map(|server| &*server.tools);
        let tools = Tools::new(&checked.half, previous, backends, metrics);
        metrics.retain_tools(|name| tools.by_name.contains_key(name));
        let half = checked.half.clone();
        let limit_store = limit_stores.of(&half.half().spec.limits);
        self.server = Some(ServerInForce { half, tools: Arc::new(tools), limit_store });
        self.policy_of_server = Some(document.clone());
    }

    fn snapshot(&mut self) -> Option<Arc<Snapshot>> {
        let (policy, server) = (self.policy.valid()?, self.server.clone()?);
        let credentials = self.credentials.valid().map(Arc::as_ref);
        let is_complete = (self.policy.is_complete(), self.credentials.is_complete());
        if let Some(keys) = credentials.and_then(|credentials| credentials.keys.as_ref()) {
            self.keys.replace(keys.sessions.0, keys.arguments.0);
        }
        let keys = (self.keys.sealer.clone(), self.keys.digest.clone());
        Some(Arc::new(Snapshot::new(policy, server, credentials, keys, is_complete)))
    }
}

/// Keeps what is in force of what a new policy refuses, for the clients that had it and still have it.
fn keep_refused(document: &mut PolicyDocument, in_force: Option<(&ServerInForce, &PolicyDocument)>) {
    let Some(loaded) = &mut document.server else {
        let before = in_force.map_or(&[][..], |(_, policy)| &policy.clients);
        document.clients = grants::in_both(before, &document.clients).into();
        return;
    };
    let Some((server, policy)) = in_force else { return };
    for tool in loaded.keep_from(&server.half) {
        let clients = policy.kept.get(&tool).unwrap_or(&policy.clients).clone();
        document.kept.insert(tool, clients);
    }
    let tools = loaded.half.half().spec.tools.iter();
    let kept: Vec<_> = tools
        .filter_map(|tool| {
            let clients = document.kept.get(&tool.name)?;
            Some(KeptTool { name: &tool.name, is_write: tool.effect() == Effect::Write, clients })
        })
        .collect();
    let mut clients = document.clients.to_vec();
    grants::bound_kept(&mut clients, &kept);
    document.clients = clients.into();
}

impl Keys {
    /// Only the keys that changed are set up again.
    fn replace(&mut self, sessions: [u8; 32], arguments: [u8; 32]) {
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
