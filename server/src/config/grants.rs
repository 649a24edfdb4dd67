//! What the clients may do while the server's half of their policy, or a tool in it, is refused.
//!
//! Their entries were written for a server that is not in force, which may have restrictions that the one in force lacks. So
//! nothing is granted by them: a client keeps what it had on the server in force and still has. What they take away is taken
//! away at once.

use std::collections::BTreeSet;

use portcullis_crds::{
    ToolName,
    contract::{PolicyClient, Rate},
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
        let named: Vec<_> = kept.iter().filter(|tool| client.tools.contains(tool.name)).collect();
        let mut lost: BTreeSet<&ToolName> = BTreeSet::new();
        for tool in named {
            match entry_before(tool.clients, client).and_then(|before| bounded(client, before, tool)) {
                Some((records, limits)) => (client.max_records_per_query, client.limits) = (records, limits),
                None => drop(lost.insert(tool.name)),
            }
        }
        client.tools.retain(|tool| !lost.contains(tool));
    }
}

/// The records and limits with which a client keeps a tool; `None` if it does not keep it.
fn bounded(now: &PolicyClient, before: &PolicyClient, tool: &KeptTool<'_>) -> Option<(u32, Vec<Rate>)> {
    let expires_later = match (&before.expires_at, &now.expires_at) {
        (Some(before), Some(now)) => before < now,
        (before, _) => before.is_some(),
    };
    let had_it = before.tools.contains(tool.name) && (before.allow_write || !tool.is_write);
    let limits = all_limits(before, now);
    let keeps_it = had_it && !before.suspended && !expires_later && limits.len() <= MOST_LIMITS;
    keeps_it.then(|| (before.max_records_per_query.min(now.max_records_per_query), limits))
}

/// What both policies grant. `before` is sorted by id, and so is the result if `now` is.
pub fn in_both(before: &[PolicyClient], now: &[PolicyClient]) -> Vec<PolicyClient> {
    now.iter().filter_map(|now| Some(stricter(entry_before(before, now)?, now))).collect()
}

fn entry_before<'a>(before: &'a [PolicyClient], client: &PolicyClient) -> Option<&'a PolicyClient> {
    let index = before.binary_search_by(|it| it.id.cmp(&client.id)).ok()?;
    before.get(index).filter(|it| it.uid == client.uid)
}

fn all_limits(before: &PolicyClient, now: &PolicyClient) -> Vec<Rate> {
    let mut limits = now.limits.clone();
    limits.extend(before.limits.iter().filter(|limit| !now.limits.contains(limit)));
    limits
}

/// What both entries of a client grant.
fn stricter(before: &PolicyClient, now: &PolicyClient) -> PolicyClient {
    // All fields are named, so that a new one cannot be overlooked here.
    let PolicyClient { id, uid, tools, max_records_per_query, allow_write, limits: _, suspended, expires_at } = now;
    PolicyClient {
        id: id.clone(),
        uid: uid.clone(),
        tools: tools.iter().filter(|tool| before.tools.contains(tool)).cloned().collect(),
        max_records_per_query: before.max_records_per_query.min(*max_records_per_query),
        allow_write: before.allow_write && *allow_write,
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
    fn a_client_that_is_new_gone_or_created_again_has_nothing() {
        let (old, new) = (entry(&json!({})), entry(&json!({"id": "b"})));
        assert_eq!(in_both(std::slice::from_ref(&old), &[new]), []);
        assert_eq!(in_both(std::slice::from_ref(&old), &[]), []);
        assert_eq!(in_both(&[old], &[entry(&json!({"uid": "another"}))]), []);
    }
}
