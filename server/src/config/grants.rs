//! What the clients may do while the server's half of their policy, or a tool in it, is refused.
//!
//! Their entries were written for a server that is not in force, which may have restrictions that the one in force lacks. So
//! nothing is granted by them: a client keeps what it had on the server in force and still has. What they take away is taken
//! away at once.

use std::collections::BTreeSet;

use portcullis_crds::{
    ToolName,
    contract::{ArgumentCondition, PolicyClient, Rate},
};

/// The most limits of a client: two of each of two policies, which the limiter has room for.
const MOST_LIMITS: usize = 4;

/// A tool of an earlier policy that stays in force because the one in the new policy is refused.
pub struct KeptTool<'a> {
    pub name: &'a ToolName,
    pub is_write: bool,
    /// The clients of its own policy, sorted by id.
    pub clients: &'a [PolicyClient],
}

/// Takes the kept tools from each client that did not have them, and bounds the others by what they had.
pub fn bound_kept(now: &mut [PolicyClient], kept: &[KeptTool<'_>]) {
    for client in now {
        let named: Vec<_> = kept.iter().filter(|tool| client.tools.binary_search(tool.name).is_ok()).collect();
        let mut lost: BTreeSet<&ToolName> = BTreeSet::new();
        for tool in named {
            match entry_before(tool.clients, client).and_then(|before| bounded(client, before, tool)) {
                Some(Bounds { records, conditions, limits }) => {
                    (client.max_records_per_query, client.conditions, client.limits) = (records, conditions, limits);
                }
                None => drop(lost.insert(tool.name)),
            }
        }
        client.tools.retain(|tool| !lost.contains(tool));
    }
}

/// With what a client keeps a tool.
struct Bounds {
    records: u32,
    conditions: Vec<ArgumentCondition>,
    limits: Vec<Rate>,
}

/// With what a client keeps a tool; `None` if it does not keep it.
fn bounded(now: &PolicyClient, before: &PolicyClient, tool: &KeptTool<'_>) -> Option<Bounds> {
    let expires_later = match (&before.expires_at, &now.expires_at) {
        (Some(before), Some(now)) => before < now,
        (before, _) => before.is_some(),
    };
    let had_it = before.tools.binary_search(tool.name).is_ok() && (before.allow_write || !tool.is_write);
    let limits = all_limits(before, now);
    let keeps_it = had_it && !before.suspended && !expires_later && limits.len() <= MOST_LIMITS;
    keeps_it.then(|| Bounds {
        records: before.max_records_per_query.min(now.max_records_per_query),
        conditions: {
            let of_tool = before.conditions.iter().filter(|condition| condition.tool == *tool.name);
            ArgumentCondition::union(of_tool.chain(&now.conditions))
        },
        limits,
    })
}

/// What both policies grant. `before` is sorted by id, and so is the result if `now` is. A client with more limits than there is room
/// for, which it can only have after several refusals, has nothing.
pub fn in_both(before: &[PolicyClient], now: &[PolicyClient]) -> Vec<PolicyClient> {
    let both = now.iter().filter_map(|now| Some(stricter(entry_before(before, now)?, now)));
    both.filter(|client| client.limits.len() <= MOST_LIMITS).collect()
}

fn entry_before<'a>(before: &'a [PolicyClient], client: &PolicyClient) -> Option<&'a PolicyClient> {
    let index = before.binary_search_by(|it| it.id.cmp(&client.id)).ok()?;
    before.get(index).filter(|it| it.uid == client.uid)
}

fn all_limits(before: &PolicyClient, now: &PolicyClient) -> Vec<Rate> {
    let mut limits = now.limits.clone();
    limits.extend(before.limits.iter().filter(|limit| !now.limits.contains(limit)));
    if limits.len() > MOST_LIMITS {
        // Those that admit no less than another one change nothing.
        let all = limits.clone();
        let is_within = |one: &Rate, other: &Rate| one.requests <= other.requests && one.per >= other.per;
        limits.retain(|limit| !all.iter().any(|other| other != limit && is_within(other, limit)));
    }
    limits
}

