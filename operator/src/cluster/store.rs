//! What was last seen of one kind of object, by name, and what each sight changed.
//!
//! Versions only go up: an answer to a write of our own may be put in before the watch brings it, and what the watch brings
//! late does not undo it. Nothing may be concluded from what is *not* here before [`Store::synced`].

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use tokio::sync::watch;

use crate::object::NamespacedName;

/// What a store can hold: something with a name, and a version that grows with each change.
pub trait Stored: Send + Sync + 'static {
    fn key(&self) -> NamespacedName;
    /// The object's resourceVersion, a number that grows within its kind (Kubernetes API concepts, "Resource versions").
    fn version(&self) -> u64;
}

/// A change of one object: from none where it is new, to none where it is gone.
#[derive(Debug, PartialEq)]
pub struct Change<V> {
    pub old: Option<Arc<V>>,
    pub new: Option<Arc<V>>,
}

/// All objects of one kind.
#[derive(Debug)]
pub struct Store<V> {
    inner: RwLock<Inner<V>>,
    synced: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner<V> {
    objects: HashMap<NamespacedName, Arc<V>>,
    /// The version at which a name was last deleted, so that a late answer to a write does not bring it back.
    gone: HashMap<NamespacedName, u64>,
}

/// How many deletions are remembered; they matter for the time that an answer may be late.
const REMEMBERED_DELETIONS: usize = 4096;

impl<V: Stored> Default for Store<V> {
    fn default() -> Self {
        let inner = Inner { objects: HashMap::new(), gone: HashMap::new() };
        Self { inner: RwLock::new(inner), synced: watch::Sender::new(false) }
    }
}

impl<V: Stored> Store<V> {
    pub fn get(&self, key: &NamespacedName) -> Option<Arc<V>> {
        self.read().objects.get(key).cloned()
    }

    pub fn all(&self) -> Vec<Arc<V>> {
        self.read().objects.values().cloned().collect()
    }

    /// Returns once everything that there is was seen once.
    pub async fn synced(&self) {
        // The sender lives as long as the store, so the channel can't close.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes an object in, unless a newer sight of it is there.
    pub fn see(&self, object: V) -> Option<Change<V>> {
        let (key, version) = (object.key(), object.version());
        let mut inner = self.write();
        let is_late = inner.objects.get(&key).is_some_and(|known| known.version() >= version)
            || inner.gone.get(&key).is_some_and(|gone| *gone >= version);
        if is_late {
            return None;
        }
        let new = Arc::new(object);
        let old = inner.objects.insert(key, Arc::clone(&new));
        Some(Change { old, new: Some(new) })
    }

    /// Takes an object out; `object` is its last state.
    pub fn remove(&self, object: &V) -> Option<Change<V>> {
        let key = object.key();
        let mut inner = self.write();
        if inner.gone.len() >= REMEMBERED_DELETIONS {
            inner.gone.clear();
        }
        inner.gone.insert(key.clone(), object.version());
        inner.objects.remove(&key).map(|old| Change { old: Some(old), new: None })
    }

    /// Takes a complete list in: what it lacks is gone.
    pub fn replace(&self, list: Vec<V>) -> Vec<Change<V>> {
        let mut changes = Vec::new();
        let mut inner = self.write();
        let mut before = std::mem::take(&mut inner.objects);
        for object in list {
            let key = object.key();
            let new = match before.remove(&key) {
                Some(known) if known.version() >= object.version() => known,
                old => {
                    let new = Arc::new(object);
                    changes.push(Change { old, new: Some(Arc::clone(&new)) });
                    new
                }
            };
            inner.objects.insert(key, new);
        }
        changes.extend(before.into_values().map(|old| Change { old: Some(old), new: None }));
        drop(inner);
        self.synced.send_replace(true);
        changes
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<V>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<V>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Thing(&'static str, u64);

    impl Stored for Thing {
        fn key(&self) -> NamespacedName {
            NamespacedName { namespace: "sales".into(), name: self.0.into() }
        }

        fn version(&self) -> u64 {
            self.1
        }
    }

    fn change(old: Option<Thing>, new: Option<Thing>) -> Change<Thing> {
        Change { old: old.map(Arc::new), new: new.map(Arc::new) }
    }

    #[test]
    fn a_late_sight_undoes_nothing() {
        let store = Store::default();
        assert_eq!(store.see(Thing("a", 5)), Some(change(None, Some(Thing("a", 5)))));
        assert_eq!(store.see(Thing("a", 4)), None);
        assert_eq!(store.see(Thing("a", 5)), None);
        assert_eq!(store.remove(&Thing("a", 7)), Some(change(Some(Thing("a", 5)), None)));
        assert_eq!(store.see(Thing("a", 6)), None, "an answer to a write before the deletion");
        assert_eq!(store.see(Thing("a", 8)), Some(change(None, Some(Thing("a", 8)))));
    }

    #[test]
    fn a_list_tells_what_is_new_changed_and_gone_and_nothing_else() {
        let store = Store::default();
        store.replace(vec![Thing("same", 1), Thing("changed", 2), Thing("gone", 3), Thing("ahead", 9)]);
        let changes = store.replace(vec![Thing("same", 1), Thing("changed", 5), Thing("new", 6), Thing("ahead", 8)]);
        assert_eq!(
            changes,
            [
                change(Some(Thing("changed", 2)), Some(Thing("changed", 5))),
                change(None, Some(Thing("new", 6))),
                change(Some(Thing("gone", 3)), None),
            ]
        );
        assert_eq!(store.get(&Thing("ahead", 0).key()), Some(Arc::new(Thing("ahead", 9))));
    }

    #[tokio::test]
    async fn only_a_whole_list_makes_a_store_synced() {
        let store = Store::default();
        store.see(Thing("a", 1));
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(10), store.synced());
        assert!(waiting.await.is_err());
        store.replace(Vec::new());
        store.synced().await;
        assert_eq!(store.all(), []);
    }
}
