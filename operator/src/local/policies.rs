//! What a new policy changes, in one line for a person.

use std::collections::BTreeMap;

use portcullis_crds::contract::{Policy, PolicyClient};

/// `reporting-agent changed, bot cut off (policy 3fa9c1d2e4f5)`; none where the two are the same.
pub(super) fn difference(before: &Policy, after: &Policy) -> Option<String> {
    if before.revision() == after.revision() {
        return None;
    }
    fn clients(policy: &Policy) -> BTreeMap<&str, &PolicyClient> {
        policy.clients().iter().map(|client| (client.id.as_str(), client)).collect()
    }
    let (old, new) = (clients(before), clients(after));
    let mut words = Vec::new();
    if before.server() != after.server() {
        words.push("what it serves changed".to_owned());
    }
    for (id, client) in &new {
        match old.get(id) {
            None => words.push(format!("{id} admitted")),
            Some(before) if before.uid != client.uid => words.push(format!("{id} made again")),
            Some(before) if before != client => words.push(format!("{id} changed")),
            Some(_) => {}
        }
    }
    words.extend(old.keys().filter(|id| !new.contains_key(*id)).map(|id| format!("{id} cut off")));
    Some(format!("{} (policy {})", words.join(", "), after.revision().short()))
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
        Policy::new(reading.server.unwrap().into(), reading.clients)
    }

    fn client(id: &str, uid: &str, records: u32) -> String {
        format!(
            "{{id: {id}, uid: '{uid}', tools: [hello], maxRecordsPerQuery: {records}, limits: [{{requests: 1, per: 1m}}]}},"
        )
    }

    #[test]
    fn a_difference_names_each_client() {
        let before = policy(&[client("a", "1", 1), client("b", "2", 1), client("c", "3", 1)].concat());
        let after = policy(&[client("b", "2", 9), client("c", "4", 1), client("d", "5", 1)].concat());
        let words = difference(&before, &after).unwrap();
        assert!(words.starts_with("b changed, c made again, d admitted, a cut off (policy "), "{words}");
        assert_eq!(difference(&before, &before), None);
    }
}
