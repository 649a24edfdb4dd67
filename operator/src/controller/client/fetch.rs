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

/// A credential of a client, as its spec and status name it.
pub struct NamedCredential {
    pub kind: &'static CredentialKind,
    pub secret: NamespacedName,
    /// The Secret that contained the credential before the spec named another one.
    pub former: Option<NamespacedName>,
    pub revocation: Revocation,
}

/// The Secret of one credential.
pub struct FetchedSecret {
    pub named: NamedCredential,
    pub live: Result<Option<Secret>, Error>,
    /// `None` if there is no former one.
    pub former: Result<Option<Secret>, Error>,
}

impl FetchedSecret {
    /// What the poller compares with: all of it, so that no retry is needed for what could not be read.
    pub fn seen(&self) -> Vec<SeenSecret> {
        let seen = |name, read: &Result<Option<Secret>, Error>| match read {
            Ok(found) => SeenSecret::new(name, found.as_ref().map(|found| &found.metadata)),
            Err(error) => SeenSecret::unread(name, error),
        };
        let former = self.named.former.as_ref().map(|name| seen(name, &self.former));
        former.into_iter().chain([seen(&self.named.secret, &self.live)]).collect()
    }
}

/// The client; `None` if it no longer exists, or is being deleted.
pub fn client(context: &Context, name: &NamespacedName) -> Option<Arc<ClientObject>> {
    context.clients.get(name).filter(|client| !client.is_terminating())
}

/// The credentials that the client has, as far as its spec can be read. Nothing is asked of the API server.
pub fn named(client: &ClientObject) -> Vec<NamedCredential> {
    let status = |kind: &CredentialKind| client.status.as_ref().and_then(kind.status);
    let in_namespace = |name: &str| NamespacedName::new(client.object.namespace(), name);
    let of_spec = |requested: RequestedSecret<'_>| {
        let secret = in_namespace(requested.name.as_str());
        let former = status(requested.kind).map(|status| in_namespace(&status.secret_name));
        let revocation = Revocation::new(&client.object.metadata, requested.revoke_before);
        NamedCredential { kind: requested.kind, former: former.filter(|former| *former != secret), secret, revocation }
    };
    if let Some(requested) = client.object.credentials() {
        return credentials::requested(requested).map(of_spec).collect();
    }
    let of_status = |kind: &'static CredentialKind| {
        let secret = in_namespace(&status(kind)?.secret_name);
        let before = client.object.spec.as_ref().err().and_then(|spec| spec.partial.revoke_before.as_ref());
        let revocation = Revocation::new(&client.object.metadata, before);
        Some(NamedCredential { kind, secret, former: None, revocation })
    };
    KINDS.iter().filter_map(of_status).collect()
}

/// Reads the client's Secrets.
pub async fn fetch(context: &Context, client: Arc<ClientObject>) -> Fetched {
    let mut secrets = Vec::new();
    for named in named(&client) {
        let former = match &named.former {
            Some(former) => context.cluster.get(former).await,
            None => Ok(None),
        };
        let live = context.cluster.get(&named.secret).await;
        secrets.push(FetchedSecret { named, live, former });
    }
    Fetched { is_decoded: client.object.credentials().is_some(), client, secrets }
}
