//! Step one: everything that a reconcile of a server plans with, from the watched objects and, for Secrets, from the API.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::NamespacedName;
use portcullis_crds::contract::{
    CREDENTIALS_FILE, CredentialsReading, POLICY_FILE, PolicyReading, PublishedCredentials, PublishedPolicy, Version,
};
use tokio::time::timeout;

use crate::{
    build::{CONFIG_MAP, SECRET, config_map_name, credentials_secret_name},
    cluster::{
        Error, ObjectRef,
        kind::ObjectKind,
        object::{ObservedPod, ServerObject},
        received::ReceivedObject,
    },
    controller::{
        context::{Context, ReconcileKey},
        memory::ServerMemory,
        polling::{self, SeenSecret},
    },
    credentials::server_keys,
    random,
    sync::lock,
    validate::{CheckedClient, ClientInput, Published, ServerInput},
};

/// How long the policy waits for the credentials to be read.
const PROMPT: Duration = Duration::from_secs(1);
/// How long they are waited for once the policy was written.
const LATE: Duration = Duration::from_secs(5);

/// What a reconcile reads.
pub struct Fetched {
    pub name: NamespacedName,
    pub server: Arc<ServerObject>,
    pub input: ServerInput,
    pub pods: Vec<Arc<ObservedPod>>,
}

