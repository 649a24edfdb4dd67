//! What every reconcile works with: the cluster, the watched objects, what is remembered, and the queue.

use std::{fmt, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::core::ApiResource;
use portcullis_crds::{McpClient, McpServer, NamespacedName};
use tokio::task::JoinSet;
use tracing::warn;

use super::{
    index::Index,
    memory::{ClientMemory, Memories, ServerMemory},
    polling,
    queue::{Key, Queue},
};
use crate::{
    build::{BuiltKind, Settings},
    cluster::{
        Cluster,
        events::Events,
        labels,
        object::{ClientObject, ObservedPod, ServerObject},
        owned::OwnedObjects,
        received::ReceivedObject,
        scope::Scopes,
        store::{Change, Store, Stored},
        watch::Watch,
    },
    probe::Prober,
};

/// What is reconciled. Of those that are due at the same time clients come first: servers publish what they make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReconcileKey {
    Client(NamespacedName),
    Server(NamespacedName),
}

impl Key for ReconcileKey {
    fn namespace(&self) -> &str {
        match self {
            Self::Client(name) | Self::Server(name) => &name.namespace,
        }
    }
}

impl fmt::Display for ReconcileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(name) => write!(f, "McpClient {name}"),
            Self::Server(name) => write!(f, "McpServer {name}"),
        }
    }
}

pub struct Context {
    pub cluster: Cluster,
    pub settings: Settings,
    /// The kinds of objects that are built.
    pub kinds: &'static [BuiltKind],
    pub events: Events,
    pub queue: Arc<Queue<ReconcileKey>>,
    /// When the Secrets of which client or server are polled next.
    pub polls: Arc<Queue<ReconcileKey>>,
    pub servers: Arc<Store<ServerObject>>,
    pub clients: Arc<Store<ClientObject>>,
    pub owned: OwnedObjects,
    pub pods: Arc<Store<ObservedPod>>,
    pub index: Index,
    pub prober: Prober,
    pub of_servers: Memories<NamespacedName, ServerMemory>,
    pub of_clients: Memories<NamespacedName, ClientMemory>,
    scopes: Scopes,
}

impl Context {
    pub fn new(cluster: Cluster, settings: Settings, kinds: &'static [BuiltKind], scopes: Scopes) -> Arc<Self> {
        let queue: Arc<Queue<ReconcileKey>> = Arc::default();
        let of_prober = Arc::clone(&queue);
        Arc::new(Self {
            events: Events::new(cluster.clone()),
            prober: Prober::new(cluster.clone(), move |server| of_prober.add(ReconcileKey::Server(server))),
            cluster,
            settings,
            kinds,
            queue,
            polls: Arc::default(),
            servers: Arc::new(Store::new(&scopes)),
            clients: Arc::new(Store::new(&scopes)),
            owned: OwnedObjects::new(kinds.iter().map(|kind| kind.object), &scopes),
            pods: Arc::new(Store::new(&scopes)),
            index: Index::default(),
            of_servers: Memories::default(),
            of_clients: Memories::default(),
            scopes,
        })
    }

    /// Starts all watches. None of them ends by itself; all of them end with the set.
    pub fn watch(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let (servers, clients) = (ApiResource::erase::<McpServer>(&()), ApiResource::erase::<McpClient>(&()));
        self.watch_kind(&mut tasks, servers, None, &self.servers, any, Self::server_changed);
        self.watch_kind(&mut tasks, clients, None, &self.clients, any, Self::client_changed);
        let pods = ApiResource::erase::<Pod>(&());
        self.watch_kind(&mut tasks, pods, Some(labels::server_selector()), &self.pods, pod, Self::pod_changed);
        let (changed, appeared) = (Arc::clone(self), Arc::clone(self));
        self.owned.watch(
            &self.cluster,
            &self.scopes,
            &mut tasks,
            move |change| changed.owned_object_changed(&change),
            move || appeared.kind_appeared(),
        );
        tasks.spawn(polling::poll_secrets(Arc::clone(self)));
        tasks
    }

    fn watch_kind<V: Stored>(
        self: &Arc<Self>,
        tasks: &mut JoinSet<()>,
        resource: ApiResource,
        label_selector: Option<String>,
        store: &Arc<Store<V>>,
        view: fn(ReceivedObject) -> Option<V>,
        changed: fn(&Self, &Change<V>),
    ) {
        for scope in self.scopes.iter().cloned() {
            let (cluster, resource, label_selector) = (self.cluster.clone(), resource.clone(), label_selector.clone());
            let watch = Watch { cluster, resource, scope, label_selector, presence: None };
            let context = Arc::clone(self);
            tasks.spawn(watch.run(Arc::clone(store), view, move |change| changed(&context, &change)));
        }
    }

    /// Returns once everything was listed: nothing may be published before.
    pub async fn synced(&self) {
        self.servers.synced().await;
        self.clients.synced().await;
        self.pods.synced().await;
        self.owned.synced().await;
    }
}

/// Keeps every object, whether or not it can be decoded.
fn any<V: From<ReceivedObject>>(object: ReceivedObject) -> Option<V> {
    Some(object.into())
}

fn pod(object: ReceivedObject) -> Option<ObservedPod> {
    let name = object.metadata.name.clone();
    match object.decode::<Pod>() {
        Ok(pod) => Some(pod.into()),
        Err(error) => {
            warn!(%error, pod = name, "a pod cannot be decoded; what it serves is not confirmed");
            None
        }
    }
}
