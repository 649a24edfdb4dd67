//! The published half of a server whose spec has errors, with what the spec takes away from clients.
//!
//! The rules and limits of the spec count only where they are below those that are published: a spec with errors widens nothing.

use std::sync::Arc;

use portcullis_crds::{
    McpServerSpec,
    contract::{
        self, Allowance, ArgumentCondition, ClientRule, Limits, NamespaceSelection, NamespacesFrom, PublishedHalf,
        Rate, ServerHalf, Tool,
    },
    server,
};

use crate::object::Object;

/// The half, with the rules and limits of the spec as further bounds.
pub(super) fn narrowed(published: PublishedHalf, server: &Object<McpServerSpec>) -> PublishedHalf {
    let half = &published.readable;
    let (rules, limits) = match &server.spec {
        Ok(spec) => (Some(&spec.clients), Some(&spec.limits)),
        Err(undecodable) => (undecodable.partial.clients.as_ref(), undecodable.partial.limits.as_ref()),
    };
    let mut narrowed = ServerHalf::clone(half);
    let replicas = u32::from(half.server.replicas);
    if let Some(rules) = rules {
        narrowed.spec.clients = in_both(&half.spec.clients, &contract::client_rules(rules), &half.spec.tools, replicas);
    }
    if let Some(limits) = limits {
        lower(&mut narrowed.spec.limits, limits, replicas);
    }
    if narrowed == **half { published } else { published.with(Arc::new(narrowed)) }
}

/// The rules that admit whom both admit, to what both allow. Only two groups of clients can be told apart: those of the server's
/// own namespace, and all others.
fn in_both(published: &[ClientRule], spec: &[ClientRule], tools: &[Tool], replicas: u32) -> Vec<ClientRule> {
    let groups = [NamespacesFrom::Same, NamespacesFrom::All].map(|group| {
        let before = first(published, group)?;
        Some((before, first(spec, group).map(|rule| both(before, rule, group, tools, replicas))))
    });
    let is_same = |(before, now): &(&ClientRule, Option<ClientRule>)| {
        now.as_ref().is_some_and(|now| now.allow == before.allow && now.max_clients == before.max_clients)
    };
    if groups.iter().flatten().all(is_same) {
        return published.to_vec();
    }
    groups.into_iter().flatten().filter_map(|(_, now)| now).collect()
}

/// The rule that applies to a group of clients.
fn first(rules: &[ClientRule], group: NamespacesFrom) -> Option<&ClientRule> {
    rules.iter().find(|rule| rule.namespaces.from == NamespacesFrom::All || rule.namespaces.from == group)
}

fn both(before: &ClientRule, rule: &ClientRule, group: NamespacesFrom, tools: &[Tool], replicas: u32) -> ClientRule {
    let is_in = |allow: &Allowance, tool: &str| allow.tools.iter().any(|it| it == "*" || it == tool);
    let is_all = |allow: &Allowance| allow.tools.iter().any(|tool| tool == "*");
    let effects: Vec<_> = before.allow.effects.iter().filter(|it| rule.allow.effects.contains(it)).copied().collect();
    let allowed = match (is_all(&before.allow), is_all(&rule.allow)) {
        // A rule must have an effect.
        _ if effects.is_empty() => Vec::new(),
        (_, true) => before.allow.tools.clone(),
        // The rule may name tools that the published half does not have.
        (true, false) => {
            let names = tools.iter().map(|tool| tool.name.as_str());
            names.filter(|name| is_in(&rule.allow, name)).map(str::to_owned).collect()
        }
        (false, false) => before.allow.tools.iter().filter(|name| is_in(&rule.allow, name)).cloned().collect(),
    };
    let records = [before.allow.max_records_per_query, rule.allow.max_records_per_query];
    let limit = rule.allow.limits.filter(|limit| limit.requests >= replicas);
    ClientRule {
        namespaces: NamespaceSelection { from: group },
        allow: Allowance {
            tools: allowed,
            effects: if effects.is_empty() { before.allow.effects.clone() } else { effects },
            max_records_per_query: records.into_iter().flatten().min(),
            conditions: ArgumentCondition::union(before.allow.conditions.iter().chain(&rule.allow.conditions)),
            limits: match (before.allow.limits, limit) {
                (Some(before), Some(limit)) if !is_within(limit, before) => Some(before),
                (before, limit) => limit.or(before),
            },
        },
        max_clients: before.max_clients.min(rule.max_clients),
    }
}

/// Whether a rate admits no call that the other one refuses.
fn is_within(rate: Rate, other: Rate) -> bool {
    rate.requests <= other.requests && rate.per >= other.per
}

