//! One client's reconcile: its key is made or looked at, its servers hear of it, and its status says what they grant.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
    core::ApiResource,
};
use portcullis_crds::{
    Findings, McpClient, McpClientSpec,
    client::{ApiKeyStatus, McpClientStatus},
    condition::Reason,
    credentials::ApiKeyDigest,
};
use tokio::time::Instant;
use tracing::info;

use super::{
    apply::Wanted,
    client_status::{self, Facts},
    context::Context,
    error::{Error, NotOwned, call},
    events::{Happening, reference},
    fetch::{child_name, random, secret},
    memory::{Heard, lock},
    seen::Client,
    server::STATUS_PACE,
    status::{self, transitions},
};
use crate::{
    build::{api_key_secret, is_controlled_by},
    credentials::api_key::{ApiKey, Plan, plan},
    validate::{self, NamespacedName},
};

/// Secrets are not watched, so each is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// Of what is applied together the clients may come before their server: only after this is that worth a word.
const SAME_APPLY: Duration = Duration::from_secs(3);

/// Reconciles one client. Gives how long it may be left alone.
///
/// # Errors
/// As the API server refuses; its servers were told what is known nevertheless.
pub async fn reconcile(context: &Context, name: &NamespacedName) -> Result<Duration, Error> {
    let client = context.clients.get(name).filter(|client| client.object.metadata.deletion_timestamp.is_none());
    let Some(client) = client else {
        context.of_clients.forget(name);
        return Ok(LOOK_AGAIN);
    };
    let findings = match &client.object.spec {
        Ok(spec) => validate::client(&name.namespace, spec),
        Err(findings) => findings.clone(),
    };
    let key = match &client.object.spec {
        Ok(spec) => key(context, &client, spec).await,
        Err(_) => known_key(&client),
    };
    let again = report(context, name, &client, &findings, &key).await?;
    key.map(|_| again)
}

/// The key of a client whose spec nobody can read now: what was said of it last.
fn known_key(client: &Client) -> Result<ApiKeyStatus, Error> {
    let known = client.status.as_ref().and_then(|status| status.api_key.clone());
    known.ok_or_else(|| Error::Unreadable)
}

/// The client's key: kept where it is there, made where it is not, and told to its servers.
async fn key(context: &Context, client: &Client, spec: &McpClientSpec) -> Result<ApiKeyStatus, Error> {
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
            let key = ApiKey::new(random()?);
            let wanted = Wanted::new(&context.api, &api_key_secret(metadata, secret_name, &key))?;
            wanted.apply(existing.map(serde_json::to_value).transpose()?).await?;
            let digest = key.digest();
            info!(client = %client.object.namespaced_name(), key = digest.id, secret = secret_name, "a key was made");
            let note = format!("key {} is in Secret {secret_name}", digest.id);
            let happening = Happening { is_warning: false, reason: Reason::KeyIssued, note };
            context.events.tell(&reference::<McpClient>(metadata), &happening).await;
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

/// Writes the status, if it says anything new and its time has come; else gives when that is.
async fn report(
    context: &Context,
    name: &NamespacedName,
    client: &Arc<Client>,
    findings: &Findings,
    key: &Result<ApiKeyStatus, Error>,
) -> Result<Duration, Error> {
    let Some(servers) = heard(context, name) else {
        // A server has yet to look at the client for the first time, and wakes it when it has.
        return Ok(LOOK_AGAIN);
    };
    let now = Timestamp::now();
    let metadata = &client.object.metadata;
    let age = metadata.creation_timestamp.as_ref().map(|made| now.duration_since(made.0));
    let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or(SAME_APPLY);
    if age < SAME_APPLY && servers.iter().any(|(_, heard)| heard.is_none()) {
        return Ok(SAME_APPLY - age);
    }
    let spec = client.object.spec.as_ref().ok();
    let facts = Facts {
        generation: metadata.generation,
        spec,
        findings,
        key: key.as_ref().cloned(),
        servers,
        previous: client.status.as_ref(),
        now,
    };
    let wanted = client_status::status(&facts);
    let expires_in = spec.and_then(|spec| spec.expires_at.as_ref()).map(|at| at.0.duration_since(now));
    let expires_in = expires_in.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero());
    let again = expires_in.map_or(LOOK_AGAIN, |left| LOOK_AGAIN.min(left + Duration::from_millis(100)));
    Ok(again.min(write(context, client, wanted).await?))
}

/// What each server that the client names did with it; nothing at all while one of them has not looked yet.
fn heard(context: &Context, client: &NamespacedName) -> Option<Vec<(NamespacedName, Option<Heard>)>> {
    let servers: BTreeSet<NamespacedName> = context.index.servers(client);
    let one = |server: NamespacedName| {
        if context.servers.get(&server).is_none() {
            return Some((server, None));
        }
        let memory = context.of_servers.known(&server)?;
        let heard = lock(&memory).heard.get(client).cloned()?;
        Some((server, Some(heard)))
    };
    servers.into_iter().map(one).collect()
}

async fn write(context: &Context, client: &Client, wanted: McpClientStatus) -> Result<Duration, Error> {
    if client.status.as_ref() == Some(&wanted) {
        return Ok(LOOK_AGAIN);
    }
    let name = client.object.namespaced_name();
    let memory = context.of_clients.of(&name);
    let now = Instant::now();
    let status_at = lock(&memory).status_at;
    if let Some(at) = status_at.map(|at| at + STATUS_PACE).filter(|at| *at > now) {
        return Ok(at - now);
    }
    lock(&memory).status_at = Some(now);
    let before = client.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let happenings = transitions(before, &wanted.conditions);
    let metadata = &client.object.metadata;
    let resource = ApiResource::erase::<McpClient>(&());
    let written = status::write(&context.api, &resource, metadata, &wanted).await?;
    context.clients.see(written.into());
    for happening in &happenings {
        context.events.tell(&reference::<McpClient>(metadata), happening).await;
    }
    Ok(LOOK_AGAIN)
}
