//! What to say about a client: pure, a function of what one reconcile saw and of what its servers did with it.

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{
    Findings, McpClientSpec,
    client::{ApiKeyStatus, ClientServerStatus, McpClientStatus, ServerRefStatus},
    condition::{ConditionType, Reason},
};

use crate::{
    cluster::Error,
    controller::{
        memory::ServerReport,
        status::{ConditionState, ConditionStatus, ConditionWriter, kstatus},
    },
    validate::{ClientOutcome, NamespacedName, Verdict},
};

/// Everything that a client's status is made of.
pub struct StatusInput<'a> {
    pub generation: Option<i64>,
    pub spec: Option<&'a McpClientSpec>,
    /// What is wrong with the client by itself.
    pub findings: &'a Findings,
    /// The id of its key and the Secret that it is in, or why there is none.
    pub key: Result<ApiKeyStatus, &'a Error>,
    /// Each server that it names, and what that did with it; none where there is no such server.
    pub servers: Vec<(NamespacedName, Option<ServerReport>)>,
    pub previous: Option<&'a McpClientStatus>,
    pub now: Timestamp,
}

/// The whole status.
pub fn status(input: &StatusInput<'_>) -> McpClientStatus {
    let findings = findings(input);
    let accepted = match findings.is_empty() {
        true => ConditionState::plain(ConditionStatus::True, Reason::Valid),
        false => ConditionState::new(
            ConditionStatus::False,
            Reason::Invalid,
            format!("{findings} (until then the client keeps at most what it had)"),
        ),
    };
    let credentials = match &input.key {
        Ok(key) => ConditionState::new(
            ConditionStatus::True,
            Reason::KeyIssued,
            format!("the key {} is in Secret {}, as `api-key`", key.key_id, key.secret_name),
        ),
        Err(error) => ConditionState::new(ConditionStatus::False, error.reason(), error.to_string()),
    };
    let servers: Vec<Access> =
        input.servers.iter().map(|(name, report)| access(input, name, report.as_ref())).collect();
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
    McpClientStatus {
        observed_generation: input.generation,
        servers: servers.iter().map(|server| server.status(input)).collect(),
        api_key: api_key(input),
        conditions: conditions.map(|(type_, saying)| writer.condition(type_, saying)).into(),
    }
}

/// Where the key is; while that is not known, where it was: a former Secret is found by this until it is deleted.
fn api_key(input: &StatusInput<'_>) -> Option<ApiKeyStatus> {
    let former = || input.previous.and_then(|status| status.api_key.clone());
    match &input.key {
        Ok(key) => Some(key.clone()),
        Err(Error::NotOwned(taken)) => former().filter(|former| former.secret_name != taken.name),
        Err(_) => former(),
    }
}

/// What is wrong with the client by itself, and what is on one of its servers.
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

/// What is said about one access.
struct Access {
    server: NamespacedName,
    outcome: Option<ClientOutcome>,
    accepted: ConditionState,
    resolved: ConditionState,
    synced: ConditionState,
}

impl Access {
    fn status(&self, input: &StatusInput<'_>) -> ClientServerStatus {
        let previous = before(input, &self.server).map_or(&[][..], |it| &it.conditions);
        let writer = ConditionWriter { generation: input.generation, previous, now: input.now };
        let conditions = [
            (ConditionType::Accepted, &self.accepted),
            (ConditionType::ResolvedRefs, &self.resolved),
            (ConditionType::PolicySynced, &self.synced),
        ];
        ClientServerStatus {
            server_ref: ServerRefStatus { name: self.server.name.clone(), namespace: self.server.namespace.clone() },
            granted: self.outcome.as_ref().and_then(|outcome| outcome.granted.clone()),
            conditions: conditions.map(|(type_, saying)| writer.condition(type_, saying)).into(),
        }
    }

    /// The first thing that keeps this access from doing what it asks for.
    fn fault(&self) -> Option<&ConditionState> {
        [&self.resolved, &self.accepted].into_iter().find(|saying| saying.status == ConditionStatus::False)
    }
}

fn before<'a>(input: &'a StatusInput<'_>, server: &NamespacedName) -> Option<&'a ClientServerStatus> {
    let mut servers = input.previous.iter().flat_map(|status| &status.servers);
    servers.find(|it| it.server_ref.name == server.name && it.server_ref.namespace == server.namespace)
}

