//! The content of a client's status: pure, a function of what one reconcile read and of what the client's servers reported.

use portcullis_crds::{
    Findings,
    client::McpClientStatus,
    condition::{ConditionType, Reason},
};

use super::{access::Access, input::StatusInput};
use crate::{
    cluster::Error,
    condition::{ConditionState, ConditionStatus},
    controller::{
        client::apply::Applied,
        conditions::{ConditionWriter, kstatus},
    },
    credentials::{CredentialKind, CredentialStatus, KINDS},
};

/// The whole status.
pub fn content(input: &StatusInput<'_>) -> McpClientStatus {
    let findings = findings(input);
    let accepted = match findings.is_empty() {
        true => ConditionState::of_reason(ConditionStatus::True, Reason::Valid),
        false => {
            let message = format!("{findings} (until this is fixed the client keeps at most what it had)");
            ConditionState::no(Reason::Invalid, message)
        }
    };
    let credentials = credentials(input);
    let servers: Vec<Access> =
        input.servers.iter().map(|(name, report)| Access::new(input, name, report.as_ref())).collect();
    let ready = ready(input, &accepted, &credentials, &servers);
    let passes = |reason| matches!(reason, Reason::Publishing | Reason::WriteFailed | Reason::NoPods);
    let is_working = !ready.is_true() && passes(ready.reason)
        || servers.iter().any(|server| server.synced.reason == Reason::Publishing);
    let is_stalled = !ready.is_true() && !passes(ready.reason);
    let (reconciling, stalled) = kstatus(&ready, is_working, is_stalled);
    let previous = input.previous.map_or(&[][..], |status| &status.conditions);
    let writer = ConditionWriter { generation: input.generation, previous, now: input.now };
    let conditions = [
        (ConditionType::Accepted, &accepted),
        (ConditionType::CredentialsReady, &credentials),
        (ConditionType::Ready, &ready),
        (ConditionType::Reconciling, &reconciling),
        (ConditionType::Stalled, &stalled),
    ];
    let mut status = McpClientStatus {
        observed_generation: input.generation,
        servers_ready: Some(format!("{}/{}", servers.iter().filter(|it| it.is_in_force()).count(), servers.len())),
        servers: servers.iter().map(|server| server.status(input)).collect(),
        conditions: conditions.map(|(type_, state)| writer.condition(type_, state)).into(),
        ..McpClientStatus::default()
    };
    for kind in KINDS {
        (kind.set_status)(&mut status, credential_status(input, kind));
    }
    status
}

/// `CredentialsReady`.
fn credentials(input: &StatusInput<'_>) -> ConditionState {
    let mut issued = Vec::new();
    for Applied { kind, result } in input.credentials {
        match result {
            Ok(CredentialStatus { secret_name, id }) => {
                issued.push(format!("the {} {id} is in Secret {secret_name}, as `{}`", kind.noun, kind.data[0].key));
            }
            Err(error) => return ConditionState::no(error.reason(), error.to_string()),
        }
    }
    match input.credentials.first() {
        Some(first) => ConditionState::yes(first.kind.issued, issued.join("; ")),
        None => ConditionState::no(Error::InvalidSpec.reason(), Error::InvalidSpec.to_string()),
    }
}

/// Where the credential is, or where it last was: this names the former Secret until it is deleted.
fn credential_status(input: &StatusInput<'_>, kind: &CredentialKind) -> Option<CredentialStatus> {
    let former = || input.previous.and_then(kind.status);
    match input.credentials.iter().find(|credential| credential.kind.field == kind.field).map(|it| &it.result) {
        Some(Ok(status)) => Some(status.clone()),
        Some(Err(Error::NotOwned(taken))) => former().filter(|former| former.secret_name != taken.name),
        Some(Err(_)) | None => former(),
    }
}

/// What is wrong with the client by itself, and on any of its servers.
fn findings(input: &StatusInput<'_>) -> Findings {
    let mut all = input.findings.clone();
    let reports = input.servers.iter().filter_map(|(_, report)| report.as_ref());
    for finding in reports.flat_map(|report| &report.outcome.findings.0) {
        if !all.0.contains(finding) {
            all.0.push(finding.clone());
        }
    }
    all
}

/// `Ready` does not flap on an edit: an access that was in force stays ready while it changes.
fn ready(
    input: &StatusInput<'_>,
    accepted: &ConditionState,
    credentials: &ConditionState,
    servers: &[Access],
) -> ConditionState {
    if let Some(fault) = [accepted, credentials].into_iter().find(|state| !state.is_true()) {
        return fault.clone();
    }
    if input.spec.is_some_and(|spec| spec.suspended) {
        return ConditionState::yes(Reason::Suspended, "suspended: every server refuses this client");
    }
    let expiry = input.spec.and_then(|spec| spec.expires_at.as_ref());
    if let Some(expiry) = expiry.filter(|expiry| expiry.0 <= input.now) {
        let message = format!("expired at {}: every server refuses this client", expiry.0);
        return ConditionState::yes(Reason::Expired, message);
    }
    if let Some((server, fault)) = servers.iter().find_map(|server| Some((&server.server, server.fault()?))) {
        return ConditionState::no(fault.reason, format!("{server}: {}", fault.message));
    }
    let was_ready = input.previous.is_some_and(|status| {
        status.conditions.iter().any(|it| it.type_ == ConditionType::Ready.as_str() && it.status == "True")
    });
    match servers.iter().find(|server| !server.synced.is_true()) {
        Some(server) if !was_ready => {
            ConditionState::no(server.synced.reason, format!("{}: {}", server.server, server.synced.message))
        }
        _ => ConditionState::yes(Reason::Available, granted(servers)),
    }
}

/// `sales/crm: 3 tools, 10 records a call, may write; …`.
fn granted(servers: &[Access]) -> String {
    let all: Vec<String> = servers.iter().filter_map(Access::granted).collect();
    if all.is_empty() { "asks for nothing".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests;
