use serde_json::json;

use super::*;

const US: &str = "portcullis-operator";
const NONE: Vec<FieldPath> = Vec::new();

fn live(operation: &str, owned: Value) -> Value {
    json!({
        "metadata": {
            "name": "crm", "labels": {"ours": "1", "theirs": "2"}, "uid": "u",
            "managedFields": [
                {"manager": US, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": owned},
                {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
                {"manager": US, "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {"f:x": {}}}},
            ],
        },
        "spec": {
            "clusterIP": "10.0.0.1",
            "ports": [{"name": "mcp", "port": 3000, "protocol": "TCP"}, {"name": "extra", "port": 1, "protocol": "TCP"}],
        },
    })
}

fn want() -> Value {
    json!({
        "metadata": {"name": "crm", "labels": {"ours": "1"}, "annotations": {}},
        "spec": {"ports": [{"name": "mcp", "port": 3000}]},
    })
}

fn owned() -> Value {
    json!({
        "f:metadata": {"f:labels": {".": {}, "f:ours": {}}},
        "f:spec": {"f:ports": {".": {}, "k:{\"port\":3000,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}}},
    })
}

#[test]
fn what_others_add_is_not_drift() {
    assert_eq!(NONE, drift(&want(), &live("Apply", owned()), US, ListRules::BUILT_IN));
}

#[test]
fn each_changed_field_is_drift() {
    for (pointer, value) in [
        ("/metadata/labels/ours", json!("2")),
        ("/metadata/labels/ours", Value::Null),
        ("/spec/ports/0/port", json!(3001)),
        ("/spec/ports", json!([])),
    ] {
        let mut live = live("Apply", owned());
        *live.pointer_mut(pointer).unwrap() = value;
        assert_ne!(NONE, drift(&want(), &live, US, ListRules::BUILT_IN), "{pointer}");
    }
}

#[test]
fn every_field_that_differs_is_named() {
    let mut live = live("Apply", owned());
    live["metadata"]["name"] = json!("wiki");
    live["metadata"]["labels"]["ours"] = json!("2");
    let ports = json!([{"name": "mcp", "port": 3001}, {"name": "more", "port": 1}]);
    let fields =
        drift(&json!({"metadata": want()["metadata"], "spec": {"ports": ports}}), &live, US, ListRules::BUILT_IN);
    let mut fields: Vec<String> = fields.iter().map(FieldPath::to_string).collect();
    fields.sort_unstable();
    let gone = "spec.ports[{\"port\":3000,\"protocol\":\"TCP\"}]";
    assert_eq!(fields, ["metadata.labels.ours", "metadata.name", "spec.ports[mcp].port", "spec.ports[more]", gone]);
}

#[test]
fn what_the_operator_owns_and_no_longer_wants_is_drift_however_it_was_written() {
    for operation in ["Apply", "Update"] {
        let mut wanted = want();
        wanted["metadata"]["labels"] = json!({});
        assert_ne!(NONE, drift(&wanted, &live(operation, owned()), US, ListRules::BUILT_IN));
        let mut wanted = want();
        wanted["spec"]["ports"] = json!([{"name": "mcp", "port": 4000}]);
        assert_ne!(NONE, drift(&wanted, &live(operation, owned()), US, ListRules::BUILT_IN));
    }
}

#[test]
fn another_spelling_of_a_quantity_is_not_drift() {
    let pod = |cpu: &str, memory: &str| json!({"resources": {"limits": {"cpu": cpu, "memory": memory}}});
    assert_eq!(NONE, drift(&pod("0.5", "1024Mi"), &pod("500m", "1Gi"), US, ListRules::BUILT_IN));
    assert_eq!(NONE, drift(&pod("100u", "1Gi"), &pod("1m", "1Gi"), US, ListRules::BUILT_IN), "it is rounded up");
    assert_ne!(NONE, drift(&pod("0.5", "1024Mi"), &pod("501m", "1Gi"), US, ListRules::BUILT_IN));
    assert_ne!(
        NONE,
        drift(&pod("half", "1Gi"), &pod("some", "1Gi"), US, ListRules::BUILT_IN),
        "what is not a quantity is compared as text"
    );
}

#[test]
fn a_kind_may_name_the_keys_of_its_lists_and_the_lists_that_are_compared_as_a_whole() {
    let rules = ListRules { item_keys: &["type"], atomic: &["rules"] };
    let want = json!({"metrics": [{"type": "Resource", "target": 70}], "rules": [{"name": "a"}]});
    let mut live = json!({
        "metrics": [{"type": "Pods", "target": 1}, {"type": "Resource", "target": 70, "window": "1m"}],
        "rules": [{"name": "a"}],
    });
    assert_eq!(drift(&want, &live, US, rules), NONE);
    assert_eq!(drift(&want, &live, US, ListRules::BUILT_IN), [FieldPath::of_field("metrics")]);
    live["rules"] = json!([{"name": "a"}, {"name": "b"}]);
    assert_eq!(drift(&want, &live, US, rules), [FieldPath::of_field("rules")]);
    assert_eq!(drift(&want, &live, US, ListRules { atomic: &[], ..rules }), NONE);
}

#[test]
fn an_item_that_has_none_of_the_keys_is_compared_as_a_whole() {
    let list = |second: Value| json!({"ports": [{"port": 53}, second]});
    let want = list(json!({"protocol": "TCP"}));
    assert_eq!(drift(&want, &list(json!({"protocol": "TCP"})), US, ListRules::BUILT_IN), NONE);
    assert_eq!(
        drift(&want, &list(json!({"protocol": "UDP"})), US, ListRules::BUILT_IN),
        [FieldPath::of_field("ports")]
    );
}
