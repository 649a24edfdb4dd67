//! Step one: what a reconcile of a client reads before it writes, from the watched objects and from the API: its Secrets are not
//! watched.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::NamespacedName;

use crate::{
    cluster::{Error, object::ClientObject},
    controller::{context::Context, polling::SeenSecret},
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
    pub former_name: Option<NamespacedName>,
}

impl FetchedSecret {
    /// What the poller compares with: all of it, so that no retry is needed for what could not be read.
    pub fn seen(&self) -> Vec<SeenSecret> {
        let seen = |name, read: &Result<Option<Secret>, Error>| match read {
            Ok(found) => SeenSecret::new(name, found.as_ref().map(|found| &found.metadata)),
            Err(error) => SeenSecret::unread(name, error),
        };
        let former = self.former_name.as_ref().map(|name| seen(name, &self.former));
        former.into_iter().chain([seen(&self.name, &self.live)]).collect()
    }
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
            secrets.push(FetchedSecret { kind, name, revocation, live, former: Ok(None), former_name: None });
        }
    }
    Some(Fetched { is_decoded: requested.is_some(), client, secrets })
}

async fn fetch_secret(context: &Context, client: &ClientObject, requested: RequestedSecret<'_>) -> FetchedSecret {
    let name = NamespacedName::new(client.object.namespace(), requested.name.as_str());
    let status = client.status.as_ref().and_then(requested.kind.status);
    let former_name = status.map(|status| NamespacedName::new(&name.namespace, status.secret_name));
    let former_name = former_name.filter(|former| *former != name);
    let former = match &former_name {
        Some(former) => context.cluster.get(former).await,
        None => Ok(None),
    };
    let revocation = Revocation::new(&client.object.metadata, requested.revoke_before);
    let live = context.cluster.get(&name).await;
    FetchedSecret { kind: requested.kind, live, name, revocation, former, former_name }
}
