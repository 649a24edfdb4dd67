//! What every reconcile works with: the cluster, the watched objects, what is remembered, and the queue.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use k8s_openapi::api::core::v1::Pod;
use kube::core::ApiResource;
use portcullis_crds::{McpClient, McpServer, NamespacedName};
use tracing::{
    error,
    field::{DisplayValue, display},
    warn,
};

use super::{
    health::LastPage,
    index::Index,
    memory::{ClientMemory, Memories, ServerMemory},
    polling,
    queue::{Key, Queue},
    tasks::Tasks,
};
use crate::{
    build::{BuiltKind, Settings},
    cluster::{
        Cluster,
        events::Events,
        labels,
        object::{ClientObject, ObservedPod, OwnedObject, ServerObject},
        owned::OwnedObjects,
        presence::CHECK_EVERY,
        received::ReceivedObject,
        scope::Scopes,
        store::{Change, Store, Stored},
        watch::Watch,
    },
    metrics::{Kind, Task},
    probe::Prober,
    supervise::{Supervisor, TaskName, caught_call},
};

/// What is reconciled. Of those that are due at the same time clients come first: servers publish what they make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReconcileKey {
    Client(NamespacedName),
    Server(NamespacedName),
}

impl Key for ReconcileKey {
    fn namespace(&self) -> &str {
        &self.name().namespace
    }
}

impl ReconcileKey {
    pub fn name(&self) -> &NamespacedName {
        match self {
            Self::Client(name) | Self::Server(name) => name,
        }
    }

    /// The field `server` of a message about it.
    pub fn server(&self) -> Option<DisplayValue<&NamespacedName>> {
        match self {
            Self::Server(name) => Some(display(name)),
            Self::Client(_) => None,
        }
    }

    /// The field `client` of a message about it.
    pub fn client(&self) -> Option<DisplayValue<&NamespacedName>> {
        match self {
            Self::Client(name) => Some(display(name)),
            Self::Server(_) => None,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Client(_) => Kind::McpClient,
            Self::Server(_) => Kind::McpServer,
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
    pub supervisor: Supervisor,
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
    /// Whether the driver gives out what is due.
    pub is_driven: AtomicBool,
    pub last_page: LastPage,
    scopes: Scopes,
}

impl Context {
    pub fn new(cluster: Cluster, settings: Settings, kinds: &'static [BuiltKind], scopes: Scopes) -> Arc<Self> {
        let queue: Arc<Queue<ReconcileKey>> = Arc::default();
        let of_prober = Arc::clone(&queue);
        let supervisor = Supervisor::new(cluster.metrics().clone());
        let on_report = move |server| of_prober.add(ReconcileKey::Server(server));
        Arc::new(Self {
            events: Events::new(cluster.clone()),
            prober: Prober::new(cluster.clone(), supervisor.clone(), on_report),
            supervisor,
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
            is_driven: AtomicBool::new(false),
            last_page: LastPage::default(),
            scopes,
        })
    }

    /// Starts all watches, and the poller of Secrets. All of them end with the set.
    pub fn watch(self: &Arc<Self>, tasks: &mut Tasks) {
        let (servers, clients) = (ApiResource::erase::<McpServer>(&()), ApiResource::erase::<McpClient>(&()));
        self.watch_kind(tasks, servers, None, &self.servers, any, Self::server_changed);
        self.watch_kind(tasks, clients, None, &self.clients, any, Self::client_changed);
        let pods = ApiResource::erase::<Pod>(&());
        self.watch_kind(tasks, pods, Some(labels::pod_selector()), &self.pods, pod, Self::pod_changed);
        for watched in self.owned.watches(&self.cluster, &self.scopes, &self.supervisor) {
            let context = Arc::clone(self);
            let name = watched.watch.name();
            tasks.keep(&self.supervisor, name, move |is_again| {
                let context = Arc::clone(&context);
                let changed = move |change: Change<OwnedObject>| {
                    context.pass_on(&change, |change| context.owned_object_changed(change));
                };
                watched.watch.clone().run(Arc::clone(&watched.store), is_again, |object| Some(object.into()), changed)
            });
        }
        for (resource, presence) in self.owned.uncertain() {
            let context = Arc::clone(self);
            let progress = self.supervisor.progress(TaskName::new(Task::Presence, resource.plural.clone()));
            tasks.keep(&self.supervisor, TaskName::new(Task::Presence, resource.plural.clone()), move |_| {
                let (context, resource) = (Arc::clone(&context), resource.clone());
                let (presence, progress) = (Arc::clone(&presence), progress.clone());
                async move {
                    let appeared = || context.kind_appeared();
                    presence.follow(&context.cluster, &resource, CHECK_EVERY, &progress, appeared).await;
                }
            });
        }
        let (context, progress) = (Arc::clone(self), self.supervisor.progress(Task::SecretPoller));
        tasks.keep(&self.supervisor, Task::SecretPoller, move |is_again| {
            polling::poll_secrets(Arc::clone(&context), progress.clone(), is_again)
        });
    }

    fn watch_kind<V: Stored>(
        self: &Arc<Self>,
        tasks: &mut Tasks,
        resource: ApiResource,
        label_selector: Option<String>,
        store: &Arc<Store<V>>,
        view: fn(ReceivedObject) -> Option<V>,
        changed: fn(&Self, &Change<V>),
    ) {
        for scope in self.scopes.iter().cloned() {
            let watch =
                Watch::new(&self.cluster, &self.supervisor, resource.clone(), scope).of_label(label_selector.clone());
            let (context, store) = (Arc::clone(self), Arc::clone(store));
            tasks.keep(&self.supervisor, watch.name(), move |is_again| {
                let context = Arc::clone(&context);
                let passed_on = move |change: Change<V>| {
                    context.pass_on(&change, |change| changed(&context, change));
                };
                watch.clone().run(Arc::clone(&store), is_again, view, passed_on)
            });
        }
    }

    /// Starts the reconciles that follow from a change. If that panics, it concerns this object only: it is reconciled itself.
    fn pass_on<V: Stored>(&self, change: &Change<V>, changed: impl FnOnce(&Change<V>)) {
        let Err(why) = caught_call(|| changed(change)) else { return };
        let Some(object) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let name = object.namespaced_name();
        error!(object = %name, error = why, "a change could not be passed on; the object is reconciled itself");
        self.supervisor.metrics().restarted(Task::Change);
        for key in [
            object.server().map(ReconcileKey::Server),
            Some(ReconcileKey::Client(name.clone())),
            Some(ReconcileKey::Server(name)),
        ] {
            key.into_iter().filter(|key| self.exists(key)).for_each(|key| self.queue.add(key));
        }
    }

    /// All that can be reconciled.
    pub fn keys(&self) -> Vec<ReconcileKey> {
        let clients = self.clients.all().into_iter().map(|client| ReconcileKey::Client(client.namespaced_name()));
        let servers = self.servers.all().into_iter().map(|server| ReconcileKey::Server(server.namespaced_name()));
        clients.chain(servers).collect()
    }

    pub fn exists(&self, key: &ReconcileKey) -> bool {
        match key {
            ReconcileKey::Client(name) => self.clients.get(name).is_some(),
            ReconcileKey::Server(name) => self.servers.get(name).is_some(),
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
