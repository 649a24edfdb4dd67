use serde_json::{Value, json};

use super::*;
use crate::{
    check,
    contract::{CredentialsReading, Policy, PolicyReading},
    document,
};

#[test]
fn the_page_is_printed_from_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/contract.md");
    let file = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(file, contract(), "run `make generate`: docs/contract.md differs from the types");
}

#[test]
fn the_examples_are_valid_and_belong_together() {
    let policy = PolicyReading::parse(EXAMPLE_POLICY).unwrap();
    check::server_half(policy.server.strict().unwrap()).unwrap();
    let credentials = CredentialsReading::parse(EXAMPLE_CREDENTIALS).unwrap();
    assert_eq!((policy.refused, credentials.refused), (Vec::new(), Vec::new()));
    let ids = |(id, uid): (&crate::ClientId, &str)| (id.clone(), uid.to_owned());
    assert_eq!(
        policy.clients.iter().map(|client| ids((&client.id, &client.uid))).collect::<Vec<_>>(),
        credentials.clients.iter().map(|client| ids((&client.id, &client.uid))).collect::<Vec<_>>()
    );
}

/// The example, with every object that has fields with defaults.
fn document() -> Value {
    let mut document = document::single(EXAMPLE_POLICY).unwrap();
    let spec = &mut document["spec"];
    spec["audit"] = json!({});
    spec["authentication"] = json!({"apiKey": {}});
    spec["clients"] = json!([{"namespaces": {}, "allow": {}}]);
    spec["limits"] = json!({"global": {"requests": 9, "per": "1s"}});
    spec["tools"][0]["audit"] = json!({});
    spec["tools"][0]["http"]["multipart"] = json!([{"name": "a", "value": "b"}]);
    document
}

/// The object that contains the field at this path, and the name of the field.
fn parent<'a>(document: &'a mut Value, path: &str) -> (&'a mut Value, String) {
    let mut segments: Vec<_> = path.split('.').collect();
    let name = segments.pop().unwrap().to_owned();
    let parent = segments.into_iter().fold(document, |at, segment| match segment.strip_suffix("[]") {
        Some(list) => &mut at[list][0],
        None => &mut at[segment],
    });
    (parent, name)
}

/// The policy with a field set to a value, or without it.
fn policy(path: &str, value: Option<Value>) -> Policy {
    let mut document = document();
    let (parent, name) = parent(&mut document, path);
    match value {
        Some(value) => parent[name] = value,
        None => drop(parent.as_object_mut().unwrap().remove(&name)),
    }
    let reading = PolicyReading::parse(&document.to_string()).unwrap();
    assert_eq!(reading.refused, Vec::new(), "{path}");
    let half = reading.server.strict().unwrap_or_else(|findings| panic!("{path}: {findings}"));
    Policy::new(std::sync::Arc::new(half), reading.clients)
}

#[test]
fn a_document_that_states_a_default_is_the_same_as_one_that_leaves_it_out() {
    for (path, default) in DEFAULTS {
        let default = serde_json::from_str(default).unwrap();
        assert_eq!(policy(path, Some(default)), policy(path, None), "{path}");
    }
}

#[test]
fn every_field_is_described_and_has_a_default_or_is_required_or_may_be_absent() {
    for field in policy_fields().iter().chain(&credentials_fields()) {
        assert!(field.description.ends_with('.'), "{}: `{}`", field.path, field.description);
    }
    let paths: Vec<_> = policy_fields().into_iter().map(|field| field.path).collect();
    for (path, _) in DEFAULTS {
        assert!(paths.iter().any(|known| known == path), "{path} does not exist");
    }
}