/// Lowers each limit that is lower in the spec, as far as each pod still has a share of it.
fn lower(published: &mut Limits, spec: &server::Limits, replicas: u32) {
    let global = &mut published.global;
    global.max_share = global.max_share.min(spec.global.max_share);
    for (limit, rate) in [
        (&mut global.rate, spec.global.rate()),
        (&mut published.per_client, spec.per_client),
        (&mut published.expensive_tools, spec.expensive_tools),
    ] {
        // A rate that cannot be enforced is a finding.
        let rate = contract::rate(rate, "").ok().filter(|rate| rate.requests >= replicas);
        if let Some(rate) = rate.filter(|rate| is_within(*rate, *limit)) {
            *limit = rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_crds::contract::Effect;

    use super::*;

    /// Rules as a line each: namespaces, tools, effects, records, calls, clients.
    fn narrow(published: &str, spec: &str) -> Vec<String> {
        let tools: Vec<Tool> = serde_yaml::from_str(
            "[{name: a, description: a, backend: x, static: {text: a}}, {name: b, description: b, backend: x, static: {text: b}}]",
        )
        .unwrap();
        let [published, spec]: [Vec<ClientRule>; 2] = [published, spec].map(|it| serde_yaml::from_str(it).unwrap());
        let rules = in_both(&published, &spec, &tools, 2);
        let line = |rule: &ClientRule| {
            let Allowance { tools, effects, max_records_per_query, conditions, limits } = &rule.allow;
            let effects: String = effects.iter().map(|it| if *it == Effect::Read { 'R' } else { 'W' }).collect();
            let calls = limits.map(|limit| format!("{}/{}", limit.requests, limit.per)).unwrap_or_default();
            let records = max_records_per_query.map(|it| it.to_string()).unwrap_or_default();
            let from = rule.namespaces.from;
            let names: String = conditions.iter().map(|it| format!(" {}", it.name)).collect();
            format!("{from:?} {} {effects} {records} {calls} {}{names}", tools.join(","), rule.max_clients)
        };
        rules.iter().map(line).collect()
    }

    #[test]
    fn only_what_the_rules_of_the_spec_take_away_counts() {
        const ANY: &str = "Same * RW   1000";
        for (published, spec, expected) in [
            ("[{}]", "[{}]", vec![ANY]),
            ("[{}]", "[]", vec![]),
            ("[]", "[{}]", vec![]),
            ("[{}]", "[{namespaces: {from: All}}]", vec![ANY]),
            ("[{namespaces: {from: All}}]", "[{}]", vec![ANY]),
            ("[{}, {}, {namespaces: {from: All}}]", "[{namespaces: {from: All}}]", vec![ANY, ANY, "All * RW   1000"]),
            ("[{}]", "[{allow: {tools: [b, gone]}}]", vec!["Same b RW   1000"]),
            ("[{allow: {tools: [a]}}]", "[{}]", vec!["Same a RW   1000"]),
            ("[{allow: {tools: [a, b]}}]", "[{allow: {tools: [b, c]}}]", vec!["Same b RW   1000"]),
            ("[{}]", "[{allow: {effects: [Read]}}]", vec!["Same * R   1000"]),
            ("[{allow: {effects: [Write]}}]", "[{allow: {effects: [Read]}}]", vec!["Same  W   1000"]),
            (
                "[{allow: {maxRecordsPerQuery: 5}}]",
                "[{allow: {maxRecordsPerQuery: 9}, maxClients: 3}]",
                vec!["Same * RW 5  3"],
            ),
            (
                "[{allow: {limits: {requests: 9, per: 1m}}}]",
                "[{allow: {limits: {requests: 10, per: 1h}}}]",
                vec!["Same * RW  9/1m 1000"],
            ),
            (
                "[{allow: {limits: {requests: 9, per: 1m}}}]",
                "[{allow: {limits: {requests: 2, per: 1m}}}]",
                vec!["Same * RW  2/1m 1000"],
            ),
            ("[{}]", "[{allow: {limits: {requests: 1, per: 1m}}}]", vec![ANY]),
            (
                "[{allow: {where: [{name: x, tool: a, argument: /b, in: [1]}]}}]",
                "[{allow: {where: [{name: x, tool: a, argument: /b, in: [2]}, {name: y, tool: a, argument: /c, prefix: d}]}}]",
                vec!["Same * RW   1000 x x y"],
            ),
            ("[{allow: {where: [{name: x, tool: a, argument: /b, in: [1]}]}}]", "[{}]", vec!["Same * RW   1000 x"]),
            (
                "[{namespaces: {from: All}}]",
                "[{allow: {tools: [a]}}, {namespaces: {from: All}, allow: {tools: []}}]",
                vec!["Same a RW   1000", "All  RW   1000"],
            ),
        ] {
            assert_eq!(narrow(published, spec), expected, "{published} {spec}");
        }
    }

    #[test]
    fn only_lower_limits_of_the_spec_count() {
        let limits = |text: &str| serde_yaml::from_str::<Limits>(text).unwrap();
        let spec = |text: &str| serde_yaml::from_str::<server::Limits>(text).unwrap();
        let before = limits("{global: {requests: 100, per: 1m}, perClient: {requests: 60, per: 1m}}");
        let mut after = before;
        let mixed = "{global: {requests: 99, per: 1m, maxShare: 10}, perClient: {requests: 61, per: 1m}}";
        lower(&mut after, &spec(mixed), 2);
        assert_eq!(
            after,
            limits("{global: {requests: 99, per: 1m, maxShare: 10}, perClient: {requests: 60, per: 1m}}")
        );
        for other in ["{requests: 1, per: 1m}", "{requests: 5, per: 48h}", "{requests: 60, per: 1s}"] {
            lower(&mut after, &spec(&format!("{{global: {{requests: 500, per: 1m}}, perClient: {other}}}")), 2);
        }
        assert_eq!(after.per_client, before.per_client, "each pod must have a share, and a span has bounds");
    }
}
