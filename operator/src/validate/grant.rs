//! A grant: the intersection of what a client asks and what the server's rule for it allows. Of an invalid client, also of
//! what it had.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portcullis_crds::{
    Findings, ToolName, check,
    client::Granted,
    condition::Reason,
    contract::{ClientRule, Effect, PolicyClient, Rate, ServerHalf},
    server,
};

use super::{ClientOutcome, client::Asking};
use crate::condition::ConditionState;

/// What a client may do on a server, and what it asked for in vain.
pub(super) struct Grant {
    tools: Vec<ToolName>,
    max_records_per_query: u32,
    allow_write: bool,
    limits: Vec<Rate>,
    suspended: bool,
    expires_at: Option<Time>,
    /// Tools that are asked for by name, and that the server doesn't have.
    missing: Vec<String>,
    /// What the rule would let the client ask for.
    allowed: Vec<String>,
    /// What was asked for and left out, in sentences.
    narrowed: Vec<String>,
    /// Whether each pod gets a part of each limit. An invalid client may have kept one from when there were fewer pods.
    can_be_kept: bool,
}

pub(super) fn grant(asking: &Asking<'_>, rule: &ClientRule, half: &ServerHalf) -> Grant {
    let ask = &asking.ask;
    let ceiling = &rule.allow;
    let mut narrowed = Vec::new();
    let asks_all = ask.tools.iter().any(|name| name == "*");
    let allows_write = ceiling.effects.contains(&Effect::Write);
    let allow_write = ask.allow_write && allows_write;
    if ask.allow_write && !allows_write {
        narrowed.push("the rule allows no tool that writes".to_owned());
    }
    let (mut tools, mut allowed) = (Vec::new(), Vec::new());
    for tool in &half.spec.tools {
        let name = tool.name.as_str();
        let effect = tool.effect();
        let is_allowed =
            ceiling.tools.iter().any(|allowed| allowed == "*" || allowed == name) && ceiling.effects.contains(&effect);
        if is_allowed {
            allowed.push(name.to_owned());
        }
        let is_named = ask.tools.iter().any(|asked| asked == name);
        match effect {
            _ if !asks_all && !is_named => {}
            _ if !is_allowed && is_named => narrowed.push(format!("the rule does not allow `{name}`")),
            _ if !is_allowed => {}
            Effect::Write if !ask.allow_write && is_named => {
                narrowed.push(format!("`{name}` writes, and the access has no `allowWrite: true`"));
            }
            Effect::Write if !ask.allow_write => {}
            Effect::Read | Effect::Write => tools.push(tool.name.clone()),
        }
    }
    let known = |name: &String| name == "*" || half.spec.tools.iter().any(|tool| tool.name.as_str() == name);
    let missing = ask.tools.iter().filter(|name| !known(name)).cloned().collect();
    let max_records_per_query = ask.max_records_per_query.min(ceiling.max_records_per_query.unwrap_or(u32::MAX));
    if max_records_per_query < ask.max_records_per_query {
        narrowed.push(format!("the rule allows {max_records_per_query} records a query"));
    }
    let mut grant = Grant {
        tools,
        max_records_per_query,
        allow_write,
        limits: limits(&usable(&ask.limits, half), half.spec.limits.per_client, ceiling.limits, &mut narrowed),
        suspended: false,
        expires_at: None,
        missing,
        allowed,
        narrowed,
        can_be_kept: true,
    };
    if let Ok(spec) = &asking.input.client.spec {
        grant.suspended = spec.suspended;
        grant.expires_at = spec.expires_at.clone();
    }
    if let (Some(had), false) = (asking.had, asking.findings.is_empty()) {
        grant.keep_within(had);
    }
    grant.can_be_kept = grant.limits.iter().all(|limit| limit.requests >= u32::from(half.server.replicas));
    grant
}

/// Of the limits that are asked for, those that a policy can hold; a finding says what is wrong with the others.
fn usable(asked: &[Rate], half: &ServerHalf) -> Vec<Rate> {
    let is_usable = |rate: &&Rate| {
        let mut findings = Findings::default();
        check::share(**rate, half.server.replicas, "", &mut findings);
        findings.is_empty()
    };
    asked.iter().filter(is_usable).copied().collect()
}