/// What both entries of a client grant.
fn stricter(before: &PolicyClient, now: &PolicyClient) -> PolicyClient {
    // All fields are named, so that a new one cannot be overlooked here.
    let PolicyClient {
        id,
        uid,
        tools,
        max_records_per_query,
        allow_write,
        conditions,
        limits: _,
        suspended,
        expires_at,
    } = now;
    PolicyClient {
        id: id.clone(),
        uid: uid.clone(),
        tools: tools.iter().filter(|tool| before.tools.contains(tool)).cloned().collect(),
        max_records_per_query: before.max_records_per_query.min(*max_records_per_query),
        allow_write: before.allow_write && *allow_write,
        conditions: ArgumentCondition::union(before.conditions.iter().chain(conditions)),
        limits: all_limits(before, now),
        suspended: before.suspended || *suspended,
        expires_at: before.expires_at.iter().chain(expires_at).min().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(fields: &Value) -> PolicyClient {
        let mut entry = json!({"id": "a", "uid": "u", "tools": [], "maxRecordsPerQuery": 10, "limits": []});
        entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn a_client_keeps_only_what_it_had_and_still_has() {
        let (often, seldom) = (json!({"requests": 60, "per": "1m"}), json!({"requests": 2, "per": "1h"}));
        let (soon, late) = (json!("2030-01-01T00:00:00Z"), json!("2040-01-01T00:00:00Z"));
        for (one, other, both) in [
            (json!({"tools": ["x", "y"]}), json!({"tools": ["y", "z"]}), json!({"tools": ["y"]})),
            (json!({"maxRecordsPerQuery": 5}), json!({"maxRecordsPerQuery": 50}), json!({"maxRecordsPerQuery": 5})),
            (json!({"allowWrite": true}), json!({}), json!({})),
            (json!({"allowWrite": true}), json!({"allowWrite": true}), json!({"allowWrite": true})),
            (json!({"suspended": true}), json!({}), json!({"suspended": true})),
            (json!({"expiresAt": soon}), json!({"expiresAt": late}), json!({"expiresAt": soon})),
            (json!({"expiresAt": late}), json!({}), json!({"expiresAt": late})),
            (json!({"limits": [often]}), json!({"limits": [often]}), json!({"limits": [often]})),
        ] {
            for (before, now) in [(&one, &other), (&other, &one)] {
                assert_eq!(in_both(&[entry(before)], &[entry(now)]), [entry(&both)], "{before} and then {now}");
            }
        }
        let both = in_both(&[entry(&json!({"limits": [often]}))], &[entry(&json!({"limits": [seldom]}))]);
        assert_eq!(both, [entry(&json!({"limits": [seldom, often]}))]);
    }

    #[test]
    fn the_conditions_of_both_hold() {
        let condition = |name: &str| json!({"name": name, "tool": "x", "argument": "/a", "in": [1]});
        let with = |names: &[&str]| {
            let conditions: Vec<_> = names.iter().map(|name| condition(name)).collect();
            entry(&json!({"tools": ["x"], "where": conditions}))
        };
        let expected = [with(&["a", "b", "c"])];
        assert_eq!(in_both(&[with(&["a", "b"])], &[with(&["b", "c"])]), expected);
        let (name, mut before, mut now) = ("x".parse().unwrap(), [with(&["c", "a", "other"])], [with(&["b"])]);
        // That of a tool which is not kept from before is not.
        let other = before[0].conditions.iter_mut().find(|it| it.name.as_str() == "other").unwrap();
        other.tool = "y".parse().unwrap();
        bound_kept(&mut now, &[KeptTool { name: &name, is_write: false, clients: &before }]);
        assert_eq!(now, expected);
    }

    /// The tools, the records and the limits that are left.
    fn kept(before: &Value, now: &Value, is_write: bool) -> (Vec<String>, u32, usize) {
        let (name, before) = ("x".parse().unwrap(), [entry(before)]);
        let mut now = [entry(now)];
        bound_kept(&mut now, &[KeptTool { name: &name, is_write, clients: &before }]);
        let [now] = now;
        (now.tools.iter().map(ToString::to_string).collect(), now.max_records_per_query, now.limits.len())
    }

    #[test]
    fn a_tool_that_was_kept_is_called_only_by_those_who_had_it_and_only_as_before() {
        let limit = |requests: u32| json!({"requests": requests, "per": "1m"});
        let limits = |all: &[u32]| json!(all.iter().map(|it| limit(*it)).collect::<Vec<_>>());
        let spans =
            |all: &[u32]| -> Value { all.iter().map(|it| json!({"requests": it, "per": format!("{it}s")})).collect() };
        let had = json!({"tools": ["x", "y"], "limits": limits(&[1])});
        let has = json!({"tools": ["x", "z"], "limits": limits(&[1])});
        let with = |entry: &Value, name: &str, value: Value| {
            let mut entry = entry.clone();
            entry[name] = value;
            entry
        };
        let (all, rest) = (["x", "z"].map(str::to_owned).to_vec(), vec!["z".to_owned()]);
        for (before, now, is_write, expected) in [
            (had.clone(), has.clone(), false, (all.clone(), 10, 1)),
            (with(&had, "tools", json!(["y"])), has.clone(), false, (rest.clone(), 10, 1)),
            (with(&had, "uid", json!("v")), has.clone(), false, (rest.clone(), 10, 1)),
            (had.clone(), with(&has, "tools", json!(["z"])), false, (rest.clone(), 10, 1)),
            // Whoever may write only now may not write by the tool of before.
            (had.clone(), with(&has, "allowWrite", json!(true)), true, (rest.clone(), 10, 1)),
            (with(&had, "allowWrite", json!(true)), with(&has, "allowWrite", json!(true)), true, (all.clone(), 10, 1)),
            (with(&had, "suspended", json!(true)), has.clone(), false, (rest.clone(), 10, 1)),
            (with(&had, "expiresAt", json!("2030-01-01T00:00:00Z")), has.clone(), false, (rest.clone(), 10, 1)),
            (had.clone(), with(&has, "maxRecordsPerQuery", json!(99)), false, (all.clone(), 10, 1)),
            (with(&had, "maxRecordsPerQuery", json!(99)), has.clone(), false, (all.clone(), 10, 1)),
            (had.clone(), with(&has, "limits", limits(&[2, 3])), false, (all.clone(), 10, 3)),
            (with(&had, "limits", limits(&[1, 2, 3])), with(&has, "limits", limits(&[4, 5])), false, (all, 10, 1)),
            // More limits than there is room for.
            (with(&had, "limits", spans(&[1, 2, 3])), with(&has, "limits", spans(&[4, 5])), false, (rest, 10, 2)),
        ] {
            assert_eq!(kept(&before, &now, is_write), expected, "{before} and then {now}");
        }
    }

    #[test]
    fn a_client_never_has_more_limits_than_there_is_room_for() {
        let limits = |all: &[(u32, &str)]| -> Value {
            all.iter().map(|(requests, per)| json!({"requests": requests, "per": per})).collect()
        };
        let four = entry(&json!({"limits": limits(&[(1, "1s"), (2, "2s"), (3, "3s"), (4, "4s")])}));
        for (now, left) in [
            (limits(&[(4, "4s")]), Some(4)),
            (limits(&[(9, "1s"), (9, "2s")]), Some(4)),
            (limits(&[(1, "5s"), (1, "6s")]), Some(1)),
            (limits(&[(5, "5s"), (6, "6s")]), None),
        ] {
            let both = in_both(std::slice::from_ref(&four), &[entry(&json!({"limits": now}))]);
            assert_eq!(both.first().map(|client| client.limits.len()), left, "{now}");
        }
    }

    #[test]
    fn a_client_that_is_new_gone_or_created_again_has_nothing() {
        let (old, new) = (entry(&json!({})), entry(&json!({"id": "b"})));
        assert_eq!(in_both(std::slice::from_ref(&old), &[new]), []);
        assert_eq!(in_both(std::slice::from_ref(&old), &[]), []);
        assert_eq!(in_both(&[old], &[entry(&json!({"uid": "another"}))]), []);
    }
}
