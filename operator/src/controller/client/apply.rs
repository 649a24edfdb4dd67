//! Step four: each credential is kept if its Secret contains one and created if not, and the client's servers learn of it.

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::{McpClient, NamespacedName};
use tracing::info;

use super::fetch::{Fetched, FetchedSecret};
use crate::{
    build::SECRET,
    cluster::{
        Error, ObjectRef,
        apply::DesiredObject,
        events::EventDraft,
        object::ClientObject,
        ownership::{NotOwned, is_controlled_by},
    },
    controller::context::Context,
    credentials::{self, CredentialKind, CredentialStatus, IssuedCredential, KINDS, Plan, plan},
    random,
    sync::lock,
};

/// What became of one of the client's credentials.
pub struct Applied {
    pub kind: &'static CredentialKind,
    /// [`Error::NotOwned`] if the Secret's name is taken by an object that is not the client's.
    pub result: Result<CredentialStatus, Error>,
}

/// Returns what became of each credential that the client has: none if its spec requests none, or has never been decoded. What is
/// known was passed on to the client's servers, whatever failed.
pub async fn apply(context: &Context, fetched: Fetched) -> Vec<Applied> {
    let Fetched { client, secrets } = fetched;
    let Some(secrets) = secrets else { return last_known(&client) };
    for kind in KINDS.iter().filter(|kind| !secrets.iter().any(|secret| secret.kind.field == kind.field)) {
        learn(context, &client, kind, Vec::new());
    }
    let mut all = Vec::new();
    for secret in secrets {
        all.push(Applied { kind: secret.kind, result: apply_secret(context, &client, secret).await });
    }
    all
}

/// The credentials of a client whose spec cannot be decoded, as its status says.
fn last_known(client: &ClientObject) -> Vec<Applied> {
    let known = |kind: &'static CredentialKind| {
        let status = client.status.as_ref().and_then(kind.status)?;
        Some(Applied { kind, result: Ok(status) })
    };
    KINDS.iter().filter_map(known).collect()
}

async fn apply_secret(
    context: &Context,
    client: &ClientObject,
    secret: FetchedSecret,
) -> Result<CredentialStatus, Error> {
    let FetchedSecret { kind, name, live, former } = secret;
    let issued = match issue(context, client, kind, &name, live?).await {
        Ok(issued) => issued,
        Err(error) => {
            // What was in the Secret is no longer where its owner reads it.
            if matches!(error, Error::NotOwned(_)) {
                learn(context, client, kind, Vec::new());
            }
            return Err(error);
        }
    };
    let id = issued.id().to_owned();
    learn(context, client, kind, vec![issued]);
    if let Some(former) = former? {
        delete_former(context, client, former).await?;
    }
    Ok(CredentialStatus { secret_name: name.name, id })
}

/// The credential in the Secret; it is created first if there is none.
async fn issue(
    context: &Context,
    client: &ClientObject,
    kind: &CredentialKind,
    name: &NamespacedName,
    live: Option<Secret>,
) -> Result<IssuedCredential, Error> {
    let metadata = &client.object.metadata;
    match plan(kind, metadata, live.as_ref()) {
        Plan::Keep(issued) => Ok(issued),
        Plan::Create | Plan::Replace => {
            let data = (kind.create)(random::bytes());
            let issued = (kind.read)(&data).expect("a credential must be read back as it was created");
            let secret = serde_json::to_value(credentials::secret(kind, metadata, &name.name, data))?;
            let live = live.map(serde_json::to_value).transpose()?;
            DesiredObject::new(&SECRET.object, secret).apply(&context.cluster, live).await?;
            let (noun, id) = (kind.noun, issued.id());
            info!(client = %client.object.namespaced_name(), key = id, secret = name.name, "created a {noun}");
            let event = EventDraft::normal(kind.issued, format!("{noun} {id} is in Secret {}", name.name));
            context.events.write::<McpClient>(metadata, &event).await;
            Ok(issued)
        }
        Plan::NotOwned => {
            let NamespacedName { namespace, name } = name.clone();
            Err(Error::NotOwned(NotOwned { kind: SECRET.object.kind.to_owned(), namespace, name }))
        }
    }
}

/// Keeps what was issued, and has the client's servers publish it if it is new.
fn learn(context: &Context, client: &ClientObject, kind: &CredentialKind, issued: Vec<IssuedCredential>) {
    let name = client.object.namespaced_name();
    let memory = context.of_clients.of(&name);
    let before = {
        let mut memory = lock(&memory);
        if memory.uid != client.object.uid() {
            memory.uid = client.object.uid().to_owned();
            memory.issued.clear();
        }
        memory.issued.insert(kind.field, issued.clone())
    };
    if before.as_ref() != Some(&issued) {
        let may_wait = before.is_none_or(|before| before.is_empty());
        for server in context.index.servers(&name) {
            context.publish(server, may_wait);
        }
    }
}

/// Deletes the Secret that contained the credential before, if it is the client's.
async fn delete_former(context: &Context, client: &ClientObject, former: Secret) -> Result<(), Error> {
    if !is_controlled_by(&former.metadata, &client.object.metadata) {
        return Ok(());
    }
    let name = NamespacedName::new(client.object.namespace(), former.metadata.name.unwrap_or_default());
    info!(client = %client.object.namespaced_name(), secret = name.name, "deleting the Secret of a former credential");
    let uid = former.metadata.uid.unwrap_or_default();
    context.cluster.delete(&ObjectRef::of::<Secret>(name), &uid).await
}