fn access(input: &StatusInput<'_>, name: &NamespacedName, report: Option<&ServerReport>) -> Access {
    let server = name.clone();
    let Some(report) = report else {
        let missing = ConditionState::new(
            ConditionStatus::False,
            Reason::ServerNotFound,
            format!("there is no McpServer {name}"),
        );
        let unknown = ConditionState::new(
            ConditionStatus::Unknown,
            Reason::ServerNotFound,
            format!("there is no McpServer {name}"),
        );
        return Access { server, outcome: None, accepted: unknown.clone(), resolved: missing, synced: unknown };
    };
    let Some(outcome) = report.outcome.clone() else {
        let unknown = ConditionState::plain(ConditionStatus::Unknown, Reason::Publishing);
        return Access { server, outcome: None, accepted: unknown.clone(), resolved: unknown.clone(), synced: unknown };
    };
    let was_synced = before(input, name)
        .and_then(|it| it.conditions.iter().find(|it| it.type_ == ConditionType::PolicySynced.as_str()))
        .is_some_and(|it| it.status == "True");
    // An edit of somebody else's access says nothing about this one.
    let synced = match report.synced.is_true() || (was_synced && !report.is_pending) {
        true => ConditionState::new(ConditionStatus::True, Reason::Synced, "every pod that takes calls obeys it"),
        false => report.synced.clone(),
    };
    Access {
        server,
        accepted: saying(&outcome.accepted),
        resolved: saying(&outcome.resolved_refs),
        synced,
        outcome: Some(outcome),
    }
}

fn saying(verdict: &Verdict) -> ConditionState {
    let truth = if verdict.status { ConditionStatus::True } else { ConditionStatus::False };
    ConditionState::new(truth, verdict.reason, verdict.message.clone())
}

/// `Ready` does not flap on an edit: once an access was in force, it is no less so while it changes.
fn ready(
    input: &StatusInput<'_>,
    accepted: &ConditionState,
    credentials: &ConditionState,
    servers: &[Access],
) -> ConditionState {
    if let Some(fault) = [accepted, credentials].into_iter().find(|saying| !saying.is_true()) {
        return fault.clone();
    }
    if input.spec.is_some_and(|spec| spec.suspended) {
        return ConditionState::new(
            ConditionStatus::True,
            Reason::Suspended,
            "suspended: every server refuses this client",
        );
    }
    let expiry = input.spec.and_then(|spec| spec.expires_at.as_ref());
    if let Some(expiry) = expiry.filter(|expiry| expiry.0 <= input.now) {
        let message = format!("expired at {}: every server refuses this client", expiry.0);
        return ConditionState::new(ConditionStatus::True, Reason::Expired, message);
    }
    if let Some((server, fault)) = servers.iter().find_map(|server| Some((&server.server, server.fault()?))) {
        return ConditionState::new(ConditionStatus::False, fault.reason, format!("{server}: {}", fault.message));
    }
    let was_ready = input.previous.is_some_and(|status| {
        status.conditions.iter().any(|it| it.type_ == ConditionType::Ready.as_str() && it.status == "True")
    });
    let waiting = servers.iter().find(|server| !server.synced.is_true());
    match waiting {
        Some(server) if !was_ready => ConditionState::new(
            ConditionStatus::False,
            server.synced.reason,
            format!("{}: {}", server.server, server.synced.message),
        ),
        _ => ConditionState::new(ConditionStatus::True, Reason::Available, granted(servers)),
    }
}

/// `sales/crm: 3 tools, 10 records a call, may write; …`.
fn granted(servers: &[Access]) -> String {
    let one = |access: &Access| {
        let granted = access.outcome.as_ref().and_then(|outcome| outcome.granted.as_ref());
        granted.map(|granted| {
            let writes = if granted.allow_write { "may write" } else { "may only read" };
            let narrowed = if access.accepted.reason == Reason::Narrowed { ", less than it asks for" } else { "" };
            let (tools, records) = (granted.tools, granted.max_records_per_query);
            format!("{}: {tools} tools, {records} records a call, {writes}{narrowed}", access.server)
        })
    };
    let all: Vec<String> = servers.iter().filter_map(one).collect();
    if all.is_empty() { "asks for nothing".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests;
