//! One client's reconcile: its key is made or looked at, its servers hear of it, and its status says what they grant.

mod key;
mod status;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{
    Findings, McpClient,
    client::{ApiKeyStatus, McpClientStatus},
};
use tokio::time::Instant;

use super::{
    context::Context,
    memory::{ServerReport, lock},
    status::{STATUS_PACE, transitions, write as write_status},
};
use crate::cluster::{Error, object::ClientObject};
use crate::validate::{self, NamespacedName};
use status::{StatusInput, status};

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
        Ok(spec) => key::key(context, &client, spec).await,
        Err(_) => key::known(&client),
    };
    let failure = key.as_ref().err();
    let memory = context.of_clients.of(name);
    let had_failed = std::mem::replace(&mut lock(&memory).has_failed, failure.is_some());
    let knows_key = client.status.as_ref().is_some_and(|status| status.api_key.is_some());
    if !had_failed && failure.is_some_and(|error| is_passing(error, knows_key)) {
        // Soon enough there is more to say, or nothing.
        return key.map(|_| LOOK_AGAIN);
    }
    let again = report(context, name, &client, &findings, &key).await?;
    key.map(|_| again)
}

/// Whether a failure is worth no word unless the next look fails too: the key that was told of is still in force, or somebody
/// else wrote at the same moment.
fn is_passing(error: &Error, knows_key: bool) -> bool {
    error.is_conflict() || (knows_key && error.is_transient())
}

/// Writes the status, if it says anything new and its time has come; else gives when that is.
async fn report(
    context: &Context,
    name: &NamespacedName,
    client: &Arc<ClientObject>,
    findings: &Findings,
    key: &Result<ApiKeyStatus, Error>,
) -> Result<Duration, Error> {
    let Some(servers) = server_reports(context, name) else {
        // A server has yet to look at the client for the first time, and wakes it when it has.
        return Ok(LOOK_AGAIN);
    };
    let now = Timestamp::now();
    let metadata = &client.object.metadata;
    let age = metadata.creation_timestamp.as_ref().map(|made| now.duration_since(made.0));
    let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or(SAME_APPLY);
    if age < SAME_APPLY && servers.iter().any(|(_, report)| report.is_none()) {
        return Ok(SAME_APPLY - age);
    }
    let spec = client.object.spec.as_ref().ok();
    let input = StatusInput {
        generation: metadata.generation,
        spec,
        findings,
        key: key.as_ref().cloned(),
        servers,
        previous: client.status.as_ref(),
        now,
    };
    let wanted = status(&input);
    let expires_in = spec.and_then(|spec| spec.expires_at.as_ref()).map(|at| at.0.duration_since(now));
    let expires_in = expires_in.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero());
    let again = expires_in.map_or(LOOK_AGAIN, |left| LOOK_AGAIN.min(left + Duration::from_millis(100)));
    Ok(again.min(write(context, client, wanted).await?))
}

/// What each server that the client names did with it; nothing at all while one of them has not looked yet.
fn server_reports(context: &Context, client: &NamespacedName) -> Option<Vec<(NamespacedName, Option<ServerReport>)>> {
    let servers: BTreeSet<NamespacedName> = context.index.servers(client);
    let one = |server: NamespacedName| {
        if context.servers.get(&server).is_none_or(|server| server.is_terminating()) {
            return Some((server, None));
        }
        let memory = context.of_servers.known(&server)?;
        let report = lock(&memory).report.get(client).cloned()?;
        Some((server, Some(report)))
    };
    servers.into_iter().map(one).collect()
}

async fn write(context: &Context, client: &ClientObject, wanted: McpClientStatus) -> Result<Duration, Error> {
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
    let events = transitions(before, &wanted.conditions);
    let metadata = &client.object.metadata;
    let written = write_status::<McpClient>(&context.cluster, metadata, &wanted).await?;
    context.clients.update(written.into());
    for event in &events {
        context.events.write::<McpClient>(metadata, event).await;
    }
    Ok(LOOK_AGAIN)
}
