//! The watched objects of one kind, by name.
//!
//! The watch decides: its lists and events replace what is here, also by lower versions, since versions start over when the
//! cluster is restored from a backup. The answer to one of the operator's own writes may be ahead of the watch; it is taken in if
//! it is newer, and what the watch delivers late does not undo it. Whoever puts an object in gets the [`Change`] and must pass it
//! on: the answer to a write may be the first to carry another party's edit. That an object is missing means nothing before
//! [`Store::synced`].

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use portcullis_crds::NamespacedName;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use super::scope::{Scope, Scopes};

/// How many deletions are remembered. They matter for as long as the answer to a write may be late.
const REMEMBERED_DELETIONS: usize = 4096;
/// For how long the answer to a write counts more than older versions of the object in the watch. A watch is never that late; if
/// it does not deliver the version by then, it never will.
const AHEAD: Duration = Duration::from_secs(60);

/// An object that a store can hold.
pub trait Stored: PartialEq + Send + Sync + 'static {
    fn namespaced_name(&self) -> NamespacedName;
    /// The object's resourceVersion, a number that grows within its kind (Kubernetes API concepts, "Resource versions").
    fn version(&self) -> u64;
    /// The McpServer that the object was made for, by its label.
    fn server(&self) -> Option<NamespacedName> {
        None
    }
}

/// A change of one object: `old` is `None` if it is new, `new` is `None` if it was deleted.
#[derive(Debug, PartialEq)]
pub struct Change<V> {
    pub old: Option<Arc<V>>,
    pub new: Option<Arc<V>>,
}

/// The time at which a list was requested.
#[derive(Clone, Copy, Debug)]
pub struct ListStart(u64);

/// All objects of one kind.
#[derive(Debug)]
pub struct Store<V> {
    inner: RwLock<Inner<V>>,
    /// The scopes that were not listed yet.
    unlisted: watch::Sender<BTreeSet<Scope>>,
}

#[derive(Debug)]
struct Inner<V> {
    objects: HashMap<NamespacedName, Entry<V>>,
    by_server: HashMap<NamespacedName, BTreeSet<NamespacedName>>,
    /// The version at which each name was last deleted, so that a late answer to a write does not bring it back.
    deleted: HashMap<NamespacedName, u64>,
    /// How many answers to writes were taken in.
    answers: u64,
}

#[derive(Debug)]
struct Entry<V> {
    object: Arc<V>,
    /// Set while the object is the answer to a write that the watch has not delivered yet: the how manieth, and when.
    ahead: Option<(u64, Instant)>,
}

impl<V: Stored> Store<V> {
    /// An empty store that is to be filled from these scopes.
    pub fn new(scopes: &Scopes) -> Self {
        let inner = Inner { objects: HashMap::new(), by_server: HashMap::new(), deleted: HashMap::new(), answers: 0 };
        Self { inner: RwLock::new(inner), unlisted: watch::Sender::new(scopes.iter().cloned().collect()) }
    }

    pub fn get(&self, name: &NamespacedName) -> Option<Arc<V>> {
        self.read().objects.get(name).map(|entry| Arc::clone(&entry.object))
    }

    pub fn all(&self) -> Vec<Arc<V>> {
        self.read().objects.values().map(|entry| Arc::clone(&entry.object)).collect()
    }

    /// The objects that were made for a server, in the order of their names.
    pub fn of_server(&self, server: &NamespacedName) -> Vec<Arc<V>> {
        let inner = self.read();
        let names = inner.by_server.get(server).into_iter().flatten();
        names.filter_map(|name| inner.objects.get(name).map(|entry| Arc::clone(&entry.object))).collect()
    }

    /// Returns once every scope was listed.
    pub async fn synced(&self) {
        // The sender lives as long as the store, so the channel cannot close.
        let _ = self.unlisted.subscribe().wait_for(BTreeSet::is_empty).await;
    }

    /// Whether every scope was listed.
    pub fn is_synced(&self) -> bool {
        self.unlisted.borrow().is_empty()
    }

