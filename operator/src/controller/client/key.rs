//! A client's API key: kept where it is there, made where it is not, and told to the client's servers.

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::{McpClient, McpClientSpec, client::ApiKeyStatus, condition::Reason, contract::ApiKeyDigest};
use tracing::info;

use crate::{
    build::{self, api_key_secret},
    cluster::{
        Error, ObjectRef,
        apply::DesiredObject,
        events::EventDraft,
        object::ClientObject,
        ownership::{NotOwned, is_controlled_by},
    },
    controller::{
        context::Context,
        fetch::{child_name, secret},
        memory::lock,
    },
    credentials::api_key::{ApiKey, Plan, plan},
    random,
    validate::NamespacedName,
};

/// The key of a client whose spec nobody can read now: what was said of it last.
///
/// # Errors
/// Where nothing was.
pub fn known(client: &ClientObject) -> Result<ApiKeyStatus, Error> {
    let known = client.status.as_ref().and_then(|status| status.api_key.clone());
    known.ok_or_else(|| Error::InvalidSpec)
}

/// Sees to the client's key.
///
/// # Errors
/// [`Error::NotOwned`] where the Secret's name is taken; otherwise as the API server refuses.
pub async fn key(context: &Context, client: &ClientObject, spec: &McpClientSpec) -> Result<ApiKeyStatus, Error> {
    let Some(api_key) = &spec.credentials.api_key else {
        learn(context, client, Vec::new());
        return Err(Error::InvalidSpec);
    };
    let secret_name = api_key.secret_name.as_str();
    let digest = match key_in(context, client, secret_name).await {
        Ok(digest) => digest,
        Err(error @ Error::NotOwned(_)) => {
            // Whatever key there was is no longer where its owner reads it.
            learn(context, client, Vec::new());
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    learn(context, client, vec![digest.clone()]);
    drop_former(context, client, secret_name).await?;
    Ok(ApiKeyStatus { secret_name: secret_name.to_owned(), key_id: digest.id })
}

/// The digest of the key in that Secret, which is made first where there is none.
async fn key_in(context: &Context, client: &ClientObject, secret_name: &str) -> Result<ApiKeyDigest, Error> {
    let metadata = &client.object.metadata;
    let name = child_name(&client.object.namespaced_name(), secret_name.to_owned());
    let existing = secret(context, &name).await?;
    match plan(metadata, existing.as_ref()) {
        Plan::Keep(digest) => Ok(digest),
        Plan::Create | Plan::Replace => {
            let key = ApiKey::new(random::bytes());
            let secret = serde_json::to_value(api_key_secret(metadata, secret_name, &key))?;
            let desired = DesiredObject::new(&build::SECRET, secret);
            desired.apply(&context.cluster, existing.map(serde_json::to_value).transpose()?).await?;
            let digest = key.digest();
            info!(client = %client.object.namespaced_name(), key = digest.id, secret = secret_name, "a key was made");
            let note = format!("key {} is in Secret {secret_name}", digest.id);
            let event = EventDraft::normal(Reason::KeyIssued, note);
            context.events.write::<McpClient>(metadata, &event).await;
            Ok(digest)
        }
        Plan::NotOwned => {
            let NamespacedName { namespace, name } = name;
            Err(Error::NotOwned(NotOwned { kind: "Secret".to_owned(), namespace, name }))
        }
    }
}

/// Keeps the digests, and has the client's servers publish them where they are new.
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

/// Deletes the Secret that the key was in before the spec named another, if it is ours.
async fn drop_former(context: &Context, client: &ClientObject, secret_name: &str) -> Result<(), Error> {
    let former = client.status.as_ref().and_then(|status| status.api_key.as_ref());
    let Some(former) = former.filter(|former| former.secret_name != secret_name) else { return Ok(()) };
    let name = child_name(&client.object.namespaced_name(), former.secret_name.clone());
    let Some(secret) = secret(context, &name).await? else { return Ok(()) };
    if !is_controlled_by(&secret.metadata, &client.object.metadata) {
        return Ok(());
    }
    info!(client = %client.object.namespaced_name(), secret = former.secret_name, "the former key's Secret is deleted");
    let uid = secret.metadata.uid.unwrap_or_default();
    context.cluster.delete(&ObjectRef::of::<Secret>(name), &uid).await
}
