//! What a careful reader would ask about manifests that are accepted: whether they say what was meant. Each is a warning, which
//! `validate --strict` does not let pass.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{
    Finding, McpServerSpec, NamespacedName,
    check::{listed, url},
    contract::{Effect, NamespacesFrom, ServerHalf},
};

use super::{
    folder::Folder,
    object::ObjectId,
    problem::{Problem, Severity},
    review::Review,
};
use crate::validate::{self, Grant, ServerPlan, ToolDecision};

/// The warnings about objects that have no error.
pub fn advice(folder: &Folder, review: &Review, now: Timestamp) -> Vec<Problem> {
    let has_error = |id: &ObjectId| {
        let mut of_object = review.problems.iter().filter(|problem| problem.object.as_ref() == Some(id));
        of_object.any(|problem| problem.severity != Severity::Warning)
    };
    let names = review.servers.keys().chain(folder.clients().map(|(name, _)| name));
    let namespaces: BTreeSet<&str> = names.map(|name| name.namespace.as_str()).collect();
    let mut advice = Vec::new();
    let mut warn = |id: &ObjectId, path: String, message: String| {
        advice.push(Problem::object(folder.file(id), id, Finding::new(path, message), Severity::Warning));
    };
    for (name, (server, plan)) in &review.servers {
        let id = ObjectId::server(name);
        if let (Ok(spec), Some(documents), false) = (&server.spec, &plan.documents, has_error(&id)) {
            let half = documents.policy.server();
            backends(spec, &namespaces, |path, message| warn(&id, path, message));
            rules(half, plan, |path, message| warn(&id, path, message));
            tools(spec, plan, |path, message| warn(&id, path, message));
        }
    }
    for (name, client) in folder.clients() {
        let id = ObjectId::client(name);
        if folder.mistaken_client(name).is_some() || has_error(&id) {
            continue;
        }
        if client.spec.expires_at.as_ref().is_some_and(|time| time.0 <= now) {
            warn(&id, "spec.expiresAt".into(), "has passed: every call of this client is refused".into());
        }
        accesses(name, client, review, |path, message| warn(&id, path, message));
    }
    advice
}

/// Backends that get arguments in plain text over networks that are not the cluster's.
fn backends(spec: &McpServerSpec, namespaces: &BTreeSet<&str>, mut warn: impl FnMut(String, String)) {
    for (n, backend) in spec.backends.iter().enumerate() {
        let Some(http) = &backend.http else { continue };
        let client = backend.credentials.as_ref().and_then(|credentials| credentials.client_credentials.as_ref());
        let endpoint =
            client.map(|it| ("credentials.clientCredentials.tokenUrl", "the client secret and tokens", &it.token_url));
        for (field, what, url) in [("http.url", "arguments and answers", &http.url)].into_iter().chain(endpoint) {
            let host = url.starts_with("http://").then(|| url::host(url).ok()).flatten();
            if let Some(host) = host.filter(|host| !is_inside(host, namespaces)) {
                let message = format!(
                    "sends {what} in plain text to {host}, which is outside the cluster; use https, or the full name of a Service, \
                     such as crm.sales.svc"
                );
                warn(format!("spec.backends[{n}].{field}"), message);
            }
        }
    }
}

/// Whether a host is in the cluster, on this machine or in a private network, as far as its name tells. A name of one label is a Service
/// of the same namespace, and one of two labels may end with a namespace.
fn is_inside(host: &str, namespaces: &BTreeSet<&str>) -> bool {
    const INNER: [&str; 6] = ["svc", "local", "localhost", "internal", "test", "home.arpa"];
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return match address {
            IpAddr::V4(v4) => is_private(v4),
            IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local(),
        };
    }
    let is_below = |inner: &&str| host.strip_suffix(*inner).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_service = |(name, namespace): (&str, &str)| !name.is_empty() && namespaces.contains(namespace);
    host.split_once('.').is_none_or(is_service) || host.contains(".svc.") || INNER.iter().any(is_below)
}

