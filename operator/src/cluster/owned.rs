//! The objects that the operator built, as they are in the cluster, by kind.

use std::sync::Arc;

use kube::core::ApiResource;
use portcullis_crds::NamespacedName;

use super::{
    client::Cluster,
    kind::{ObjectKind, Retrieval},
    labels,
    object::OwnedObject,
    presence::Presence,
    received::ReceivedObject,
    scope::Scopes,
    store::{Change, Store},
    watch::Watch,
};
use crate::supervise::Supervisor;

/// A watch, and the store that it keeps up to date.
pub struct OwnedWatch {
    pub watch: Watch,
    pub store: Arc<Store<OwnedObject>>,
}

/// A store for each watched kind.
pub struct OwnedObjects(Vec<WatchedKind>);

struct WatchedKind {
    kind: ObjectKind,
    store: Arc<Store<OwnedObject>>,
    /// Only of a kind that the cluster may lack.
    presence: Option<Arc<Presence>>,
}

impl OwnedObjects {
    pub fn new(kinds: impl IntoIterator<Item = ObjectKind>, scopes: &Scopes) -> Self {
        let watched = kinds.into_iter().filter(|kind| kind.retrieval != Retrieval::OnDemand);
        let stores = watched.map(|kind| WatchedKind {
            kind,
            store: Arc::new(Store::new(scopes)),
            presence: (kind.retrieval == Retrieval::WatchedIfServed).then(Arc::default),
        });
        Self(stores.collect())
    }

    /// The watches that keep the stores up to date.
    pub fn watches(&self, cluster: &Cluster, scopes: &Scopes, supervisor: &Supervisor) -> Vec<OwnedWatch> {
        let mut watches = Vec::new();
        for WatchedKind { kind, store, presence } in &self.0 {
            for scope in scopes.iter().cloned() {
                let watch = Watch::new(cluster, supervisor, kind.resource(), scope)
                    .of_label(Some(labels::server_selector()))
                    .if_served(presence.clone());
                watches.push(OwnedWatch { watch, store: Arc::clone(store) });
            }
        }
        watches
    }

    /// The kinds that the cluster may lack.
    pub fn uncertain(&self) -> Vec<(ApiResource, Arc<Presence>)> {
        let presence = |watched: &WatchedKind| Some((watched.kind.resource(), watched.presence.clone()?));
        self.0.iter().filter_map(presence).collect()
    }

    /// Returns once every kind was listed that each cluster has.
    pub async fn synced(&self) {
        for watched in self.0.iter().filter(|watched| watched.presence.is_none()) {
            watched.store.synced().await;
        }
    }

    /// Whether the cluster has a kind, as far as it is known.
    pub fn is_served(&self, kind: &ObjectKind) -> bool {
        self.find(kind).and_then(|watched| watched.presence.as_ref()).is_none_or(|presence| presence.is_served())
    }

    /// A watched object; `None` also if its kind is not watched.
    pub fn get(&self, kind: &ObjectKind, name: &NamespacedName) -> Option<Arc<OwnedObject>> {
        self.find(kind)?.store.get(name)
    }

    /// The watched objects of a kind that were made for a server.
    pub fn of_server(&self, kind: &ObjectKind, server: &NamespacedName) -> Vec<Arc<OwnedObject>> {
        self.find(kind).map(|watched| watched.store.of_server(server)).unwrap_or_default()
    }

    /// Takes in the answer to a write or to a read by name; the change must be reconciled. `None` also if the kind is not watched.
    #[must_use = "the change may contain another party's edit, which must be reconciled"]
    pub fn answer(&self, kind: &ObjectKind, object: ReceivedObject) -> Option<Change<OwnedObject>> {
        self.find(kind)?.store.answer(object.into())
    }

    /// Takes out an object that no longer exists; the change must be reconciled.
    #[must_use = "the change must be reconciled"]
    pub fn gone(&self, kind: &ObjectKind, name: &NamespacedName) -> Option<Change<OwnedObject>> {
        let store = &self.find(kind)?.store;
        store.remove(&*store.get(name)?)
    }

    fn find(&self, kind: &ObjectKind) -> Option<&WatchedKind> {
        self.0.iter().find(|watched| watched.kind.kind == kind.kind && watched.kind.group == kind.group)
    }
}
