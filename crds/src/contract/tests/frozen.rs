//! The contract as it was when version 1 was defined. `frozen/` contains the schemas of both documents, documents in which every
//! field that can differ from its default does, and documents that use only the required fields.
//!
//! The files in `frozen/` are never edited within contract version 1. A field that is added later has a default that means what
//! its absence meant, and does not appear in them: they go on describing the contract as it was. It appears only in the snapshot
//! of [`a_default_never_changes`], with its default. These tests fail if a field is renamed or removed, if a default changes, or
//! if a default is printed.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::super::{envelope::Envelope, *};
use crate::{McpServer, check, document};

fn frozen(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/contract/tests/frozen").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that the strict reading of the frozen schema finds: a server of that time would refuse the document for it.
fn refusals(schema: &str, document: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(&frozen(schema)).unwrap();
    let document = document::single(document).unwrap();
    let validator = jsonschema::options().offline().build(&schema).unwrap();
    validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// A frozen McpServer, as the operator of today converts and prints it.
fn published(manifest: &str) -> Policy {
    let server: McpServer = serde_yaml::from_str(&frozen(manifest)).unwrap();
    let identity = ServerIdentity {
        namespace: "sales".into(),
        name: "crm".into(),
        replicas: 2,
        hosts: vec!["crm".into(), "crm.sales.svc".into()],
    };
    let half = ServerHalf { server: identity, spec: server_spec(&server.spec).0 };
    let half = check::server_half(half).unwrap().half().clone();
    Policy::new(half, PolicyReading::parse(&frozen("full-policy.yaml")).unwrap().clients)
}

#[test]
fn what_the_operator_prints_today_was_readable_when_the_contract_was_defined() {
    for manifest in ["minimal-server.yaml", "full-server.yaml"] {
        let policy = published(manifest);
        assert_eq!(refusals("policy.schema.json", policy.text()), [] as [String; 0], "{manifest}");
    }
    let clients = CredentialsReading::parse(&frozen("full-credentials.yaml")).unwrap();
    let credentials = Credentials::new(clients.clients, clients.keys.unwrap());
    assert_eq!(refusals("credentials.schema.json", credentials.text()), [] as [String; 0]);
}

#[test]
fn the_same_resources_are_printed_as_the_same_documents() {
    assert_eq!(published("full-server.yaml").text(), frozen("full-policy.yaml"));
    let clients = CredentialsReading::parse(&frozen("full-credentials.yaml")).unwrap();
    assert_eq!(Credentials::new(clients.clients, clients.keys.unwrap()).text(), frozen("full-credentials.yaml"));
}

#[test]
fn the_frozen_schema_refuses_a_field_that_it_does_not_know() {
    let text = frozen("full-policy.yaml").replace("- id: agent", "- id: agent\n  later: []");
    assert_eq!(refusals("policy.schema.json", &text).len(), 1);
}

#[test]
fn a_default_never_changes() {
    let read = |name: &str| PolicyReading::parse(&frozen(name)).unwrap();
    insta::assert_debug_snapshot!((
        read("minimal-policy.yaml").server.strict().unwrap(),
        read("full-policy.yaml").clients
    ));
}

#[test]
fn no_default_is_printed() {
    let minimal = PolicyReading::parse(&frozen("minimal-policy.yaml")).unwrap();
    let half = check::server_half(minimal.server.strict().unwrap()).unwrap();
    let printed = document::single(Policy::new(half.half().clone(), minimal.clients).text()).unwrap();
    let mut frozen = document::single(&frozen("minimal-policy.yaml")).unwrap();
    frozen["revision"] = printed["revision"].clone();
    assert_eq!(printed, frozen);
    assert!(Envelope::open((printed, Vec::new())).is_ok());
}

#[test]
fn a_published_half_that_this_release_would_refuse_stays_the_last_valid_one() {
    let text = frozen("full-policy.yaml");
    let mut document = document::single(&text).unwrap();
    document.as_object_mut().unwrap().remove("revision");
    // Bounds that another release may have had, and this one does not.
    for (pointer, value) in [
        ("/spec/tools/0/description", Value::from("x".repeat(5_000))),
        ("/spec/limits/global/requests", Value::from(2_000_000)),
        ("/spec/limits/global/maxShare", Value::from(101)),
    ] {
        let mut other = document.clone();
        *other.pointer_mut(pointer).unwrap() = value.clone();
        let reading = PolicyReading::parse(&other.to_string()).unwrap();
        assert!(reading.server.strict().is_err(), "{pointer}");
        let published = PublishedPolicy::from(reading);
        let printed = Policy::new(published.server.unwrap(), published.clients.to_vec());
        let mut printed = document::single(printed.text()).unwrap();
        printed.as_object_mut().unwrap().remove("revision");
        assert_eq!(printed, other, "{pointer}");
    }
}
