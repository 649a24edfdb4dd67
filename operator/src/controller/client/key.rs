//! A client's API key: kept where it is there, made where it is not, and told to the client's servers.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use portcullis_crds::{McpClient, McpClientSpec, client::ApiKeyStatus, condition::Reason, credentials::ApiKeyDigest};
use tracing::info;

use crate::{
    build::api_key_secret,
    cluster::{
        apply::DesiredObject,
        error::{Error, call},
        events::{EventDraft, reference},
        object::Client,
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
pub fn known(client: &Client) -> Result<ApiKeyStatus, Error> {
    let known = client.status.as_ref().and_then(|status| status.api_key.clone());
    known.ok_or_else(|| Error::Unreadable)
}

/// Sees to the client's key.
///
/// # Errors
/// [`Error::NotOwned`] where the Secret's name is taken; otherwise as the API server refuses.
pub async fn key(context: &Context, client: &Client, spec: &McpClientSpec) -> Result<ApiKeyStatus, Error> {
    let Some(api_key) = &spec.credentials.api_key else {
        learn(context, client, Vec::new());
        return Err(Error::Unreadable);
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
async fn key_in(context: &Context, client: &Client, secret_name: &str) -> Result<ApiKeyDigest, Error> {
    let metadata = &client.object.metadata;
    let name = child_name(&client.object.namespaced_name(), secret_name.to_owned());
    let existing = secret(context, &name).await?;
    match plan(metadata, existing.as_ref()) {
        Plan::Keep(digest) => Ok(digest),
        Plan::Create | Plan::Replace => {
            let key = ApiKey::new(random::bytes());
            let wanted = DesiredObject::new(&context.api, &api_key_secret(metadata, secret_name, &key))?;
            wanted.apply(existing.map(serde_json::to_value).transpose()?).await?;
            let digest = key.digest();
            info!(client = %client.object.namespaced_name(), key = digest.id, secret = secret_name, "a key was made");
            let note = format!("key {} is in Secret {secret_name}", digest.id);
            let event = EventDraft { is_warning: false, reason: Reason::KeyIssued, note };
            context.events.tell(&reference::<McpClient>(metadata), &event).await;
            Ok(digest)
        }
        Plan::NotOwned => {
            let NamespacedName { namespace, name } = name;
            Err(Error::NotOwned(NotOwned { kind: "Secret".to_owned(), namespace, name }))
        }
    }
}

/// Keeps the digests, and has the client's servers publish them where they are new.
fn learn(context: &Context, client: &Client, keys: Vec<ApiKeyDigest>) {
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
async fn drop_former(context: &Context, client: &Client, secret_name: &str) -> Result<(), Error> {
    let former = client.status.as_ref().and_then(|status| status.api_key.as_ref());
    let Some(former) = former.filter(|former| former.secret_name != secret_name) else { return Ok(()) };
    let name = child_name(&client.object.namespaced_name(), former.secret_name.clone());
    let Some(secret) = secret(context, &name).await? else { return Ok(()) };
    if !is_controlled_by(&secret.metadata, &client.object.metadata) {
        return Ok(());
    }
    let secrets: Api<Secret> = Api::namespaced(context.api.clone(), &name.namespace);
    let preconditions = Preconditions { uid: secret.metadata.uid, resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    info!(client = %client.object.namespaced_name(), secret = former.secret_name, "the former key's Secret is deleted");
    call(format!("deleting Secret {name}"), secrets.delete(&name.name, &parameters)).await.map(drop)
}
