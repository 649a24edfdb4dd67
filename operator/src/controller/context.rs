//! What every reconcile works with: the API, what was seen, what is remembered, and what is to be done.

use std::{fmt, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::{ApiResource, DynamicObject};
use portcullis_crds::{McpClient, McpServer};
use tokio::{task::JoinSet, time::Instant};
use tracing::warn;

use super::{
    index::{Index, narrows},
    memory::{ClientMemory, Memories, ServerMemory, lock},
    queue::Queue,
};
use crate::{
    build::{self, Settings},
    cluster::{
        Cluster,
        events::Events,
        labels,
        object::{ClientObject, CustomObject, ObservedPod, OwnedObject, ServerObject},
        scope::Scopes,
        store::{Change, Store, Stored},
        watch::Watch,
    },
    probe::Prober,
    validate::NamespacedName,
};

/// Later changes than the first are collected for this long.
const COLLECT: Duration = Duration::from_secs(1);
/// What was put back just now is put back again no sooner.
const FIGHT: Duration = Duration::from_millis(500);

/// What is reconciled. Clients come first of those that are due at once: servers publish what they make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReconcileKey {
    Client(NamespacedName),
    Server(NamespacedName),
}

impl fmt::Display for ReconcileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(name) => write!(f, "McpClient {name}"),
            Self::Server(name) => write!(f, "McpServer {name}"),
        }
    }
}

/// The objects that we made, by kind.
pub struct OwnedObjects {
    pub config_maps: Arc<Store<OwnedObject>>,
    pub deployments: Arc<Store<OwnedObject>>,
    pub services: Arc<Store<OwnedObject>>,
    pub service_accounts: Arc<Store<OwnedObject>>,
}

impl OwnedObjects {
    fn new(scopes: &Scopes) -> Self {
        let store = || Arc::new(Store::new(scopes));
        Self { config_maps: store(), deployments: store(), services: store(), service_accounts: store() }
    }
}

pub struct Context {
    pub cluster: Cluster,
    scopes: Scopes,
    pub settings: Settings,
    pub events: Events,
    pub queue: Arc<Queue<ReconcileKey>>,
    pub servers: Arc<Store<ServerObject>>,
    pub clients: Arc<Store<ClientObject>>,
    pub children: OwnedObjects,
    pub pods: Arc<Store<ObservedPod>>,
    pub index: Index,
    pub prober: Prober,
    pub of_servers: Memories<NamespacedName, ServerMemory>,
    pub of_clients: Memories<NamespacedName, ClientMemory>,
}

impl Context {
    pub fn new(cluster: Cluster, settings: Settings, scopes: Scopes) -> Arc<Self> {
        let queue: Arc<Queue<ReconcileKey>> = Arc::default();
        let news = Arc::clone(&queue);
        Arc::new(Self {
            events: Events::new(cluster.clone()),
            prober: Prober::new(cluster.clone(), move |server| news.add(ReconcileKey::Server(server))),
            cluster,
            settings,
            queue,
            servers: Arc::new(Store::new(&scopes)),
            clients: Arc::new(Store::new(&scopes)),
            children: OwnedObjects::new(&scopes),
            pods: Arc::new(Store::new(&scopes)),
            scopes,
            index: Index::default(),
            of_servers: Memories::default(),
            of_clients: Memories::default(),
        })
    }

    /// Starts all watches; they end with the set.
    pub fn watch(self: &Arc<Self>) -> JoinSet<()> {
        let mut watches = JoinSet::new();
        let (servers, clients) = (ApiResource::erase::<McpServer>(&()), ApiResource::erase::<McpClient>(&()));
        self.watch_kind(&mut watches, servers, None, &self.servers, decoded, Self::server_changed);
        self.watch_kind(&mut watches, clients, None, &self.clients, decoded, Self::client_changed);
        let selector = Some(labels::server_selector());
        let pods = ApiResource::erase::<Pod>(&());
        self.watch_kind(&mut watches, pods, selector.clone(), &self.pods, pod, Self::pod_changed);
        for (kind, store) in [
            (build::CONFIG_MAP, &self.children.config_maps),
            (build::DEPLOYMENT, &self.children.deployments),
            (build::SERVICE, &self.children.services),
            (build::SERVICE_ACCOUNT, &self.children.service_accounts),
        ] {
            self.watch_kind(
                &mut watches,
                kind.resource(),
                selector.clone(),
                store,
                decoded,
                Self::owned_object_changed,
            );
        }
        watches
    }

    fn watch_kind<V: Stored>(
        self: &Arc<Self>,
        watches: &mut JoinSet<()>,
        resource: ApiResource,
        label_selector: Option<String>,
        store: &Arc<Store<V>>,
        view: fn(DynamicObject) -> Option<V>,
        changed: fn(&Self, &Change<V>),
    ) {
        for scope in self.scopes.iter().cloned() {
            let (cluster, resource, label_selector) = (self.cluster.clone(), resource.clone(), label_selector.clone());
            let watch = Watch { cluster, resource, scope, label_selector, presence: None };
            let context = Arc::clone(self);
            watches.spawn(watch.run(Arc::clone(store), view, move |change| changed(&context, &change)));
        }
    }

