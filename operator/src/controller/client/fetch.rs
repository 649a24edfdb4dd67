//! Step one: what a reconcile of a client reads before it writes, from the watched objects and from the API: its Secrets are not
//! watched.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::NamespacedName;

use crate::{
    cluster::{Error, object::ClientObject},
    controller::context::Context,
    credentials::{self, CredentialKind, KINDS, RequestedSecret, Revocation},
};

/// What a reconcile reads.
pub struct Fetched {
    pub client: Arc<ClientObject>,
    /// The Secret of each credential that the spec requests. If it cannot be read which those are, that of each credential that
    /// was issued before.
    pub secrets: Vec<FetchedSecret>,
    /// Whether it can be read which credentials the spec requests.
    pub is_decoded: bool,
}

/// The Secret of one credential.
pub struct FetchedSecret {
    pub kind: &'static CredentialKind,
    pub name: NamespacedName,
    pub revocation: Revocation,
    pub live: Result<Option<Secret>, Error>,
    /// The Secret that contained the credential before the spec named another one; `None` if there is none.
    pub former: Result<Option<Secret>, Error>,
}

/// Fetches a client; `None` if it no longer exists, or is being deleted.
pub async fn fetch(context: &Context, name: &NamespacedName) -> Option<Fetched> {
    let client = context.clients.get(name).filter(|client| !client.is_terminating())?;
    let requested = client.object.credentials();
    let mut secrets = Vec::new();
    for requested in requested.iter().flat_map(|requested| credentials::requested(requested)) {
        secrets.push(fetch_secret(context, &client, requested).await);
    }
    if let (None, Some(status)) = (requested, &client.status) {
        for (kind, status) in KINDS.iter().filter_map(|kind| Some((kind, (kind.status)(status)?))) {
            let name = NamespacedName::new(client.object.namespace(), status.secret_name);
            let before = client.object.spec.as_ref().err().and_then(|spec| spec.partial.revoke_before.as_ref());
            let revocation = Revocation::new(&client.object.metadata, before);
            let live = context.cluster.get(&name).await;
            secrets.push(FetchedSecret { kind, name, revocation, live, former: Ok(None) });
        }
    }
    Some(Fetched { is_decoded: requested.is_some(), client, secrets })
}

async fn fetch_secret(context: &Context, client: &ClientObject, requested: RequestedSecret<'_>) -> FetchedSecret {
    let name = NamespacedName::new(client.object.namespace(), requested.name.as_str());
    let status = client.status.as_ref().and_then(requested.kind.status);
    let former = match status.filter(|status| status.secret_name != name.name) {
        Some(status) => context.cluster.get(&NamespacedName::new(&name.namespace, status.secret_name)).await,
        None => Ok(None),
    };
    let revocation = Revocation::new(&client.object.metadata, requested.revoke_before);
    FetchedSecret { kind: requested.kind, live: context.cluster.get(&name).await, name, revocation, former }
}
