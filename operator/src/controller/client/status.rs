//! Step five: writes what the client's servers grant it, and what is wrong, into its status.

mod access;
mod content;
mod input;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{
    Findings, McpClient, NamespacedName,
    client::McpClientStatus,
    condition::{ConditionType, Reason},
};
use tokio::time::Instant;

use super::apply::Applied;
use crate::{
    cluster::{Error, object::ClientObject},
    controller::{
        context::Context,
        memory::{ClientMemory, ReportBasis, ServerReport},
        status::{self, PACE},
    },
    credentials::KINDS,
    sync::lock,
};
use content::content;
use input::StatusInput;

/// How often each client is reconciled although nothing is known to have changed.
pub const RECHECK: Duration = Duration::from_secs(600);
/// When a client and its server are applied together, the client may come first: a missing server is reported only after this
/// time.
const APPLIED_TOGETHER: Duration = Duration::from_secs(3);
/// Pods mostly confirm a publication within this time; a status that they have not is written only after it.
const CONFIRMATION: Duration = Duration::from_secs(1);

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
    let Some(servers) = servers(context, client) else { return Ok(RECHECK) };
    let now = Timestamp::now();
    let metadata = &client.object.metadata;
    let age = metadata.creation_timestamp.as_ref().map(|created| now.duration_since(created.0));
    let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or(APPLIED_TOGETHER);
    if age < APPLIED_TOGETHER && servers.iter().any(|(_, report)| report.is_none()) {
        return Ok(APPLIED_TOGETHER - age);
    }
    let spec = client.object.spec.as_ref().ok();
    let memory = context.of_clients.of(&client.object.namespaced_name());
    let previous = previous(&memory, client);
    let input = StatusInput {
        generation: metadata.generation,
        spec,
        findings,
        credentials: applied,
        servers,
        previous: previous.as_ref(),
        now,
    };
    let expires_in = spec.and_then(|spec| spec.expires_at.as_ref()).map(|at| at.0.duration_since(now));
    let expires_in = expires_in.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero());
    let again = expires_in.map_or(RECHECK, |left| RECHECK.min(left + Duration::from_millis(100)));
    let content = content(&input);
    if let Some(wait) = wait_for_pods(context, client, &content, Instant::now()) {
        return Ok(again.min(wait));
    }
    Ok(again.min(write(context, client, content).await?))
}

/// The status before, with each credential as it was last in force: a status that waited may lack it, and is all that the next operator
/// may know of when the credential was issued.
fn previous(memory: &Mutex<ClientMemory>, client: &ClientObject) -> Option<McpClientStatus> {
    let mut memory = lock(memory);
    let memory = memory.of_client(client.object.uid());
    let mut previous = memory.status.clone().or_else(|| client.status.clone());
    for (kind, last) in KINDS.iter().filter_map(|kind| Some((kind, memory.credentials.get(kind.field)?))) {
        (kind.set_status)(previous.get_or_insert_default(), Some(last.clone()));
    }
    previous
}

/// Each server that the client names, with its report; `None` in place of the report if there is no such server. Then those that it
/// named before and whose pods have not all confirmed that it does not. `None` as a whole until all of them have reported on the
/// client as it is now. It is read last, since servers report while credentials are written.
fn servers(context: &Context, client: &ClientObject) -> Option<Vec<(NamespacedName, Option<ServerReport>)>> {
    let name = client.object.namespaced_name();
    let memory = context.of_clients.of(&name);
    let (credentials, mut former) = {
        let memory = lock(&memory);
        (memory.issued_to(&client.object), memory.former_servers.clone())
    };
    let basis = ReportBasis::new(&client.object, credentials);
    let exists = |server: &NamespacedName| context.servers.get(server).is_some_and(|server| !server.is_terminating());
    let named = context.index.servers(&name);
    let before = client.status.iter().flat_map(|status| &status.servers);
    former.extend(before.map(|it| NamespacedName::new(&*it.server_ref.namespace, &*it.server_ref.name)));
    former.retain(|server| !named.contains(server) && exists(server));
    let mut servers = Vec::new();
    for server in named {
        let report = match exists(&server) {
            true => Some(report_of(context, &server, &name)?.filter(|report| report.basis.as_ref() == Some(&basis))?),
            false => None,
        };
        servers.push((server, report));
    }
    for server in former {
        match report_of(context, &server, &name)? {
            // It is about a spec that named the server.
            Some(report) if report.outcome.is_some() => return None,
            Some(report) => servers.push((server, Some(report))),
            None => {}
        }
    }
    Some(servers)
}

/// What a server reports to a client, if anything; `None` as a whole before its first report, which then reconciles the client.
fn report_of(context: &Context, server: &NamespacedName, client: &NamespacedName) -> Option<Option<ServerReport>> {
    let memory = context.of_servers.of(server);
    let mut memory = lock(&memory);
    if memory.reports.is_none() {
        memory.awaited_by.insert(client.clone());
    }
    Some(memory.reports.as_ref()?.get(client).cloned())
}

/// How long a status that only waits for pods is kept back: mostly they confirm within this time, and the next one says so.
fn wait_for_pods(context: &Context, client: &ClientObject, status: &McpClientStatus, now: Instant) -> Option<Duration> {
    let memory = context.of_clients.of(&client.object.namespaced_name());
    let mut memory = lock(&memory);
    let ready = status.conditions.iter().find(|it| it.type_ == ConditionType::Ready.as_str());
    if ready.is_none_or(|ready| ready.reason != Reason::Publishing.as_str()) {
        memory.waiting_since = None;
        return None;
    }
    let since = *memory.waiting_since.get_or_insert(now);
    (since + CONFIRMATION).checked_duration_since(now).filter(|left| !left.is_zero())
}

async fn write(context: &Context, client: &ClientObject, status: McpClientStatus) -> Result<Duration, Error> {
    let memory = context.of_clients.of(&client.object.namespaced_name());
    let live = client.status.as_ref();
    if live.is_some_and(|live| status::is_written(live, &status, |status| &mut status.conditions)) {
        lock(&memory).status = Some(status);
        return Ok(RECHECK);
    }
    let now = Instant::now();
    let status_at = lock(&memory).status_at;
    if let Some(at) = status_at.map(|at| at + PACE).filter(|at| *at > now) {
        return Ok(at - now);
    }
    let before = {
        let mut memory = lock(&memory);
        memory.status_at = Some(now);
        memory.status.replace(status.clone()).or_else(|| live.cloned())
    };
    let before = before.map(|status| status.conditions).unwrap_or_default();
    let metadata = &client.object.metadata;
    let store = (&*context.clients, Context::client_changed as fn(&Context, &_));
    let written = status::write::<McpClient, _>(context, store, metadata, &status, &before, &status.conditions).await;
    if written.is_err() {
        lock(&memory).status = None;
    }
    written.map(|()| RECHECK)
}