/// The objects that are not watched and were read for this reconcile; `None` for one that does not exist.
#[derive(Default)]
pub struct LiveObjects(BTreeMap<(&'static str, NamespacedName), Result<Option<ReceivedObject>, Error>>);

impl LiveObjects {
    /// Takes out what was read of an object; `None` if it was not read.
    pub fn take(&mut self, kind: &ObjectKind, name: &NamespacedName) -> Option<Result<Option<ReceivedObject>, Error>> {
        self.0.remove(&(kind.kind, name.clone()))
    }
}

/// Fetches a server; `None` if it no longer exists.
///
/// Credentials that cannot be read hold up nothing but themselves: the policy is published without them.
pub async fn fetch(context: &Context, name: &NamespacedName) -> Option<(Fetched, LiveObjects)> {
    let server = context.servers.get(name)?;
    let secret = ObjectRef {
        resource: SECRET.object.resource(),
        name: child_name(name, credentials_secret_name(&name.name, Version::CURRENT)),
    };
    let read = timeout(PROMPT, context.cluster.read(&secret)).await.ok();
    polling::schedule(context, ReconcileKey::Server(name.clone()));
    let found = read.as_ref().and_then(|read| read.as_ref().ok()?.as_ref());
    let Published { policy, credentials } = remembered(context, &server, found);
    if let Some(Ok(found)) = &read {
        let memory = context.of_servers.of(name);
        lock(&memory).secret = Some(SeenSecret::new(&secret.name, found.as_ref().map(|found| &found.metadata)));
    }
    let credentials = credentials.or_else(|| credentials_of(read.as_ref()?.as_ref().ok()?.as_ref()?));
    let published = Published { policy: policy.or_else(|| published_policy(context, name)), credentials };
    let clients = clients(context, name, &published);
    let memory = context.of_servers.of(name);
    let is_credentials_document_stuck = !matches!(read, Some(Ok(_))) || lock(&memory).is_secret_stuck;
    let read = read.map(|read| match read {
        Ok(_) if is_unknown(&published, &clients) => Err(Error::Unknown { object: secret.to_string() }),
        read => read,
    });
    let live = LiveObjects(read.map(|read| ((SECRET.object.kind, secret.name), read)).into_iter().collect());
    let input = ServerInput {
        server: server.object.clone(),
        cluster_domain: context.settings.cluster_domain.clone(),
        clients,
        published,
        is_credentials_document_stuck,
        fresh_keys: server_keys(random::bytes()),
    };
    Some((Fetched { name: name.clone(), server, input, pods: context.pods.of_server(name) }, live))
}

/// Reads the credentials after the policy was written, if the answer was late before. If they were unknown to this run they are
/// remembered, and the next reconcile plans with them.
///
/// # Errors
/// Returns an error if they cannot be read, or this reconcile did not know them.
pub async fn read_late(
    context: &Context,
    fetched: &Fetched,
    secret: &ObjectRef,
) -> Result<Option<ReceivedObject>, Error> {
    let late = || Error::Timeout { doing: format!("reading {secret}"), after: LATE };
    let found = timeout(LATE, context.cluster.read(secret)).await.map_err(|_| late())??;
    let published = &fetched.input.published;
    let known = found.as_ref().filter(|_| published.credentials.is_none()).and_then(credentials_of);
    if known.is_some() {
        let memory = context.of_servers.of(&fetched.name);
        lock(&memory).published.update(Published { policy: None, credentials: known });
        return Err(late());
    }
    match is_unknown(published, &fetched.input.clients) {
        true => Err(Error::Unknown { object: secret.to_string() }),
        false => Ok(found),
    }
}

/// Whether the credentials must not be written yet: what the servers have of them is unknown, and so is the key of a client that is
/// served. It would be cut off.
fn is_unknown(published: &Published, clients: &[ClientInput]) -> bool {
    let entries = published.policy.iter().flat_map(|policy| &*policy.clients);
    let served: BTreeSet<&str> = entries.map(|entry| entry.uid.as_str()).collect();
    let is_served = |client: &ClientInput| served.contains(client.client.object().uid());
    published.credentials.is_none() && clients.iter().any(|client| client.credentials.is_none() && is_served(client))
}

/// What this run published last for the server. What it sent counts if that is found in the cluster, even if nobody waited for the
/// answer.
fn remembered(context: &Context, server: &ServerObject, secret: Option<&ReceivedObject>) -> Published {
    let name = server.object.namespaced_name();
    let memory = context.of_servers.of(&name);
    let mut memory = lock(&memory);
    // Another server of the same name starts with nothing.
    if memory.uid != server.object.uid() {
        *memory = ServerMemory {
            awaited_by: mem::take(&mut memory.awaited_by),
            gates: mem::take(&mut memory.gates),
            rest: mem::take(&mut memory.rest),
            ..ServerMemory::default()
        };
        memory.uid = server.object.uid().to_owned();
    }
    let Published { policy, credentials } = memory.unanswered();
    let policy =
        policy.filter(|sent| published_policy(context, &name).is_some_and(|found| found.revision == sent.revision));
    let credentials =
        credentials.filter(|sent| secret.and_then(credentials_of).is_some_and(|found| found.revision == sent.revision));
    memory.published.update(Published { policy, credentials });
    memory.published.clone()
}

/// The clients that name the server, and those that it serves and that still exist.
fn clients(context: &Context, server: &NamespacedName, published: &Published) -> Vec<ClientInput> {
    let mut names: BTreeSet<NamespacedName> = context.index.clients(server);
    for client in published.policy.iter().flat_map(|policy| &*policy.clients) {
        names.insert(client.id.resolve(&server.namespace));
    }
    names.iter().filter_map(|name| client_input(context, name)).collect()
}

pub fn client_input(context: &Context, name: &NamespacedName) -> Option<ClientInput> {
    // A client that is being deleted has lost its access, however long its finalizers take.
    let client = context.clients.get(name).filter(|client| !client.is_terminating())?;
    let credentials = context.of_clients.known(name).and_then(|memory| lock(&memory).issued_to(&client.object));
    Some(ClientInput { client: CheckedClient::new(client.object.clone()), credentials })
}

/// The policy that is in the cluster: what an earlier run published, or somebody else wrote in its place.
pub fn published_policy(context: &Context, server: &NamespacedName) -> Option<PublishedPolicy> {
    let name = child_name(server, config_map_name(&server.name, Version::CURRENT));
    let config_map = context.owned.get(&CONFIG_MAP.object, &name)?.value();
    PolicyReading::parse(config_map["data"][POLICY_FILE].as_str()?).ok().map(Into::into)
}

fn credentials_of(secret: &ReceivedObject) -> Option<PublishedCredentials> {
    let secret: Secret = secret.decode().ok()?;
    let data = secret.data?.remove(CREDENTIALS_FILE)?;
    CredentialsReading::parse(std::str::from_utf8(&data.0).ok()?).ok().map(Into::into)
}

/// The name of an object in the server's namespace.
pub fn child_name(server: &NamespacedName, name: String) -> NamespacedName {
    NamespacedName { namespace: server.namespace.clone(), name }
}
