//! Step four: the client's key is kept if its Secret holds one and created if not, and the client's servers learn its digest.

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::{McpClient, NamespacedName, client::ApiKeyStatus, condition::Reason, contract::ApiKeyDigest};
use tracing::info;

use super::fetch::{Fetched, KeySource};
use crate::{
    build::{SECRET, api_key_secret},
    cluster::{
        Error, ObjectRef,
        apply::DesiredObject,
        events::EventDraft,
        object::ClientObject,
        ownership::{NotOwned, is_controlled_by},
    },
    controller::context::Context,
    credentials::api_key::{ApiKey, Plan, plan},
    random,
    sync::lock,
};

/// Returns which key the client has, and where.
///
/// # Errors
/// Returns [`Error::NotOwned`] if the Secret's name is taken by an object that is not the client's, and an error if the API server
/// refuses. The client's servers were told what is known even so.
pub async fn apply(context: &Context, fetched: Fetched) -> Result<ApiKeyStatus, Error> {
    let Fetched { client, key, former_secret, .. } = fetched;
    let (name, live) = match key {
        KeySource::Unknown => {
            let known = client.status.as_ref().and_then(|status| status.api_key.clone());
            return known.ok_or(Error::InvalidSpec);
        }
        KeySource::None => {
            learn(context, &client, Vec::new());
            return Err(Error::InvalidSpec);
        }
        KeySource::Secret { name, live } => (name, (*live)?),
    };
    let digest = match key_in(context, &client, &name, live).await {
        Ok(digest) => digest,
        Err(error) => {
            // A key that was in the Secret is no longer where its owner reads it.
            if matches!(error, Error::NotOwned(_)) {
                learn(context, &client, Vec::new());
            }
            return Err(error);
        }
    };
    learn(context, &client, vec![digest.clone()]);
    if let Some(former) = former_secret? {
        delete_former(context, &client, former).await?;
    }
    Ok(ApiKeyStatus { secret_name: name.name, key_id: digest.id })
}

/// The digest of the key in the Secret; the key is created first if there is none.
async fn key_in(
    context: &Context,
    client: &ClientObject,
    name: &NamespacedName,
    live: Option<Secret>,
) -> Result<ApiKeyDigest, Error> {
    let metadata = &client.object.metadata;
    match plan(metadata, live.as_ref()) {
        Plan::Keep(digest) => Ok(digest),
        Plan::Create | Plan::Replace => {
            let key = ApiKey::new(random::bytes());
            let secret = serde_json::to_value(api_key_secret(metadata, &name.name, &key))?;
            let live = live.map(serde_json::to_value).transpose()?;
            DesiredObject::new(&SECRET.object, secret).apply(&context.cluster, live).await?;
            let digest = key.digest();
            info!(client = %client.object.namespaced_name(), key = digest.id, secret = name.name, "created a key");
            let event = EventDraft::normal(Reason::KeyIssued, format!("key {} is in Secret {}", digest.id, name.name));
            context.events.write::<McpClient>(metadata, &event).await;
            Ok(digest)
        }
        Plan::NotOwned => {
            let NamespacedName { namespace, name } = name.clone();
            Err(Error::NotOwned(NotOwned { kind: SECRET.object.kind.to_owned(), namespace, name }))
        }
    }
}

/// Keeps the digests, and has the client's servers publish them if they are new.
fn learn(context: &Context, client: &ClientObject, keys: Vec<ApiKeyDigest>) {
    let name = client.object.namespaced_name();
    let memory = context.of_clients.of(&name);
    let before = {
        let mut memory = lock(&memory);
        let is_same = memory.uid == client.object.uid();
        memory.uid = client.object.uid().to_owned();
        memory.keys.replace(keys.clone()).filter(|_| is_same)
    };
    if before.as_ref() != Some(&keys) {
        let may_wait = before.is_none_or(|before| before.is_empty());
        for server in context.index.servers(&name) {
            context.publish(server, may_wait);
        }
    }
}

/// Deletes the Secret that held the key before, if it is the client's.
async fn delete_former(context: &Context, client: &ClientObject, former: Secret) -> Result<(), Error> {
    if !is_controlled_by(&former.metadata, &client.object.metadata) {
        return Ok(());
    }
    let name = NamespacedName {
        namespace: client.object.namespace().to_owned(),
        name: former.metadata.name.unwrap_or_default(),
    };
    info!(client = %client.object.namespaced_name(), secret = name.name, "deleting the Secret of the former key");
    let uid = former.metadata.uid.unwrap_or_default();
    context.cluster.delete(&ObjectRef::of::<Secret>(name), &uid).await
}
