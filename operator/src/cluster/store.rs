//! The watched objects of one kind, by name.
//!
//! The answer to one of the operator's own writes is put in like an event of the watch, and may come before it: what the watch
//! delivers late does not undo it. A list replaces everything, also by older versions, which are what a restored cluster has. That
//! an object is missing means nothing before [`Store::synced`].

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use portcullis_crds::NamespacedName;
use tokio::sync::watch;

use super::scope::{Scope, Scopes};

/// How many deletions are remembered. They matter for as long as the answer to a write may be late.
const REMEMBERED_DELETIONS: usize = 4096;

/// An object that a store can hold.
pub trait Stored: Send + Sync + 'static {
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

/// All objects of one kind.
#[derive(Debug)]
pub struct Store<V> {
    inner: RwLock<Inner<V>>,
    /// The scopes that were not listed yet.
    unlisted: watch::Sender<BTreeSet<Scope>>,
}

#[derive(Debug)]
struct Inner<V> {
    objects: HashMap<NamespacedName, Arc<V>>,
    by_server: HashMap<NamespacedName, BTreeSet<NamespacedName>>,
    /// The version at which each name was last deleted, so that a late answer to a write does not bring it back.
    deleted: HashMap<NamespacedName, u64>,
}

impl<V: Stored> Store<V> {
    /// An empty store that is to be filled from these scopes.
    pub fn new(scopes: &Scopes) -> Self {
        let inner = Inner { objects: HashMap::new(), by_server: HashMap::new(), deleted: HashMap::new() };
        Self { inner: RwLock::new(inner), unlisted: watch::Sender::new(scopes.iter().cloned().collect()) }
    }

    pub fn get(&self, name: &NamespacedName) -> Option<Arc<V>> {
        self.read().objects.get(name).cloned()
    }

    pub fn all(&self) -> Vec<Arc<V>> {
        self.read().objects.values().cloned().collect()
    }

    /// The objects that were made for a server, by their label, in the order of their names.
    pub fn of_server(&self, server: &NamespacedName) -> Vec<Arc<V>> {
        let inner = self.read();
        let names = inner.by_server.get(server).into_iter().flatten();
        names.filter_map(|name| inner.objects.get(name).cloned()).collect()
    }

    /// Returns once every scope was listed.
    pub async fn synced(&self) {
        // The sender lives as long as the store, so the channel cannot close.
        let _ = self.unlisted.subscribe().wait_for(BTreeSet::is_empty).await;
    }

    /// Takes an object in, unless the store has a newer version of it.
    pub fn update(&self, object: V) -> Option<Change<V>> {
        let (name, version) = (object.namespaced_name(), object.version());
        let mut inner = self.write();
        let is_late = inner.has(&name, version) || inner.deleted.get(&name).is_some_and(|deleted| *deleted >= version);
        (!is_late).then(|| inner.insert(object))
    }

    /// Takes an object out; `object` is its last state.
    pub fn remove(&self, object: &V) -> Option<Change<V>> {
        let name = object.namespaced_name();
        let mut inner = self.write();
        if inner.deleted.len() >= REMEMBERED_DELETIONS {
            inner.deleted.clear();
        }
        inner.deleted.insert(name.clone(), object.version());
        inner.remove(&name)
    }

    /// Takes in a complete list of one scope: it is what the cluster has, whatever the store had.
    pub fn replace(&self, scope: &Scope, list: Vec<V>) -> Vec<Change<V>> {
        let mut inner = self.write();
        inner.deleted.retain(|name, _| !scope.contains(name));
        let mut missing: BTreeSet<NamespacedName> =
            inner.objects.keys().filter(|name| scope.contains(name)).cloned().collect();
        let mut changes = Vec::new();
        for object in list {
            let name = object.namespaced_name();
            missing.remove(&name);
            if inner.objects.get(&name).is_none_or(|known| known.version() != object.version()) {
                changes.push(inner.insert(object));
            }
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
    /// Whether this version of an object, or a newer one, is here.
    fn has(&self, name: &NamespacedName, version: u64) -> bool {
        self.objects.get(name).is_some_and(|known| known.version() >= version)
    }

    fn insert(&mut self, object: V) -> Change<V> {
        let name = object.namespaced_name();
        let old = self.take(&name);
        let new = Arc::new(object);
        if let Some(server) = new.server() {
            self.by_server.entry(server).or_default().insert(name.clone());
        }
        self.objects.insert(name, Arc::clone(&new));
        Change { old, new: Some(new) }
    }

    fn remove(&mut self, name: &NamespacedName) -> Option<Change<V>> {
        self.take(name).map(|old| Change { old: Some(old), new: None })
    }

    fn take(&mut self, name: &NamespacedName) -> Option<Arc<V>> {
        let old = self.objects.remove(name)?;
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
