//! Which reconciles a change of a watched object starts, and when.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::NamespacedName;
use tokio::time::{Duration, Instant};

use super::{
    context::{Context, ReconcileKey},
    index::narrows,
    queue::Lane,
    server::may_serve,
};
use crate::{
    cluster::{
        ObjectRef,
        kind::{ObjectKind, Retrieval},
        object::{ClientObject, CustomObject, ObservedPod, OwnedObject, ServerObject},
        received::ReceivedObject,
        store::{Change, Stored},
    },
    credentials::{self, NEW_KEY, RECONCILE, RequestedSecret},
    object::Spec,
    sync::lock,
};

/// The shortest time between two corrections of drift, in case another party keeps changing an object.
const CORRECT_AGAIN: Duration = Duration::from_millis(500);

impl Context {
    pub fn server_changed(&self, change: &Change<ServerObject>) {
        let (Some(server), old) = (change.new.as_ref().or(change.old.as_ref()), &change.old) else { return };
        let is_only_status =
            change.new.as_ref().zip(old.as_ref()).is_some_and(|(new, old)| is_same_but_status(new, old));
        let name = server.namespaced_name();
        if is_only_status {
            let memory = self.of_servers.known(&name);
            if memory.is_some_and(|memory| {
                lock(&memory).status.as_ref().is_some_and(|status| server.status.as_ref() != Some(status))
            }) {
                // Somebody else changed the status.
                self.queue.add(ReconcileKey::Server(name));
            }
            return;
        }
        match old {
            Some(_) => self.publish(name, false),
            // A new server has granted nothing yet.
            None => self.queue.add(ReconcileKey::Server(name)),
        }
    }

    pub fn client_changed(&self, change: &Change<ClientObject>) {
        let Some(client) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let name = client.namespaced_name();
        if change.new.as_ref().zip(change.old.as_ref()).is_some_and(|(new, old)| is_same_but_status(new, old)) {
            let memory = self.of_clients.known(&name);
            if memory.is_some_and(|memory| {
                lock(&memory).status.as_ref().is_some_and(|status| client.status.as_ref() != Some(status))
            }) {
                // Somebody else changed the status.
                self.queue.add(ReconcileKey::Client(name));
            }
            return;
        }
        let old = change.old.as_ref().map(|old| &old.object.spec);
        let new = change.new.as_ref().map(|new| &new.object.spec);
        let servers: Vec<NamespacedName> = match self.index.change(&name, old, new) {
            Some(servers) => servers.into_iter().collect(),
            // It is unknown which servers the client named: any of them may have published access for it.
            None => self.servers.all().iter().map(|server| server.namespaced_name()).collect(),
        };
        let asks = |change: Option<&Arc<ClientObject>>| {
            let client = &change?.object;
            let credentials = client.credentials().map(|it| {
                let of_kind = |it: RequestedSecret<'_>| (it.kind.field, it.revoke_before.cloned());
                credentials::requested(it).map(of_kind).collect::<Vec<_>>()
            });
            let before = client.spec.as_ref().err().and_then(|spec| spec.partial.revoke_before.clone());
            Some((credentials, before, asked(&client.metadata)))
        };
        let lane = match (asks(change.old.as_ref()), asks(change.new.as_ref())) {
            (Some(old), Some(new)) if old != new => Lane::Removals,
            _ => Lane::Others,
        };
        self.queue.add_at(ReconcileKey::Client(name.clone()), Instant::now(), lane);
        let is_same_client = change.old.as_ref().is_none_or(|old| old.object.uid() == client.object.uid());
        let takes_nothing_away = match (old, new) {
            (None, Some(Ok(_))) => true,
            (Some(Ok(old)), Some(Ok(new))) => !narrows(old, new),
            _ => false,
        };
        let may_wait = is_same_client && !client.is_terminating() && takes_nothing_away;
        for server in servers {
            self.publish_client(&name, server, may_wait);
        }
    }

