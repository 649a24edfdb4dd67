//! Step one: what a reconcile of a client reads before it writes, from the watched objects and from the API: its Secrets are not
//! watched.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::NamespacedName;

use crate::{
    cluster::{Error, object::ClientObject},
    controller::context::Context,
    credentials::{self, CredentialKind, RequestedSecret},
};

/// What a reconcile reads.
pub struct Fetched {
    pub client: Arc<ClientObject>,
    /// The Secret of each credential that the spec requests; `None` if it cannot be read which those are.
    pub secrets: Option<Vec<FetchedSecret>>,
}

/// The Secret of one credential.
pub struct FetchedSecret {
    pub kind: &'static CredentialKind,
    pub name: NamespacedName,
    pub live: Result<Option<Secret>, Error>,
    /// The Secret that contained the credential before the spec named another one; `None` if there is none.
    pub former: Result<Option<Secret>, Error>,
}

/// Fetches a client; `None` if it no longer exists, or is being deleted.
pub async fn fetch(context: &Context, name: &NamespacedName) -> Option<Fetched> {
    let client = context.clients.get(name).filter(|client| !client.is_terminating())?;
    let secrets = match client.object.credentials() {
        Some(requested) => {
            let mut secrets = Vec::new();
            for requested in credentials::requested(requested) {
                secrets.push(fetch_secret(context, &client, requested).await);
            }
            Some(secrets)
        }
        None => None,
    };
    Some(Fetched { client, secrets })
}

async fn fetch_secret(context: &Context, client: &ClientObject, requested: RequestedSecret<'_>) -> FetchedSecret {
    let name = NamespacedName::new(client.object.namespace(), requested.name.as_str());
    let status = client.status.as_ref().and_then(requested.kind.status);
    let former = match status.filter(|status| status.secret_name != name.name) {
        Some(status) => context.cluster.get(&NamespacedName::new(&name.namespace, status.secret_name)).await,
        None => Ok(None),
    };
    FetchedSecret { kind: requested.kind, live: context.cluster.get(&name).await, name, former }
}
