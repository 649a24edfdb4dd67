//! What the clients may do while the server's half of their policy is refused.
//!
//! Their entries were written for a server that is not in force, which may have restrictions that the one in force lacks. So
//! nothing is granted by them: a client keeps what it had on the server in force and still has. What they take away is taken
//! away at once.

use portcullis_crds::contract::PolicyClient;

/// What both policies grant. `before` is sorted by id, and so is the result if `now` is.
pub fn in_both(before: &[PolicyClient], now: &[PolicyClient]) -> Vec<PolicyClient> {
    let entry_before = |client: &PolicyClient| {
        let index = before.binary_search_by(|it| it.id.cmp(&client.id)).ok()?;
        before.get(index).filter(|it| it.uid == client.uid)
    };
    now.iter().filter_map(|now| Some(stricter(entry_before(now)?, now))).collect()
}

/// What both entries of a client grant.
fn stricter(before: &PolicyClient, now: &PolicyClient) -> PolicyClient {
    // All fields are named, so that a new one cannot be overlooked here.
    let PolicyClient { id, uid, tools, max_records_per_query, allow_write, limits, suspended, expires_at } = now;
    let mut limits = limits.clone();
    limits.extend(before.limits.iter().filter(|limit| !now.limits.contains(limit)));
    PolicyClient {
        id: id.clone(),
        uid: uid.clone(),
        tools: tools.iter().filter(|tool| before.tools.contains(tool)).cloned().collect(),
        max_records_per_query: before.max_records_per_query.min(*max_records_per_query),
        allow_write: before.allow_write && *allow_write,
        limits,
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