    /// Schedules the next publication of a server because of a client. Whatever becomes of one that the server does not serve can
    /// wait: anybody can name a server.
    pub fn publish_client(&self, client: &NamespacedName, server: NamespacedName, may_wait: bool) {
        let may_wait = may_wait || !may_serve(self, &server, client);
        self.publish(server, may_wait);
    }

    /// Schedules the next publication of a server: now, or if it may wait, together with what else changes within the
    /// second.
    pub fn publish(&self, server: NamespacedName, may_wait: bool) {
        let memory = self.of_servers.known(&server);
        let at = memory.map_or_else(Instant::now, |memory| lock(&memory).publications.changed(may_wait));
        let lane = if may_wait { Lane::Others } else { Lane::Removals };
        self.queue.add_at(ReconcileKey::Server(server), at, lane);
    }

    pub fn pod_changed(&self, change: &Change<ObservedPod>) {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        if old.zip(new).is_some_and(|(old, new)| old.is_same_but_annotations(new)) {
            return;
        }
        for pod in [old, new].into_iter().flatten() {
            self.queue.add(ReconcileKey::Server(pod.server.clone()));
        }
    }

    pub fn owned_object_changed(&self, change: &Change<OwnedObject>) {
        let both = [change.new.as_ref(), change.old.as_ref()].into_iter().flatten();
        let servers: BTreeSet<NamespacedName> = both.filter_map(|object| object.server()).collect();
        let now = Instant::now();
        for server in servers {
            let corrected_at = self.of_servers.known(&server).and_then(|memory| lock(&memory).corrected_at);
            let at = corrected_at.map_or(now, |at| now.max(at + CORRECT_AGAIN));
            self.queue.add_at(ReconcileKey::Server(server), at, Lane::Others);
        }
    }

    /// Takes in an object as it is after a write: the answer goes the same way as what the watch delivers.
    pub fn written(&self, kind: &ObjectKind, object: ReceivedObject) {
        if let Some(change) = self.owned.answer(kind, object) {
            self.owned_object_changed(&change);
        }
    }

    /// Reads an object that the watch may be late about, as when a write was refused because of another party's, and takes in what
    /// is found. Whatever fails is left to the watch.
    pub async fn look(&self, kind: &ObjectKind, name: &NamespacedName) {
        if kind.retrieval == Retrieval::OnDemand {
            return;
        }
        let object = ObjectRef { resource: kind.resource(), name: name.clone() };
        let change = match self.cluster.read(&object).await {
            Ok(Some(found)) => self.owned.answer(kind, found),
            Ok(None) => self.owned.gone(kind, name),
            Err(_) => None,
        };
        if let Some(change) = change {
            self.owned_object_changed(&change);
        }
    }

    /// The cluster has a kind that it lacked: every server may be missing an object of it.
    pub fn kind_appeared(&self) {
        for server in self.servers.all() {
            self.queue.add(ReconcileKey::Server(server.namespaced_name()));
        }
    }
}

/// The values of the annotations by which a resource asks for something.
fn asked(metadata: &ObjectMeta) -> [Option<String>; 2] {
    [NEW_KEY, RECONCILE].map(|name| metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned())
}

/// Whether nothing that a reconcile reads has changed, as after the operator's own write of the status.
///
/// The specs are compared too: once a cluster was restored from a backup, a generation is given to another spec.
fn is_same_but_status<S: Spec + PartialEq, T>(new: &CustomObject<S, T>, old: &CustomObject<S, T>) -> bool {
    let (new, old) = (&new.object, &old.object);
    let is_same = |a: &ObjectMeta, b: &ObjectMeta| {
        (&a.uid, a.generation, &a.deletion_timestamp) == (&b.uid, b.generation, &b.deletion_timestamp)
            && asked(a) == asked(b)
    };
    is_same(&new.metadata, &old.metadata) && new.spec == old.spec
}
