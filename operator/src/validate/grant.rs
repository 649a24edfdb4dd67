//! What a client is granted on a server: the intersection of what it requests and what the server's rule allows. A client with
//! errors is also granted no more than what it had.
//!
//! Every decision is a value that names the bound it follows from; [`super::outcome`] puts it into words.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portcullis_crds::contract::{
    ArgumentCondition, ClientRule, Effect, MOST_CONDITIONS, PolicyClient, ServerHalf, Tool,
};

use super::{
    bounds::{self, LimitDecision, RecordsDecision},
    client_request::{ClientRequest, RequestedAccess},
    tool_decision::{self, ToolDecision},
};

/// What a client is granted on a server, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    server: Arc<ServerHalf>,
    /// The position of the rule that admits the client.
    rule: usize,
    requested: RequestedAccess,
    /// In the order of the server's tools.
    tools: Vec<ToolDecision>,
    records: RecordsDecision,
    allow_write: bool,
    /// Of all tools that are granted.
    conditions: Vec<ArgumentCondition>,
    limits: Vec<LimitDecision>,
    suspended: bool,
    expires_at: Option<Time>,
}

impl Grant {
    /// Decides what a client is granted by the rule at this position of the server's rules.
    pub(super) fn new(request: &ClientRequest<'_>, rule: usize, server: &Arc<ServerHalf>) -> Self {
        let (requested, before) = (&request.access, request.granted_before());
        let (spec, allow) = (&server.spec, &server.spec.clients[rule].allow);
        let expiries = [requested.expires_at.as_ref(), before.and_then(|before| before.expires_at.as_ref())];
        let mut tools: Vec<_> =
            spec.tools.iter().map(|tool| tool_decision::decide(tool, requested, allow, before)).collect();
        let conditions = requested.conditions.iter().chain(&allow.conditions);
        let conditions = conditions.chain(before.iter().flat_map(|before| &before.conditions));
        let conditions = of_granted(conditions, &spec.tools, &mut tools);
        Self {
            server: server.clone(),
            rule,
            requested: requested.clone(),
            tools,
            conditions,
            records: bounds::records(requested.max_records_per_query, allow.max_records_per_query, before),
            allow_write: requested.allow_write
                && allow.effects.contains(&Effect::Write)
                && before.is_none_or(|before| before.allow_write),
            limits: bounds::limits(&requested.limits, spec.limits.per_client, allow.limits, before),
            suspended: requested.suspended || before.is_some_and(|before| before.suspended),
            expires_at: expiries.into_iter().flatten().min_by_key(|time| time.0).cloned(),
        }
    }

    /// What the client requests.
    pub fn requested(&self) -> &RequestedAccess {
        &self.requested
    }

    /// The rule that admits the client, and its position in the server's `spec.clients`.
    pub fn rule(&self) -> (usize, &ClientRule) {
        (self.rule, &self.server.spec.clients[self.rule])
    }

    /// The decision about each tool of the server, and then about each other name that the access contains.
    pub fn tools(&self) -> impl Iterator<Item = (&str, ToolDecision)> {
        let tools = &self.server.spec.tools;
        let known = tools.iter().zip(&self.tools).map(|(tool, decision)| (tool.name.as_str(), *decision));
        let is_known = |name: &&str| *name == "*" || tools.iter().any(|tool| tool.name.as_str() == *name);
        let of_conditions = self.requested.conditions.iter().map(|condition| condition.tool.as_str());
        let requested: BTreeSet<_> = self.requested.tools.iter().map(String::as_str).chain(of_conditions).collect();
        let unknown = requested.into_iter().filter(move |name| !is_known(name));
        known.chain(unknown.map(|name| (name, ToolDecision::NoSuchTool)))
    }

    /// The tools that the rule allows, whatever the client requests.
    pub fn allowed_tools(&self) -> impl Iterator<Item = &str> {
        let allow = &self.rule().1.allow;
        let allowed = self.server.spec.tools.iter().filter(|tool| tool_decision::by_rule(tool, allow).is_none());
        allowed.map(|tool| tool.name.as_str())
    }

    pub fn records(&self) -> RecordsDecision {
        self.records
    }

    /// Whether the client may call tools that write.
    pub fn allow_write(&self) -> bool {
        self.allow_write
    }

    /// What its calls must meet: what the access says, what the rule says, and for a client with errors what it had to meet before.
    pub fn conditions(&self) -> &[ArgumentCondition] {
        &self.conditions
    }

    /// How often the client may call: one or two limits, which apply together.
    pub fn limits(&self) -> &[LimitDecision] {
        &self.limits
    }

    /// Whether each pod gets a share of each limit. A client with errors may have kept a limit from when the server had fewer
    /// pods.
    pub(super) fn is_enforceable(&self) -> bool {
        self.limits.iter().all(|limit| limit.rate.requests >= u32::from(self.server.server.replicas))
    }

    /// The client's entry in the policy.
    pub(super) fn policy_client(&self, request: &ClientRequest<'_>) -> PolicyClient {
        let tools = self.server.spec.tools.iter().zip(&self.tools);
        let granted = tools.filter(|(_, decision)| **decision == ToolDecision::Granted);
        PolicyClient {
            id: request.id.clone(),
            uid: request.uid().to_owned(),
            tools: granted.map(|(tool, _)| tool.name.clone()).collect(),
            max_records_per_query: self.records.max,
            allow_write: self.allow_write,
            conditions: self.conditions.clone(),
            limits: self.limits.iter().map(|limit| limit.rate).collect(),
            suspended: self.suspended,
            expires_at: self.expires_at.clone(),
        }
    }
}

/// The conditions of the tools that are granted. A client that has errors again and again collects those that it had; if they become
/// too many, none of them is left out: their tools are not granted.
fn of_granted<'a>(
    conditions: impl Iterator<Item = &'a ArgumentCondition>,
    tools: &[Tool],
    decisions: &mut [ToolDecision],
) -> Vec<ArgumentCondition> {
    let granted = tools.iter().zip(&*decisions).filter(|(_, decision)| **decision == ToolDecision::Granted);
    let granted: BTreeSet<_> = granted.map(|(tool, _)| &tool.name).collect();
    let conditions = ArgumentCondition::union(conditions.filter(|condition| granted.contains(&condition.tool)));
    if conditions.len() <= MOST_CONDITIONS {
        return conditions;
    }
    for (tool, decision) in tools.iter().zip(decisions) {
        if *decision == ToolDecision::Granted && conditions.iter().any(|condition| condition.tool == tool.name) {
            *decision = ToolDecision::NotGrantedBefore;
        }
    }
    Vec::new()
}