    fn owned_object_changed(&self, change: &Change<OwnedObject>) {
        let Some(server) = change.new.as_ref().or(change.old.as_ref()).and_then(|object| object.server()) else {
            return;
        };
        let put_back_at = self.of_servers.known(&server).and_then(|memory| lock(&memory).put_back_at);
        let now = Instant::now();
        self.queue.add_at(ReconcileKey::Server(server), put_back_at.map_or(now, |at| now.max(at + FIGHT)));
    }

    /// Returns once everything that there is was seen: nothing may be published before.
    pub async fn synced(&self) {
        self.servers.synced().await;
        self.clients.synced().await;
        self.pods.synced().await;
        let OwnedObjects { config_maps, deployments, services, service_accounts } = &self.children;
        for store in [config_maps, deployments, services, service_accounts] {
            store.synced().await;
        }
    }

    fn server_changed(&self, change: &Change<ServerObject>) {
        let (Some(server), old) = (change.new.as_ref().or(change.old.as_ref()), &change.old) else { return };
        let is_ours = change.new.as_ref().zip(old.as_ref()).is_some_and(|(new, old)| is_same_but_status(new, old));
        if !is_ours {
            self.queue.add(ReconcileKey::Server(server.namespaced_name()));
        }
    }

    fn client_changed(&self, change: &Change<ClientObject>) {
        let Some(client) = change.new.as_ref().or(change.old.as_ref()) else { return };
        if change.new.as_ref().zip(change.old.as_ref()).is_some_and(|(new, old)| is_same_but_status(new, old)) {
            return;
        }
        let name = client.namespaced_name();
        let old = change.old.as_ref().map(|old| &old.object.spec);
        let new = change.new.as_ref().map(|new| &new.object.spec);
        let servers: Vec<NamespacedName> = match self.index.change(&name, old, new) {
            Some(servers) => servers.into_iter().collect(),
            // Its published access may be anywhere.
            None => self.servers.all().iter().map(|server| server.namespaced_name()).collect(),
        };
        self.queue.add(ReconcileKey::Client(name));
        let is_same_client = change.old.as_ref().is_none_or(|old| old.object.uid() == client.object.uid());
        let is_ending = client.object.metadata.deletion_timestamp.is_some();
        let takes_nothing_away = match (old, new) {
            (None, Some(Ok(_))) => true,
            (Some(Ok(old)), Some(Ok(new))) => !narrows(old, new),
            _ => false,
        };
        let may_wait = is_same_client && !is_ending && takes_nothing_away;
        for server in servers {
            self.publish(server, may_wait);
        }
    }

    /// Has a server published again: at once, or where it may wait, with whatever else changes within the second.
    pub fn publish(&self, server: NamespacedName, may_wait: bool) {
        let now = Instant::now();
        let memory = self.of_servers.known(&server).filter(|_| may_wait);
        let at = match memory.map(|memory| lock(&memory).published_at) {
            Some(Some(published_at)) => now.max(published_at + COLLECT),
            // Its first publication is being made just now.
            Some(None) => now + COLLECT / 2,
            None => now,
        };
        self.queue.add_at(ReconcileKey::Server(server), at);
    }

    fn pod_changed(&self, change: &Change<ObservedPod>) {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        if old.zip(new).is_some_and(|(old, new)| old.is_same_but_annotations(new)) {
            return;
        }
        for pod in [old, new].into_iter().flatten() {
            self.queue.add(ReconcileKey::Server(pod.server.clone()));
        }
    }
}

/// Whether nothing that a reconcile looks at differs, as after a write of our own to the status.
fn is_same_but_status<S, T>(new: &CustomObject<S, T>, old: &CustomObject<S, T>) -> bool {
    let (new, old) = (&new.object, &old.object);
    let is_same = |a: &ObjectMeta, b: &ObjectMeta| {
        (&a.uid, a.generation, &a.deletion_timestamp) == (&b.uid, b.generation, &b.deletion_timestamp)
    };
    is_same(&new.metadata, &old.metadata) && new.spec.is_ok() == old.spec.is_ok()
}

/// An object that is kept however it is.
fn decoded<V: From<DynamicObject>>(object: DynamicObject) -> Option<V> {
    Some(object.into())
}

fn pod(object: DynamicObject) -> Option<ObservedPod> {
    let name = object.metadata.name.clone();
    match object.try_parse::<Pod>() {
        Ok(pod) => Some(pod.into()),
        Err(error) => {
            warn!(%error, pod = name, "a pod cannot be decoded; it is not confirmed");
            None
        }
    }
}
