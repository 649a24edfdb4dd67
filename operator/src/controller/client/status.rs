//! Step five: writes what the client's servers grant it, and what is wrong, into its status.

mod access;
mod content;
mod input;

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{Findings, McpClient, NamespacedName, client::McpClientStatus};
use tokio::time::Instant;

use super::apply::Applied;
use crate::{
    cluster::{Error, object::ClientObject},
    controller::{
        context::Context,
        memory::ServerReport,
        status::{self, PACE},
    },
    sync::lock,
};
use content::content;
use input::StatusInput;

/// How often each client is reconciled: Secrets are not watched.
pub const RECHECK: Duration = Duration::from_secs(600);
/// When a client and its server are applied together, the client may come first: a missing server is reported only after this
/// time.
const APPLIED_TOGETHER: Duration = Duration::from_secs(3);

/// Whether the failures are not worth a status unless the next reconcile fails too: another party wrote at the same time, or the
/// credential in the status is still in force.
pub fn is_premature(context: &Context, client: &ClientObject, applied: &[Applied]) -> bool {
    let may_pass = |(credential, error): &(&Applied, &Error)| {
        let is_in_force = client.status.as_ref().is_some_and(|status| (credential.kind.status)(status).is_some());
        error.is_conflict() || (is_in_force && error.is_transient())
    };
    let failed = applied.iter().filter_map(|credential| Some((credential, credential.result.as_ref().err()?)));
    let failed: Vec<_> = failed.collect();
    let memory = context.of_clients.of(&client.object.namespaced_name());
    let had_failed = std::mem::replace(&mut lock(&memory).has_failed, !failed.is_empty() || applied.is_empty());
    !had_failed && !failed.is_empty() && failed.iter().all(may_pass)
}

/// Writes the status if it changed. Returns how long until the client must be reconciled again.
///
/// # Errors
/// Returns an error if the API server refuses.
pub async fn report(
    context: &Context,
    client: &Arc<ClientObject>,
    findings: &Findings,
    applied: &[Applied],
) -> Result<Duration, Error> {
    // The server that has yet to report starts another reconcile when it does.
    let Some(servers) = servers(context, &client.object.namespaced_name()) else { return Ok(RECHECK) };
    let now = Timestamp::now();
    let metadata = &client.object.metadata;
    let age = metadata.creation_timestamp.as_ref().map(|created| now.duration_since(created.0));
    let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or(APPLIED_TOGETHER);
    if age < APPLIED_TOGETHER && servers.iter().any(|(_, report)| report.is_none()) {
        return Ok(APPLIED_TOGETHER - age);
    }
    let spec = client.object.spec.as_ref().ok();
    let input = StatusInput {
        generation: metadata.generation,
        spec,
        findings,
        credentials: applied,
        servers,
        previous: client.status.as_ref(),
        now,
    };
    let expires_in = spec.and_then(|spec| spec.expires_at.as_ref()).map(|at| at.0.duration_since(now));
    let expires_in = expires_in.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero());
    let again = expires_in.map_or(RECHECK, |left| RECHECK.min(left + Duration::from_millis(100)));
    Ok(again.min(write(context, client, content(&input)).await?))
}

/// Each server that the client names, with its report; `None` in place of the report if there is no such server. `None` as a
/// whole until all of them have reported. It is read last, since servers report while credentials are written.
fn servers(context: &Context, client: &NamespacedName) -> Option<Vec<(NamespacedName, Option<ServerReport>)>> {
    let one = |server: NamespacedName| {
        if context.servers.get(&server).is_none_or(|server| server.is_terminating()) {
            return Some((server, None));
        }
        let memory = context.of_servers.known(&server)?;
        let report = lock(&memory).reports.get(client).cloned()?;
        Some((server, Some(report)))
    };
    context.index.servers(client).into_iter().map(one).collect()
}

async fn write(context: &Context, client: &ClientObject, status: McpClientStatus) -> Result<Duration, Error> {
    if client.status.as_ref() == Some(&status) {
        return Ok(RECHECK);
    }
    let memory = context.of_clients.of(&client.object.namespaced_name());
    let now = Instant::now();
    let status_at = lock(&memory).status_at;
    if let Some(at) = status_at.map(|at| at + PACE).filter(|at| *at > now) {
        return Ok(at - now);
    }
    lock(&memory).status_at = Some(now);
    let before = client.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let metadata = &client.object.metadata;
    let store = (&*context.clients, Context::client_changed as fn(&Context, &_));
    status::write::<McpClient, _>(context, store, metadata, &status, before, &status.conditions).await?;
    Ok(RECHECK)
}
