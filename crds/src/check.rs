//! What a schema cannot express about a server: that its parts fit together.
//!
//! The operator and the command line call [`server_half`], which refuses whatever people should mend. Servers call [`load`], which
//! goes through the same checks and leaves out only what could not be served as it is meant: what is published must go on, although
//! another release checks more. What is parsed or compiled on the way is kept in the result and never parsed again.

mod arguments;
mod conditions;
mod headers;
mod listing;
mod load;
mod output;
mod recorded;
mod request;
mod tool;
pub mod url;

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc};

use crate::{
    Duration, Finding, Findings,
    contract::{Backend, BackendKind, ClientRule, LONGEST_TIMEOUT, MethodMode, Rate, ServerHalf, ServerSpec, Tool},
    nearest::{self, suggestion_within},
    schema::Budget,
};

pub use conditions::never_met;
pub use headers::{OutgoingHeader, OutgoingHeaders, OutgoingValue, TokenRequest};
pub use load::{LoadedServerHalf, load};
pub use request::{BodyTemplate, Pair, PartTemplate, RequestTemplates};
pub use tool::{CheckedTool, CheckedToolKind};
pub use url::HttpTarget;

/// The names of the checks that `/health` has itself, and `redis`, which is reserved for the check of a shared limit store.
const RESERVED_BACKENDS: [&str; 3] = ["audit", "policy", "redis"];
/// What a tool's timeout may be.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=LONGEST_TIMEOUT;

/// A server's half that was checked, with everything that was parsed and compiled on the way.
#[derive(Clone, Debug)]
pub struct CheckedServerHalf {
    half: Arc<ServerHalf>,
    backends: Arc<[CheckedBackend]>,
    tools: Arc<[CheckedTool]>,
}

/// A backend that was checked.
#[derive(Clone, Debug)]
pub enum CheckedBackend {
    Http(Box<HttpTarget>, OutgoingHeaders),
    Static,
}

impl CheckedServerHalf {
    /// The half, sorted.
    pub fn half(&self) -> &Arc<ServerHalf> {
        &self.half
    }

    /// Each backend with what was parsed of it, sorted by name.
    pub fn backends(&self) -> impl Iterator<Item = (&Backend, &CheckedBackend)> {
        self.half.spec.backends.iter().zip(&*self.backends)
    }

    /// Each tool with what was compiled of it, sorted by name.
    pub fn tools(&self) -> impl Iterator<Item = (&Tool, &CheckedTool)> {
        self.half.spec.tools.iter().zip(&*self.tools)
    }
}

/// Checks a server's half.
///
/// # Errors
/// Returns everything that is wrong with it. Paths begin with `spec`, and list items are counted in the order in which they are
/// given.
pub fn server_half(mut half: ServerHalf) -> Result<CheckedServerHalf, Findings> {
    let mut findings = Findings::default();
    let spec = &half.spec;
    let replicas = half.server.replicas;
    let mut backends = named(&spec.backends, backends(spec, 0..), |backend| &backend.name, &mut findings);
    let mut tools = named(&spec.tools, tools(spec, 0.., &mut Budget::default()), |tool| &tool.name, &mut findings);
    listing::all_icons(&spec.tools, &mut findings);
    authentication(spec, &mut findings);
    for (n, rule) in spec.clients.iter().enumerate() {
        client_rule(rule, spec, replicas, &format!("spec.clients[{n}]"), &mut findings);
    }
    limits(spec, replicas, &mut findings);
    if !findings.is_empty() {
        return Err(findings);
    }
    backends.sort_by(|a, b| a.0.cmp(&b.0));
    tools.sort_by(|a, b| a.0.cmp(&b.0));
    half.sort();
    Ok(CheckedServerHalf {
        half: Arc::new(half),
        backends: backends.into_iter().map(|(_, checked)| checked).collect(),
        tools: tools.into_iter().map(|(_, checked)| checked).collect(),
    })
}

/// What was checked of a part, and what is wrong with it. `None` if it cannot be served as it is meant.
type Part<T> = (Option<T>, Findings);

/// The parts that can be served with their names, and the findings of all.
fn named<T, N: Clone, C>(
    items: &[T],
    checked: Vec<Part<C>>,
    name: impl Fn(&T) -> &N,
    findings: &mut Findings,
) -> Vec<(N, C)> {
    let mut named = Vec::with_capacity(items.len());
    for (item, (checked, found)) in items.iter().zip(checked) {
        findings.0.extend(found.0);
        named.extend(checked.map(|checked| (name(item).clone(), checked)));
    }
    named
}

