//! What a new policy changes, in one line.

use std::collections::BTreeMap;

use portcullis_crds::contract::{Policy, PolicyClient};

/// `reporting-agent changed, bot removed (policy 3fa9c1d2e4f5)`; `None` if nothing changed.
pub(super) fn policy_changes(before: &Policy, after: &Policy) -> Option<String> {
    if before.revision() == after.revision() {
        return None;
    }
    fn clients(policy: &Policy) -> BTreeMap<&str, &PolicyClient> {
        policy.clients().iter().map(|client| (client.id.as_str(), client)).collect()
    }
    let (old, new) = (clients(before), clients(after));
    let mut changes = Vec::new();
    if before.server() != after.server() {
        changes.push("the server changed".to_owned());
    }
    for (id, client) in &new {
        match old.get(id) {
            None => changes.push(format!("{id} added")),
            Some(before) if before.uid != client.uid => changes.push(format!("{id} was created again")),
            Some(before) if before != client => changes.push(format!("{id} changed")),
            Some(_) => {}
        }
    }
    changes.extend(old.keys().filter(|id| !new.contains_key(*id)).map(|id| format!("{id} removed")));
    Some(format!("{} (policy {})", changes.join(", "), after.revision().short()))
}

#[cfg(test)]
mod tests {
    use portcullis_crds::contract::PolicyReading;

    use super::*;

    fn policy(clients: &str) -> Policy {
        let text = format!(
            "{{contract: 1, server: {{namespace: sales, name: crm}}, clients: [{clients}],
              spec: {{backends: [{{name: fixed, static: {{}}}}],
                      tools: [{{name: hello, description: x, backend: fixed, static: {{text: hi}}}}]}}}}"
        );
        let reading = PolicyReading::parse(&text).unwrap();
        Policy::new(std::sync::Arc::new(reading.server.strict().unwrap()), reading.clients)
    }

    fn client(id: &str, uid: &str, records: u32) -> String {
        format!(
            "{{id: {id}, uid: '{uid}', tools: [hello], maxRecordsPerQuery: {records}, limits: [{{requests: 1, per: 1m}}]}},"
        )
    }

    #[test]
    fn each_client_that_changed_is_named() {
        let before = policy(&[client("a", "1", 1), client("b", "2", 1), client("c", "3", 1)].concat());
        let after = policy(&[client("b", "2", 9), client("c", "4", 1), client("d", "5", 1)].concat());
        let changes = policy_changes(&before, &after).unwrap();
        assert!(changes.starts_with("b changed, c was created again, d added, a removed (policy "), "{changes}");
        assert_eq!(policy_changes(&before, &before), None);
    }
}
