//! What every reconcile works with: the API, what was seen, what is remembered, and what is to be done.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client as ApiClient, Resource,
    core::{ApiResource, DynamicObject},
};
use portcullis_crds::{McpClient, McpServer};
use tokio::{task::JoinSet, time::Instant};
use tracing::warn;

use super::{
    index::{Index, narrows},
    memory::{ClientMemory, Memories, ServerMemory, lock},
    queue::Queue,
};
use crate::{
    build::Settings,
    cluster::{
        events::Events,
        object::{Client, CustomObject, ObservedPod, OwnedObject, Server},
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
/// What the objects that we made are found by.
const OURS: &str = "app.kubernetes.io/managed-by=portcullis-operator,app.kubernetes.io/name=portcullis-server";

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
#[derive(Default)]
pub struct OwnedObjects {
    pub config_maps: Arc<Store<OwnedObject>>,
    pub deployments: Arc<Store<OwnedObject>>,
    pub services: Arc<Store<OwnedObject>>,
    pub service_accounts: Arc<Store<OwnedObject>>,
}

pub struct Context {
    pub api: ApiClient,
    pub settings: Settings,
    pub events: Events,
    pub queue: Arc<Queue<ReconcileKey>>,
    pub servers: Arc<Store<Server>>,
    pub clients: Arc<Store<Client>>,
    pub children: OwnedObjects,
    pub pods: Arc<Store<ObservedPod>>,
    /// The pods of each server, by UID.
    pods_of: Mutex<HashMap<NamespacedName, HashMap<String, NamespacedName>>>,
    pub index: Index,
    pub prober: Prober,
    pub of_servers: Memories<NamespacedName, ServerMemory>,
    pub of_clients: Memories<NamespacedName, ClientMemory>,
}

impl Context {
    pub fn new(api: ApiClient, settings: Settings) -> Arc<Self> {
        let queue: Arc<Queue<ReconcileKey>> = Arc::default();
        let news = Arc::clone(&queue);
        Arc::new(Self {
            events: Events::new(api.clone()),
            prober: Prober::new(api.clone(), move |server| news.add(ReconcileKey::Server(server))),
            api,
            settings,
            queue,
            servers: Arc::default(),
            clients: Arc::default(),
            children: OwnedObjects::default(),
            pods: Arc::default(),
            pods_of: Default::default(),
            index: Index::default(),
            of_servers: Memories::default(),
            of_clients: Memories::default(),
        })
    }

    /// Starts all watches; they end with the set.
    pub fn watch(self: &Arc<Self>) -> JoinSet<()> {
        let mut watches = JoinSet::new();
        let custom = |resource: ApiResource| Api::all_with(self.api.clone(), &resource);
        let server =
            Watch { api: custom(ApiResource::erase::<McpServer>(&())), resource: "mcpservers", label_selector: None };
        let context = Arc::clone(self);
        let changed = move |change| context.server_changed(&change);
        watches.spawn(server.run(Arc::clone(&self.servers), |object| Some(object.into()), changed));
        let client =
            Watch { api: custom(ApiResource::erase::<McpClient>(&())), resource: "mcpclients", label_selector: None };
        let context = Arc::clone(self);
        let changed = move |change| context.client_changed(&change);
        watches.spawn(client.run(Arc::clone(&self.clients), |object| Some(object.into()), changed));
        let pods =
            Watch { api: custom(ApiResource::erase::<Pod>(&())), resource: "pods", label_selector: Some(OURS.into()) };
        let context = Arc::clone(self);
        watches.spawn(pods.run(Arc::clone(&self.pods), pod, move |change| context.pod_changed(&change)));
        self.watch_children::<ConfigMap>(&mut watches, "configmaps", &self.children.config_maps);
        self.watch_children::<Deployment>(&mut watches, "deployments", &self.children.deployments);
        self.watch_children::<Service>(&mut watches, "services", &self.children.services);
        self.watch_children::<ServiceAccount>(&mut watches, "serviceaccounts", &self.children.service_accounts);
        watches
    }

    fn watch_children<K: Resource<DynamicType = ()>>(
        self: &Arc<Self>,
        watches: &mut JoinSet<()>,
        resource: &'static str,
        store: &Arc<Store<OwnedObject>>,
    ) {
        let api = Api::all_with(self.api.clone(), &ApiResource::erase::<K>(&()));
        let watch = Watch { api, resource, label_selector: Some(OURS.into()) };
        let context = Arc::clone(self);
        let changed = move |change: Change<OwnedObject>| {
            if let Some(child) = change.new.or(change.old) {
                let server = NamespacedName { namespace: child.key().namespace, name: child.server.clone() };
                let memory = context.of_servers.known(&server);
                let put_back_at = memory.and_then(|memory| lock(&memory).put_back_at);
                let now = Instant::now();
                context.queue.add_at(ReconcileKey::Server(server), put_back_at.map_or(now, |at| now.max(at + FIGHT)));
            }
        };
        watches.spawn(watch.run(Arc::clone(store), |object| Some(object.into()), changed));
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

    /// The pods of a server.
    pub fn pods(&self, server: &NamespacedName) -> Vec<Arc<ObservedPod>> {
        let names: Vec<NamespacedName> =
            lock(&self.pods_of).get(server).into_iter().flat_map(|pods| pods.values().cloned()).collect();
        names.iter().filter_map(|name| self.pods.get(name)).collect()
    }

    fn server_changed(&self, change: &Change<Server>) {
        let (Some(server), old) = (change.new.as_ref().or(change.old.as_ref()), &change.old) else { return };
        let is_ours = change.new.as_ref().zip(old.as_ref()).is_some_and(|(new, old)| is_same_but_status(new, old));
        if !is_ours {
            self.queue.add(ReconcileKey::Server(server.key()));
        }
    }

    fn client_changed(&self, change: &Change<Client>) {
        let Some(client) = change.new.as_ref().or(change.old.as_ref()) else { return };
        if change.new.as_ref().zip(change.old.as_ref()).is_some_and(|(new, old)| is_same_but_status(new, old)) {
            return;
        }
        let name = client.key();
        let old = change.old.as_ref().map(|old| &old.object.spec);
        let new = change.new.as_ref().map(|new| &new.object.spec);
        let servers: Vec<NamespacedName> = match self.index.change(&name, old, new) {
            Some(servers) => servers.into_iter().collect(),
            // Its published access may be anywhere.
            None => self.servers.all().iter().map(|server| server.key()).collect(),
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
        let server_of =
            |pod: &ObservedPod| NamespacedName { namespace: pod.name.namespace.clone(), name: pod.server.clone() };
        if change.old.as_ref().zip(change.new.as_ref()).is_some_and(|(old, new)| old.is_like(new)) {
            return;
        }
        let mut pods_of = lock(&self.pods_of);
        if let Some(old) = &change.old {
            let server = server_of(old);
            if let Some(pods) = pods_of.get_mut(&server) {
                pods.remove(&old.uid);
                if pods.is_empty() {
                    pods_of.remove(&server);
                }
            }
            self.queue.add(ReconcileKey::Server(server));
        }
        if let Some(new) = &change.new {
            pods_of.entry(server_of(new)).or_default().insert(new.uid.clone(), new.name.clone());
            self.queue.add(ReconcileKey::Server(server_of(new)));
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
