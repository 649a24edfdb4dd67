//! What can be read of a server's spec that cannot be decoded as a whole: what bounds the access of clients.
//!
//! What cannot be read stands for no bound. Whoever uses this grants no more than what was granted before.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Allowance, ClientRule, Effect, Limits, NamespaceSelection, NamespacesFrom};
use crate::document;

/// What can be read of a server's spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartialServerSpec {
    /// The rules, with the most that each field that cannot be read may allow; `None` if they are unknown.
    pub clients: Option<Vec<ClientRule>>,
    /// `None` if they are unknown.
    pub limits: Option<Limits>,
}

impl PartialServerSpec {
    /// Reads what can be read of a spec. `spec` is null if it cannot be read at all.
    pub fn read(spec: &Value) -> Self {
        let Some(spec) = spec.as_object() else { return Self::default() };
        let rules = spec.get("clients").and_then(Value::as_array);
        Self { clients: rules.map(|rules| rules.iter().map(rule).collect()), limits: read(spec, "limits") }
    }
}

fn rule(rule: &Value) -> ClientRule {
    let empty = Map::new();
    let Some(rule) = rule.as_object() else {
        let namespaces = NamespaceSelection { from: NamespacesFrom::All };
        return ClientRule { namespaces, allow: Allowance::default(), max_clients: u32::MAX };
    };
    let namespaces = match rule.get("namespaces") {
        None => NamespaceSelection::default(),
        Some(_) => read(rule, "namespaces").unwrap_or(NamespaceSelection { from: NamespacesFrom::All }),
    };
    let allow = rule.get("allow").and_then(Value::as_object).unwrap_or(&empty);
    let everything = Allowance::default();
    let texts = |name: &str| allow.get(name).and_then(Value::as_array).map(|all| all.iter().filter_map(Value::as_str));
    let effects = texts("effects").map(|effects| effects.filter_map(effect).collect());
    let conditions = allow.get("where").and_then(Value::as_array);
    ClientRule {
        namespaces,
        allow: Allowance {
            tools: texts("tools").map_or(everything.tools, |tools| tools.map(str::to_owned).collect()),
            effects: effects.unwrap_or(everything.effects),
            max_records_per_query: read(allow, "maxRecordsPerQuery"),
            conditions: conditions.map_or_else(Vec::new, |all| all.iter().filter_map(document::decode_known).collect()),
            limits: read(allow, "limits"),
        },
        max_clients: match rule.get("maxClients") {
            None => ClientRule::DEFAULT_MAX_CLIENTS,
            Some(_) => read(rule, "maxClients").unwrap_or(u32::MAX),
        },
    }
}

fn effect(text: &str) -> Option<Effect> {
    serde_json::from_value(text.into()).ok()
}

fn read<T: JsonSchema + DeserializeOwned + 'static>(object: &Map<String, Value>, name: &str) -> Option<T> {
    document::decode_known(object.get(name)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::Rate;

    #[test]
    fn each_bound_is_read_by_itself_and_what_cannot_be_read_bounds_nothing() {
        let rule = |from: NamespacesFrom, tools: &[&str], effects: &[Effect], max_clients: u32| ClientRule {
            namespaces: NamespaceSelection { from },
            allow: Allowance {
                tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
                effects: effects.to_vec(),
                ..Allowance::default()
            },
            max_clients,
        };
        let (same, all, both) = (NamespacesFrom::Same, NamespacesFrom::All, [Effect::Read, Effect::Write]);
        let limited = |rate: Rate| {
            let everything = rule(same, &["*"], &both, 1000);
            ClientRule { allow: Allowance { limits: Some(rate), ..everything.allow }, ..everything }
        };
        for (rules, expected) in [
            (json!(null), None),
            (json!({}), None),
            (json!([]), Some(vec![])),
            (json!([{}]), Some(vec![rule(same, &["*"], &both, 1000)])),
            (json!([7]), Some(vec![rule(all, &["*"], &both, u32::MAX)])),
            (
                json!([{"namespaces": {"from": "Selector"}, "allow": {"tools": ["a", 7], "effects": ["Read", "Erase"]}}]),
                Some(vec![rule(all, &["a"], &[Effect::Read], 1000)]),
            ),
            (
                json!([{"allow": {"tools": "a", "effects": 1, "maxRecordsPerQuery": -1, "limits": []}, "maxClients": "few"}]),
                Some(vec![rule(same, &["*"], &both, u32::MAX)]),
            ),
            (
                json!([{"allow": {"limits": {"requests": 3, "per": "1m"}}}]),
                Some(vec![limited(Rate { requests: 3, per: crate::Duration::from_secs(60) })]),
            ),
        ] {
            let spec = json!({"clients": rules, "limits": 7, "backends": "none"});
            assert_eq!(PartialServerSpec::read(&spec), PartialServerSpec { clients: expected, limits: None }, "{spec}");
        }
        let spec = json!({"limits": {"perClient": {"requests": 3, "per": "1m"}}, "tools": 7});
        assert_eq!(PartialServerSpec::read(&spec).limits.map(|limits| limits.per_client.requests), Some(3));
    }
}
