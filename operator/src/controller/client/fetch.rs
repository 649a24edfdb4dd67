//! Step one: everything that a reconcile of a client will read, from the watched objects, from what its servers reported, and
//! from the API: its Secrets are not watched.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::NamespacedName;

use crate::{
    cluster::{Error, object::ClientObject},
    controller::{context::Context, memory::ServerReport},
    sync::lock,
};

/// What a reconcile reads.
pub struct Fetched {
    pub client: Arc<ClientObject>,
    pub key: KeySource,
    /// The Secret that held the key before the spec named another one; `None` if there is none.
    pub former_secret: Result<Option<Secret>, Error>,
    /// Each server that the client names, with its report; `None` in place of the report if there is no such server. `None`
    /// as a whole until all of them have reported.
    pub servers: Option<Vec<(NamespacedName, Option<ServerReport>)>>,
}

/// Where the client's key is.
pub enum KeySource {
    /// The spec cannot be decoded, so that it is unknown.
    Unknown,
    /// The spec asks for no key.
    None,
    Secret {
        name: NamespacedName,
        live: Box<Result<Option<Secret>, Error>>,
    },
}

/// Fetches a client; `None` if it no longer exists, or is being deleted.
pub async fn fetch(context: &Context, name: &NamespacedName) -> Option<Fetched> {
    let client = context.clients.get(name).filter(|client| !client.is_terminating())?;
    let key = key_source(context, name, &client).await;
    let former_secret = match &key {
        KeySource::Secret { name, .. } => former_secret(context, &client, name).await,
        KeySource::Unknown | KeySource::None => Ok(None),
    };
    Some(Fetched { servers: servers(context, name), client, key, former_secret })
}

async fn key_source(context: &Context, client: &NamespacedName, object: &ClientObject) -> KeySource {
    let Ok(spec) = &object.object.spec else { return KeySource::Unknown };
    let Some(api_key) = &spec.credentials.api_key else { return KeySource::None };
    let name = NamespacedName { namespace: client.namespace.clone(), name: api_key.secret_name.as_str().to_owned() };
    let live = Box::new(context.cluster.get(&name).await);
    KeySource::Secret { name, live }
}

/// The Secret that the status names, if the spec names another one.
async fn former_secret(
    context: &Context,
    client: &ClientObject,
    current: &NamespacedName,
) -> Result<Option<Secret>, Error> {
    let former = client.status.as_ref().and_then(|status| status.api_key.as_ref());
    let Some(former) = former.filter(|former| former.secret_name != current.name) else { return Ok(None) };
    let name = NamespacedName { namespace: current.namespace.clone(), name: former.secret_name.clone() };
    context.cluster.get(&name).await
}

fn servers(context: &Context, client: &NamespacedName) -> Option<Vec<(NamespacedName, Option<ServerReport>)>> {
    let one = |server: NamespacedName| {
        if context.servers.get(&server).is_none_or(|server| server.is_terminating()) {
            return Some((server, None));
        }
        let memory = context.of_servers.known(&server)?;
        let report = lock(&memory).reports.get(client).cloned()?;
        Some((server, Some(report)))
    };
    context.index.servers(client).into_iter().map(one).collect()
}