/// Checks each backend; `at` has their positions in the document.
fn backends(spec: &ServerSpec, at: impl IntoIterator<Item = usize>) -> Vec<Part<CheckedBackend>> {
    let mut names = BTreeSet::new();
    let mut checked = Vec::with_capacity(spec.backends.len());
    for (backend, n) in spec.backends.iter().zip(at) {
        let mut findings = Findings::default();
        let (at, name) = (format!("spec.backends[{n}]"), &backend.name);
        if !names.insert(name) {
            findings.add(format!("{at}.name"), format!("`{name}` appears twice"));
        }
        if RESERVED_BACKENDS.contains(&name.as_str()) {
            findings
                .add(format!("{at}.name"), format!("`{name}` is reserved for a check of /health; choose another name"));
        }
        let headers = headers::outgoing(backend, &at, &mut findings);
        let part = match &backend.kind {
            BackendKind::Http(http) => {
                let target = url::target(http, &format!("{at}.http"), &mut findings);
                target.zip(headers).map(|(target, headers)| CheckedBackend::Http(target.into(), headers))
            }
            BackendKind::Static => headers.map(|_| CheckedBackend::Static),
        };
        checked.push((part, findings));
    }
    checked
}

/// Checks each tool; `at` has their positions in the document.
fn tools(spec: &ServerSpec, at: impl IntoIterator<Item = usize>, budget: &mut Budget) -> Vec<Part<CheckedTool>> {
    let mut names = BTreeSet::new();
    let mut checked = Vec::with_capacity(spec.tools.len());
    for (tool, n) in spec.tools.iter().zip(at) {
        let mut findings = Findings::default();
        let (at, name) = (format!("spec.tools[{n}]"), &tool.name);
        if !names.insert(name) {
            findings.add(format!("{at}.name"), format!("`{name}` appears twice"));
        }
        if !TIMEOUTS.contains(&tool.timeout) {
            findings.add(format!("{at}.timeout"), format!("must be from {} to {}", TIMEOUTS.start(), TIMEOUTS.end()));
        }
        let part = tool::check(tool, spec, budget, &at, &mut findings);
        checked.push((part, findings));
    }
    checked
}

fn authentication(spec: &ServerSpec, findings: &mut Findings) {
    if spec.authentication.api_key.mode == MethodMode::Off {
        findings.add("spec.authentication.apiKey.mode", "at least one authentication method must be on");
    }
}

fn client_rule(rule: &ClientRule, spec: &ServerSpec, replicas: u16, at: &str, findings: &mut Findings) {
    let mut work = nearest::WORK;
    for (n, name) in rule.allow.tools.iter().enumerate() {
        if name != "*" && !spec.tools.iter().any(|tool| tool.name.as_str() == name) {
            let tools = || spec.tools.iter().map(|tool| tool.name.as_str());
            let message = format!(
                "`{name}` is not a tool of this server{}; its tools: {}",
                suggestion_within(name, tools(), &mut work),
                listed(tools())
            );
            findings.add(format!("{at}.allow.tools[{n}]"), message);
        }
    }
    for (n, condition) in rule.allow.conditions.iter().enumerate() {
        let at = format!("{at}.allow.where[{n}]");
        let name = condition.tool.as_str();
        match spec.tools.iter().find(|tool| tool.name == condition.tool) {
            None => {
                let tools = || spec.tools.iter().map(|tool| tool.name.as_str());
                let suggestion = suggestion_within(name, tools(), &mut work);
                let message =
                    format!("`{name}` is not a tool of this server{suggestion}; its tools: {}", listed(tools()));
                findings.add(format!("{at}.tool"), message);
            }
            Some(tool) => findings.0.extend(never_met(condition, tool).map(|why| Finding::new(at, why))),
        }
    }
    if let Some(rate) = rule.allow.limits {
        share(rate, replicas, &format!("{at}.allow.limits"), findings);
    }
}

fn limits(spec: &ServerSpec, replicas: u16, findings: &mut Findings) {
    let limits = &spec.limits;
    for (name, limit) in
        [("global", limits.global.rate), ("perClient", limits.per_client), ("expensiveTools", limits.expensive_tools)]
    {
        share(limit, replicas, &format!("spec.limits.{name}"), findings);
    }
}

/// Names as a finding lists them: the first ones, so that the findings grow with what is wrong and not with what is allowed too.
pub fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    /// In bytes.
    const LONGEST: usize = 400;
    let (mut list, mut left_out) = (String::new(), 0_usize);
    for name in names {
        if list.len() + name.len() > LONGEST {
            left_out += 1;
            continue;
        }
        list.push_str(if list.is_empty() { "" } else { ", " });
        list.push_str(name);
    }
    match left_out {
        0 if list.is_empty() => "none".to_owned(),
        0 => list,
        _ => format!("{list} and {left_out} more"),
    }
}

/// Checks that each of `replicas` pods can admit at least one call of a limit.
pub fn share(rate: Rate, replicas: u16, at: &str, findings: &mut Findings) {
    if rate.requests < u32::from(replicas) {
        let message = format!(
            "is {} for {replicas} replicas: each pod enforces an equal share, which would be no call at all; raise the limit, or \
             run fewer replicas",
            rate.requests
        );
        findings.add(format!("{at}.requests"), message);
    }
}