fn is_private(address: Ipv4Addr) -> bool {
    // With the addresses that carriers share (RFC 6598), which clusters use for their pods.
    let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    address.is_private() || address.is_loopback() || address.is_link_local() || is_shared
}

/// Rules that admit none of the clients, and those that let clients of all namespaces write.
fn rules(half: &ServerHalf, plan: &ServerPlan, mut warn: impl FnMut(String, String)) {
    let used: BTreeSet<usize> = grants(plan).map(|grant| grant.rule().0).collect();
    for (n, rule) in half.spec.clients.iter().enumerate() {
        if !used.is_empty() && !used.contains(&n) {
            warn(format!("spec.clients[{n}]"), "admits none of the clients in these manifests".into());
        }
        let allow = &rule.allow;
        let is_open = rule.namespaces.from == NamespacesFrom::All && allow.tools.iter().any(|name| name == "*");
        if is_open && allow.effects.contains(&Effect::Write) {
            let tools = half.spec.tools.iter().filter(|tool| tool.effect() == Effect::Write);
            let tools = listed(tools.map(|tool| tool.name.as_str()));
            if tools != "none" {
                let message = format!(
                    "lets clients of every namespace call the tools that write: {tools}; name the tools, or set `effects: [Read]`"
                );
                warn(format!("spec.clients[{n}].allow"), message);
            }
        }
    }
}

/// Tools that none of the clients may call, if there are clients.
fn tools(spec: &McpServerSpec, plan: &ServerPlan, mut warn: impl FnMut(String, String)) {
    let granted: BTreeSet<&str> = grants(plan).flat_map(granted).collect();
    if plan.decisions.is_empty() || granted.is_empty() {
        // What the clients lack is said of them.
        return;
    }
    for (n, tool) in spec.tools.iter().enumerate().filter(|(_, tool)| !granted.contains(tool.name.as_str())) {
        let message = format!("none of the clients in these manifests may call `{}`", tool.name);
        warn(format!("spec.tools[{n}]"), message);
    }
}

/// Accesses that grant what is not yet known, and clients that are granted nothing.
fn accesses(
    name: &NamespacedName,
    client: &portcullis_crds::McpClient,
    review: &Review,
    mut warn: impl FnMut(String, String),
) {
    let (mut has_tools, mut is_known) = (false, true);
    for (n, access) in client.spec.access.iter().enumerate() {
        let server = review.servers.get(&validate::server_of(&access.server_ref, &name.namespace));
        let decision = server.and_then(|(_, plan)| Some((plan, plan.decisions.get(name)?)));
        let Some((plan, decision)) = decision else {
            is_known = false;
            continue;
        };
        let Ok(grant) = &decision.result else { continue };
        has_tools |= granted(grant).next().is_some();
        let half = plan.documents.as_ref().map(|documents| documents.policy.server());
        let tools = half.into_iter().flat_map(|half| &half.spec.tools);
        let writes: BTreeSet<&str> =
            tools.filter(|tool| tool.effect() == Effect::Write).map(|tool| tool.name.as_str()).collect();
        if access.allow_write && access.tools.iter().any(|tool| tool == "*") {
            let writes = listed(granted(grant).filter(|tool| writes.contains(tool)));
            if writes != "none" {
                let message = format!(
                    "`*` with `allowWrite: true` grants every tool that writes, also those that are added later; name them: {writes}"
                );
                warn(format!("spec.access[{n}].tools"), message);
            }
        }
    }
    let problems = review.problems.iter().filter(|problem| problem.object == Some(ObjectId::client(name)));
    if is_known && !has_tools && problems.count() == 0 {
        warn("spec.access".into(), "grants no tool: the client gets a key, and may call nothing".into());
    }
}

fn grants(plan: &ServerPlan) -> impl Iterator<Item = &Grant> {
    plan.decisions.values().filter_map(|decision| decision.result.as_ref().ok())
}

fn granted(grant: &Grant) -> impl Iterator<Item = &str> {
    grant.tools().filter(|(_, decision)| *decision == ToolDecision::Granted).map(|(name, _)| name)
}

#[cfg(test)]
mod tests;