    /// Takes in the answer to a write or to a read by name, unless the store has a newer version of the object.
    #[must_use = "the change may contain another party's edit, which must be reconciled"]
    pub fn answer(&self, object: V) -> Option<Change<V>> {
        let (name, version) = (object.namespaced_name(), object.version());
        let mut inner = self.write();
        let is_known = inner.objects.get(&name).is_some_and(|known| known.object.version() >= version);
        if is_known || inner.deleted.get(&name).is_some_and(|deleted| *deleted >= version) {
            return None;
        }
        inner.answers += 1;
        let ahead = Some((inner.answers, Instant::now()));
        Some(inner.insert(object, ahead))
    }

    /// Takes in what the watch delivers, unless it is late.
    #[must_use = "the change must be reconciled"]
    pub fn event(&self, object: V) -> Option<Change<V>> {
        let mut inner = self.write();
        if let Some(known) = inner.objects.get_mut(&object.namespaced_name()) {
            let is_ahead = known.ahead.is_some_and(|(_, at)| at.elapsed() < AHEAD);
            if is_ahead && known.object.version() > object.version() {
                return None;
            }
            known.ahead = None;
            if *known.object == object {
                return None;
            }
        }
        Some(inner.insert(object, None))
    }

    /// Takes an object out; `object` is its last state. It stays if the store has another object of its name that is newer.
    #[must_use = "the change must be reconciled"]
    pub fn remove(&self, object: &V) -> Option<Change<V>> {
        let name = object.namespaced_name();
        let mut inner = self.write();
        if inner.deleted.len() >= REMEMBERED_DELETIONS {
            inner.deleted.clear();
        }
        inner.deleted.insert(name.clone(), object.version());
        let is_late = |known: &Entry<V>| known.ahead.is_some() && known.object.version() > object.version();
        if inner.objects.get(&name).is_some_and(is_late) {
            return None;
        }
        inner.remove(&name)
    }

    /// To be called before a list is requested.
    pub fn begin_list(&self) -> ListStart {
        ListStart(self.read().answers)
    }

    /// Takes in a complete list of one scope: whatever the store holds of that scope and the list lacks was deleted, and what is
    /// in it replaces other versions, also newer ones. Only the answers that arrived after `start` are kept if they are newer.
    #[must_use = "the changes must be reconciled"]
    pub fn replace(&self, scope: &Scope, start: ListStart, list: Vec<V>) -> Vec<Change<V>> {
        let mut inner = self.write();
        let mut missing: BTreeSet<NamespacedName> =
            inner.objects.keys().filter(|name| scope.contains(name)).cloned().collect();
        let mut changes = Vec::new();
        for object in list {
            let name = object.namespaced_name();
            missing.remove(&name);
            if let Some(known) = inner.objects.get_mut(&name) {
                let is_later = known.ahead.is_some_and(|(number, _)| number > start.0);
                if is_later && known.object.version() > object.version() {
                    continue;
                }
                known.ahead = None;
                // The version alone says nothing: after a restore the same number may be that of another content.
                if *known.object == object {
                    continue;
                }
            }
            changes.push(inner.insert(object, None));
        }
        changes.extend(missing.iter().filter_map(|name| inner.remove(name)));
        drop(inner);
        self.unlisted.send_modify(|unlisted| {
            unlisted.remove(scope);
        });
        changes
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<V>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<V>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Stored> Inner<V> {
    fn insert(&mut self, object: V, ahead: Option<(u64, Instant)>) -> Change<V> {
        let name = object.namespaced_name();
        let old = self.take(&name);
        let new = Arc::new(object);
        if let Some(server) = new.server() {
            self.by_server.entry(server).or_default().insert(name.clone());
        }
        self.objects.insert(name, Entry { object: Arc::clone(&new), ahead });
        Change { old, new: Some(new) }
    }

    fn remove(&mut self, name: &NamespacedName) -> Option<Change<V>> {
        self.take(name).map(|old| Change { old: Some(old), new: None })
    }

    fn take(&mut self, name: &NamespacedName) -> Option<Arc<V>> {
        let old = self.objects.remove(name)?.object;
        if let Some(server) = old.server()
            && let Some(names) = self.by_server.get_mut(&server)
        {
            names.remove(name);
            if names.is_empty() {
                self.by_server.remove(&server);
            }
        }
        Some(old)
    }
}

#[cfg(test)]
mod tests;
