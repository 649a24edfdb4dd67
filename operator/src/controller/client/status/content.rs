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

/// How many servers a status lists. A spec names at most half as many; the others are those that it named before.
const MAX_SERVERS: usize = 64;

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
    let servers: Vec<Access> = input.servers.iter().map(|(name, report)| Access::new(name, report.as_ref())).collect();
    let (ready, is_stalled) = ready(input, &accepted, &credentials, &servers);
    let (reconciling, stalled) = kstatus(&ready, !ready.is_true(), is_stalled);
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
        servers: servers.iter().take(MAX_SERVERS).map(|server| server.status(input)).collect(),
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
            Ok(CredentialStatus { secret_name, id, .. }) => {
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
    let outcomes = input.servers.iter().filter_map(|(_, report)| report.as_ref()?.outcome.as_ref());
    for finding in outcomes.flat_map(|outcome| &outcome.findings.0) {
        if !all.0.contains(finding) {
            all.0.push(finding.clone());
        }
    }
    all
}

/// `Ready`, and whether it is False until somebody does something about it. It is True once every pod enforces what the spec states,
/// in what it takes away and in what it grants.
fn ready(
    input: &StatusInput<'_>,
    accepted: &ConditionState,
    credentials: &ConditionState,
    servers: &[Access],
) -> (ConditionState, bool) {
    if !accepted.is_true() {
        return (accepted.clone(), true);
    }
    if !credentials.is_true() {
        let mut errors = input.credentials.iter().filter_map(|credential| credential.result.as_ref().err());
        return (credentials.clone(), errors.next().is_none_or(Error::is_permanent));
    }
    let of_server = |server: &Access, state: &ConditionState| {
        ConditionState::no(state.reason, format!("{}: {}", server.server, state.message))
    };
    let end = end(input);
    let is_pending = |server: &&Access| {
        let confirmation = &server.confirmation;
        !if end.is_some() { confirmation.is_removed() } else { confirmation.synced.is_true() }
    };
    if end.is_none()
        && let Some((server, fault)) = servers.iter().find_map(|server| Some((server, server.fault()?)))
    {
        return (of_server(server, fault), true);
    }
    // What stays as it is comes before what passes.
    let pending: Vec<&Access> = servers.iter().filter(is_pending).collect();
    let first = pending.iter().find(|server| server.confirmation.is_stalled).or(pending.first());
    match (first, end) {
        (Some(server), _) => (of_server(server, &server.confirmation.synced), server.confirmation.is_stalled),
        (None, Some(end)) => (end, false),
        (None, None) => {
            let is_unserved = servers.iter().any(|server| server.confirmation.is_unserved);
            let reason = if is_unserved { Reason::ScaledToZero } else { Reason::Available };
            (ConditionState::yes(reason, granted(servers)), false)
        }
    }
}

/// Why every server refuses the client, once its pods have confirmed that.
fn end(input: &StatusInput<'_>) -> Option<ConditionState> {
    let spec = input.spec?;
    if spec.suspended {
        return Some(ConditionState::yes(Reason::Suspended, "suspended: every server refuses this client"));
    }
    let expiry = spec.expires_at.as_ref().filter(|expiry| expiry.0 <= input.now)?;
    let message = format!("expired at {}: every server refuses this client", expiry.0);
    Some(ConditionState::yes(Reason::Expired, message))
}

/// `sales/crm: 3 tools, 10 records a call, may write; …`.
fn granted(servers: &[Access]) -> String {
    let all: Vec<String> = servers.iter().filter_map(Access::granted).collect();
    if all.is_empty() { "asks for nothing".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests;
