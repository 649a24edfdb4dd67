//! What one run of the operator remembers between reconciles. All of it can be lost: the cluster has what matters.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portcullis_crds::contract::ApiKeyDigest;
use tokio::time::Instant;

use super::status::ConditionState;
use crate::cluster::backoff::Backoff;
use crate::validate::{ClientOutcome, NamespacedName, Published};

/// What a client hears from a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerReport {
    /// None where the server has not looked at the client yet.
    pub outcome: Option<ClientOutcome>,
    /// Whether what the server grants it changed since all pods last agreed.
    pub is_pending: bool,
    /// The server's `PolicySynced`.
    pub synced: ConditionState,
}

/// Of one server.
#[derive(Debug, Default)]
pub struct ServerMemory {
    pub uid: String,
    /// Whether its clients know that it is going.
    pub is_ending: bool,
    /// When this run first looked at it.
    pub since: Option<Instant>,
    /// What was published last by this run, each document as soon as it was written.
    pub published: Published,
    pub published_at: Option<Instant>,
    /// Clients whose access changed with a publication that not all pods serve yet.
    pub pending: BTreeSet<NamespacedName>,
    /// What was wanted of each kind of object when it was last right: another change of it is drift.
    pub wanted: HashMap<&'static str, u64>,
    pub status_at: Option<Instant>,
    /// When something was last put back: whoever fights over it has to wait each time.
    pub put_back_at: Option<Instant>,
    /// What each client report last.
    pub report: HashMap<NamespacedName, ServerReport>,
}

/// Of one client.
#[derive(Debug, Default)]
pub struct ClientMemory {
    pub uid: String,
    /// The digests of its keys; none before they were looked at.
    pub keys: Option<Vec<ApiKeyDigest>>,
    /// Whether the last look at its key failed.
    pub has_failed: bool,
    pub status_at: Option<Instant>,
}

/// A value for each name, made when it is first asked for.
#[derive(Debug)]
pub struct Memories<K, V>(Mutex<HashMap<K, Arc<Mutex<V>>>>);

impl<K, V> Default for Memories<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, V: Default> Memories<K, V> {
    pub fn of(&self, key: &K) -> Arc<Mutex<V>> {
        Arc::clone(lock(&self.0).entry(key.clone()).or_default())
    }

    pub fn known(&self, key: &K) -> Option<Arc<Mutex<V>>> {
        lock(&self.0).get(key).cloned()
    }

    pub fn forget(&self, key: &K) -> Option<Arc<Mutex<V>>> {
        lock(&self.0).remove(key)
    }
}

/// The pauses of what fails.
#[derive(Debug)]
pub struct Failures<K>(Mutex<HashMap<K, Backoff>>);

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Failures<K> {
    /// It failed: how long to leave it alone.
    pub fn pause(&self, key: &K) -> Duration {
        let first = || Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        lock(&self.0).entry(key.clone()).or_insert_with(first).next_pause()
    }

    pub fn succeeded(&self, key: &K) {
        lock(&self.0).remove(key);
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
