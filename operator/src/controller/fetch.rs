//! Step one: everything that a reconcile will need, from what was seen and, for Secrets, from the API.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::contract::{
    CREDENTIALS_FILE, CredentialsReading, POLICY_FILE, PolicyReading, PublishedCredentials, PublishedPolicy, Version,
};
use serde_json::Value;

use super::{context::Context, memory::lock};
use crate::{
    build::{config_map_name, credentials_secret_name},
    cluster::{
        Error,
        object::{ClientObject, ObservedPod, ServerObject},
    },
    credentials::server_keys,
    random,
    validate::{ClientInput, NamespacedName, Published, ServerInput},
};

/// What there is of one server.
pub struct Fetched {
    pub name: NamespacedName,
    pub server: Arc<ServerObject>,
    pub input: ServerInput,
    pub pods: Vec<Arc<ObservedPod>>,
}

/// The Secret of a server's credentials as it is now, with all that the API says of it.
pub type LiveCredentials = Result<Option<Value>, Error>;

/// Fetches a server; none where it is gone.
///
/// # Errors
/// Where nothing is known of the credentials and they can't be read: keys that are
/// in use would be made anew.
pub async fn server(context: &Context, name: &NamespacedName) -> Result<Option<(Fetched, LiveCredentials)>, Error> {
    let Some(server) = context.servers.get(name) else { return Ok(None) };
    let secret = secret(context, &child_name(name, credentials_secret_name(&name.name, Version::CURRENT))).await;
    let memory = context.of_servers.of(name);
    let remembered = {
        let mut memory = lock(&memory);
        if memory.uid != server.object.uid() {
            *memory = Default::default();
            memory.uid = server.object.uid().to_owned();
        }
        memory.published.clone()
    };
    let Published { policy, credentials } = remembered;
    let credentials = match (credentials, &secret) {
        (Some(credentials), _) => Some(credentials),
        (None, Ok(secret)) => secret.as_ref().and_then(credentials_of),
        (None, Err(_)) => return secret.map(|_| None),
    };
    let published = Published { policy: policy.or_else(|| published_policy(context, name)), credentials };
    let live = secret.and_then(|secret| Ok(secret.map(serde_json::to_value).transpose()?));
    let clients = clients(context, name, &published);
    let fresh_keys = server_keys(random::bytes());
    let input = ServerInput { server: server.object.clone(), clients, published, fresh_keys };
    Ok(Some((Fetched { name: name.clone(), server, input, pods: context.pods.of_server(name) }, live)))
}

/// Those that name the server, and those that it serves and that are still there.
fn clients(context: &Context, server: &NamespacedName, published: &Published) -> Vec<ClientInput> {
    let mut names: BTreeSet<NamespacedName> = context.index.clients(server);
    for client in published.policy.iter().flat_map(|policy| &*policy.clients) {
        names.insert(client.id.resolve(&server.namespace));
    }
    names.iter().filter_map(|name| client_input(context, name)).collect()
}

fn client_input(context: &Context, name: &NamespacedName) -> Option<ClientInput> {
    let client: Arc<ClientObject> = context.clients.get(name)?;
    // One that is being deleted has nothing any more, whatever still waits for its end.
    if client.object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let memory = context.of_clients.known(name);
    let keys = memory.and_then(|memory| {
        let memory = lock(&memory);
        memory.keys.clone().filter(|_| memory.uid == client.object.uid())
    });
    Some(ClientInput { client: client.object.clone(), keys })
}

/// The policy that an earlier run published.
fn published_policy(context: &Context, server: &NamespacedName) -> Option<PublishedPolicy> {
    let name = child_name(server, config_map_name(&server.name, Version::CURRENT));
    let config_map = context.children.config_maps.get(&name)?.value();
    PolicyReading::parse(config_map["data"][POLICY_FILE].as_str()?).ok().map(Into::into)
}

fn credentials_of(secret: &Secret) -> Option<PublishedCredentials> {
    let data = secret.data.as_ref()?.get(CREDENTIALS_FILE)?;
    CredentialsReading::parse(std::str::from_utf8(&data.0).ok()?).ok().map(Into::into)
}

/// A Secret as it is now; none where there is none. Secrets are not watched: the operator reads none that it need not.
///
/// # Errors
/// As the API server refuses.
pub async fn secret(context: &Context, name: &NamespacedName) -> Result<Option<Secret>, Error> {
    context.cluster.get(name).await
}

pub fn child_name(server: &NamespacedName, name: String) -> NamespacedName {
    NamespacedName { namespace: server.namespace.clone(), name }
}