/// What is asked for, or the server's own; never above the ceiling. A ceiling over another span holds beside it.
fn limits(asked: &[Rate], per_client: Rate, ceiling: Option<Rate>, narrowed: &mut Vec<String>) -> Vec<Rate> {
    let mut limits = if asked.is_empty() { vec![per_client] } else { asked.to_vec() };
    let Some(ceiling) = ceiling else { return limits };
    if let Some(limit) = limits.iter_mut().find(|limit| limit.per == ceiling.per) {
        if limit.requests > ceiling.requests && !asked.is_empty() {
            narrowed.push(format!("the rule allows {} calls in {}", ceiling.requests, ceiling.per));
        }
        limit.requests = limit.requests.min(ceiling.requests);
    } else {
        limits.push(ceiling);
    }
    strictest_two(limits)
}

/// A policy holds two limits a client. More can only meet where an invalid client had two and the rule has a third;
/// those that admit least over time stay.
fn strictest_two(mut limits: Vec<Rate>) -> Vec<Rate> {
    limits.sort_by_key(|rate| (u64::from(rate.requests) * 1_000_000 / rate.per.as_millis().max(1), *rate));
    limits.truncate(2);
    limits.sort();
    limits
}

impl Grant {
    /// Takes away whatever the client did not have.
    fn keep_within(&mut self, had: &PolicyClient) {
        self.tools.retain(|tool| had.tools.contains(tool));
        self.max_records_per_query = self.max_records_per_query.min(had.max_records_per_query);
        self.allow_write &= had.allow_write;
        self.suspended |= had.suspended;
        self.expires_at = match (self.expires_at.take(), &had.expires_at) {
            (Some(a), Some(b)) => Some(Time(a.0.min(b.0))),
            (a, b) => a.or_else(|| b.clone()),
        };
        for rate in &had.limits {
            match self.limits.iter_mut().find(|limit| limit.per == rate.per) {
                Some(limit) => limit.requests = limit.requests.min(rate.requests),
                None => self.limits.push(*rate),
            }
        }
        self.limits = strictest_two(std::mem::take(&mut self.limits));
    }

    /// What the policy says of it.
    pub fn policy_client(&self, asking: &Asking<'_>) -> PolicyClient {
        PolicyClient {
            id: asking.id.clone(),
            uid: asking.input.client.uid().to_owned(),
            tools: self.tools.clone(),
            max_records_per_query: self.max_records_per_query,
            allow_write: self.allow_write,
            limits: self.limits.clone(),
            suspended: self.suspended,
            expires_at: self.expires_at.clone(),
        }
    }

    /// What the client's status says of it.
    pub fn outcome(&self, asking: &Asking<'_>, server_is_valid: bool) -> ClientOutcome {
        if !self.can_be_kept {
            let message = format!("{}; the limit that it had leaves some pod of the server no call", asking.findings);
            return ClientOutcome {
                findings: asking.findings.clone(),
                ..ClientOutcome::refused(ConditionState::no(Reason::Invalid, message))
            };
        }
        let accepted = if !asking.findings.is_empty() {
            ConditionState::no(Reason::Invalid, format!("{}; it keeps what it had and still asks for", asking.findings))
        } else if !server_is_valid {
            ConditionState::yes(
                Reason::ServerInvalid,
                "the McpServer has errors; what its last valid spec allows is granted",
            )
        } else if !self.narrowed.is_empty() {
            ConditionState::yes(Reason::Narrowed, self.narrowed.join("; "))
        } else {
            ConditionState::yes(Reason::Granted, "what is asked for is granted")
        };
        let resolved_refs = if self.missing.is_empty() {
            ConditionState::yes(Reason::Resolved, "all that is named is there")
        } else {
            let missing: Vec<_> = self.missing.iter().map(|name| format!("`{name}`")).collect();
            let allowed = if self.allowed.is_empty() { "none".to_owned() } else { self.allowed.join(", ") };
            let message = format!("no such tool on the McpServer: {}; there are: {allowed}", missing.join(", "));
            ConditionState::no(Reason::ToolNotFound, message)
        };
        let granted = Granted {
            tools: u32::try_from(self.tools.len()).unwrap_or(u32::MAX),
            max_records_per_query: self.max_records_per_query,
            allow_write: self.allow_write,
            limits: self.limits.iter().map(|rate| server::Rate { requests: rate.requests, per: rate.per }).collect(),
        };
        ClientOutcome { granted: Some(granted), findings: asking.findings.clone(), accepted, resolved_refs }
    }
}
