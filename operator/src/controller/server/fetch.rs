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
    CREDENTIALS_FILE, CredentialsReading, POLICY_FILE, PolicyReading, PublishedCredentials, PublishedPolicy,
};
use serde_json::Value;
use tokio::time::timeout;

use super::names::{self, Naming, policy_name};
use crate::{
    build::{BuiltKind, CONFIG_MAP, DocumentNames, SECRET},
    cluster::{
        Error, ObjectRef,
        kind::ObjectKind,
        object::{ObservedPod, ServerObject},
        received::ReceivedObject,
    },
    controller::{
        context::{Context, ReconcileKey},
        memory::ServerMemory,
        polling,
    },
    credentials::server_keys,
    random,
    sync::lock,
    validate::{CheckedClient, ClientInput, Published, ServerInput},
};

/// How long they are waited for once the policy was written.
const LATE: Duration = Duration::from_secs(5);

/// What a reconcile reads.
pub struct Fetched {
    pub name: NamespacedName,
    pub server: Arc<ServerObject>,
    pub input: ServerInput,
    pub pods: Vec<Arc<ObservedPod>>,
    /// By which names the documents are written and mounted.
    pub names: DocumentNames,
    /// The documents that were immutable, and that pods have to leave.
    pub left: BTreeSet<String>,
    /// The documents of the name that is no longer used.
    pub unused: Vec<(&'static BuiltKind, Value)>,
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
    let pods = context.pods.of_server(name);
    reset(context, &server);
    let Naming { names, secrets, left, unused } = names::find(context, &server, &pods).await;
    polling::schedule(context, ReconcileKey::Server(name.clone()));
    // The first one is that which the pods mount; it may be gone while they move to the other one.
    let mut read = secrets.iter().filter_map(|(_, read)| read.as_ref()?.as_ref().ok());
    let found = read.find_map(Option::as_ref);
    let Published { policy, credentials } = remembered(context, &server, found);
    let credentials = credentials.or_else(|| credentials_of(found?));
    let published = Published { policy: policy.or_else(|| published_policy(context, name)), credentials };
    let clients = clients(context, name, &published);
    let memory = context.of_servers.of(name);
    let is_read = secrets.iter().all(|(_, read)| matches!(read, Some(Ok(_))));
    let is_credentials_document_stuck = !is_read || lock(&memory).is_secret_stuck;
    let mut live = LiveObjects::default();
    lock(&memory).secrets.retain(|seen| secrets.iter().any(|(name, _)| seen.is_of(name)));
    for (secret, read) in secrets {
        if let Some(Ok(found)) = &read {
            lock(&memory).saw_secret(&secret, found.as_ref().map(|found| &found.metadata));
        }
        let read = read.map(|read| match read {
            Ok(_) if is_unknown(&published, &clients) => Err(Error::Unknown { object: format!("Secret {secret}") }),
            read => read,
        });
        live.0.extend(read.map(|read| ((SECRET.object.kind, secret), read)));
    }
    let input = ServerInput {
        server: server.object.clone(),
        cluster_domain: context.settings.cluster_domain.clone(),
        clients,
        published,
        is_credentials_document_stuck,
        fresh_keys: server_keys(random::bytes()),
    };
    Some((Fetched { name: name.clone(), server, input, pods, names, left, unused }, live))
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
    let Published { policy, credentials } = lock(&memory).unanswered();
    let policy =
        policy.filter(|sent| published_policy(context, &name).is_some_and(|found| found.revision == sent.revision));
    let credentials =
        credentials.filter(|sent| secret.and_then(credentials_of).is_some_and(|found| found.revision == sent.revision));
    let mut memory = lock(&memory);
    memory.published.update(Published { policy, credentials });
    memory.published.clone()
}

/// Another server of the same name starts with nothing.
fn reset(context: &Context, server: &ServerObject) {
    let memory = context.of_servers.of(&server.object.namespaced_name());
    let mut memory = lock(&memory);
    if memory.uid != server.object.uid() {
        *memory = ServerMemory {
            awaited_by: mem::take(&mut memory.awaited_by),
            gates: mem::take(&mut memory.gates),
            rest: mem::take(&mut memory.rest),
            ..ServerMemory::default()
        };
        memory.uid = server.object.uid().to_owned();
    }
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
    let first = context.of_servers.known(server).map(|memory| lock(&memory).document_name).unwrap_or_default();
    let find = |name| context.owned.get(&CONFIG_MAP.object, &policy_name(server, name));
    let config_map = find(first).or_else(|| find(first.other()))?.value();
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
