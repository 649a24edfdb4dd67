//! The words for what was decided about a client: what its status and `validate` print. Nothing is decided here.

use portcullis_crds::{
    Findings,
    client::Granted,
    condition::Reason,
    contract::{ArgumentCondition, Effect, Rate},
    nearest::{self, suggestion_within},
    server,
};

use super::{
    decision::{ClientDecision, Refusal},
    documents::MAX_BYTES,
    grant::Grant,
    tool_decision::ToolDecision,
};
use crate::condition::ConditionState;

/// What a client's status reports about its access to one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientOutcome {
    /// What it may do; `None` if it is refused.
    pub granted: Option<Granted>,
    /// What is wrong with the client, by itself or on this server. If anything is, it keeps at most what it had.
    pub findings: Findings,
    /// The condition `Accepted` of its access to this server.
    pub accepted: ConditionState,
    /// The condition `ResolvedRefs` of its access to this server.
    pub resolved_refs: ConditionState,
}

impl ClientDecision {
    /// The decision in words. While the McpServer has errors, its last valid spec decides.
    pub fn outcome(&self, server_is_valid: bool) -> ClientOutcome {
        let findings = self.findings.clone();
        match &self.result {
            Ok(grant) => ClientOutcome {
                granted: Some(granted(grant)),
                accepted: accepted(grant, &findings, server_is_valid),
                resolved_refs: resolved_refs(grant),
                findings,
            },
            Err(refusal) => ClientOutcome {
                granted: None,
                accepted: refused(refusal, &findings),
                resolved_refs: ConditionState::yes(Reason::Resolved, "the McpServer exists"),
                findings,
            },
        }
    }
}

fn granted(grant: &Grant) -> Granted {
    let tools = grant.tools().filter(|(_, decision)| *decision == ToolDecision::Granted).count();
    let limits = grant.limits().iter().map(|limit| limit.rate);
    Granted {
        tools: u32::try_from(tools).unwrap_or(u32::MAX),
        max_records_per_query: grant.records().max,
        allow_write: grant.allow_write(),
        limits: limits.map(|rate| server::Rate { requests: rate.requests, per: rate.per }).collect(),
    }
}

fn accepted(grant: &Grant, findings: &Findings, server_is_valid: bool) -> ConditionState {
    if !findings.is_empty() {
        let message = format!("{findings}; until this is fixed the client keeps what it had and still requests");
        return ConditionState::no(Reason::Invalid, message);
    }
    if !server_is_valid {
        let message = "the McpServer has errors; access is granted by its last valid spec";
        return ConditionState::yes(Reason::ServerInvalid, message);
    }
    let narrowed = narrowed(grant);
    if narrowed.is_empty() {
        ConditionState::yes(Reason::Granted, "everything that the access requests is granted")
    } else {
        ConditionState::yes(Reason::Narrowed, narrowed.join("; "))
    }
}

/// A sentence for each thing that the access requests and is not granted. A tool that only `*` requests gets no sentence.
fn narrowed(grant: &Grant) -> Vec<String> {
    let (requested, (_, rule)) = (grant.requested(), grant.rule());
    let mut sentences = Vec::new();
    if requested.allow_write && !rule.allow.effects.contains(&Effect::Write) {
        sentences.push("the rule allows no tool that writes".to_owned());
    }
    for (name, decision) in grant.tools().filter(|(name, _)| requested.names(name)) {
        match decision {
            ToolDecision::ToolNotAllowed => sentences.push(format!("the rule does not allow `{name}`")),
            ToolDecision::EffectNotAllowed(Effect::Read) => {
                sentences.push(format!("the rule does not allow `{name}`, which reads"));
            }
            ToolDecision::EffectNotAllowed(Effect::Write) => {
                sentences.push(format!("the rule does not allow `{name}`, which writes"));
            }
            ToolDecision::WriteNotRequested => {
                sentences.push(format!("`{name}` writes, and the access does not set `allowWrite: true`"));
            }
            ToolDecision::Granted
            | ToolDecision::NoSuchTool
            | ToolDecision::NotRequested
            | ToolDecision::NotGrantedBefore => {}
        }
    }
    if let Some(max) = rule.allow.max_records_per_query.filter(|max| *max < requested.max_records_per_query) {
        sentences.push(format!("the rule allows {max} records a query"));
    }
    let added = grant.conditions().iter().filter(|condition| rule.allow.conditions.contains(condition));
    for ArgumentCondition { name, tool, .. } in added.filter(|it| !requested.conditions.contains(it)) {
        sentences.push(format!("the rule sets the condition `{name}` on the arguments of `{tool}`"));
    }
    let ceiling = rule.allow.limits;
    let is_above = |ceiling: &Rate| {
        requested.limits.iter().any(|rate| rate.per == ceiling.per && rate.requests > ceiling.requests)
    };
    if let Some(ceiling) = ceiling.filter(is_above) {
        sentences.push(format!("the rule allows {} calls in {}", ceiling.requests, ceiling.per));
    }
    sentences
}

fn resolved_refs(grant: &Grant) -> ConditionState {
    let unknown = grant.tools().filter(|(_, decision)| *decision == ToolDecision::NoSuchTool);
    // Whoever may not call a tool is not told its name.
    let allowed: Vec<_> = grant.allowed_tools().collect();
    let mut work = nearest::WORK;
    let mut named = |name: &str| format!("`{name}`{}", suggestion_within(name, allowed.iter().copied(), &mut work));
    let unknown: Vec<_> = unknown.map(|(name, _)| named(name)).collect();
    if unknown.is_empty() {
        return ConditionState::yes(Reason::Resolved, "everything that the access names exists");
    }
    let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
    let message =
        format!("not a tool of the McpServer: {}; the tools that its rule allows: {allowed}", unknown.join(", "));
    ConditionState::no(Reason::ToolNotFound, message)
}

fn refused(refusal: &Refusal, findings: &Findings) -> ConditionState {
    let (reason, message) = match refusal {
        Refusal::Invalid => (Reason::Invalid, findings.to_string()),
        Refusal::LimitBelowReplicas => {
            let message = format!("{findings}; the limit that the client had is below the number of replicas");
            (Reason::Invalid, message)
        }
        Refusal::NotAllowed { namespace } => {
            let message = format!("no rule in the McpServer's spec.clients admits clients of namespace `{namespace}`");
            (Reason::NotAllowed, message)
        }
        Refusal::TooManyClients { namespace, max_clients } => {
            let message = format!(
                "the rule for namespace `{namespace}` admits {max_clients} clients, and it has admitted as many older ones"
            );
            (Reason::TooManyClients, message)
        }
        Refusal::SharedCredential { owner } => {
            let message =
                format!("its API key is also the key of the older client `{owner}`; a key belongs to one client");
            (Reason::IdentityConflict, message)
        }
        Refusal::DocumentTooLarge { bytes } => {
            let message = format!(
                "the server's policy would have {bytes} bytes, and {MAX_BYTES} fit; older clients have precedence"
            );
            (Reason::TooManyClients, message)
        }
        Refusal::ServerUnreadable => {
            let message =
                "the McpServer has errors, and another release wrote its last valid spec: nothing new is granted";
            (Reason::ServerInvalid, message.to_owned())
        }
        Refusal::ServerNeverValid => {
            let message = "the McpServer has errors and was never valid; its status names them";
            (Reason::ServerInvalid, message.to_owned())
        }
    };
    ConditionState::no(reason, message)
}
