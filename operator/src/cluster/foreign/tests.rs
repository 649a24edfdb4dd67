use super::*;

const GUARDS: &[Guard] = &[
    Guard {
        at: &["spec"],
        removes: Removes::AllBut(&[
            &["nodeSelector"],
            &["containers", "*", "resources", "limits"],
            &["spread", "*"],
            &["free"],
            &["dns", "options"],
        ]),
        harmless: &[&["containers", "*", "probe"]],
    },
    Guard { at: &["metadata", "annotations"], removes: Removes::Only(&["cloud.example/"]), harmless: &[] },
];

fn want() -> Value {
    json!({
        "metadata": {"name": "crm"},
        "spec": {
            "containers": [{
                "name": "server", "image": "x", "args": ["--a"], "env": [{"name": "A", "value": "1"}],
                "resources": {"limits": {"memory": "1Gi"}},
                "securityContext": {"capabilities": {"drop": ["ALL"]}},
            }],
            "spread": [{"topologyKey": "host"}],
            "network": false,
        },
    })
}

/// Applies a JSON merge patch (RFC 7396).
fn merged(target: &Value, patch: &Value) -> Value {
    let Some(patch) = patch.as_object() else { return patch.clone() };
    let mut target = target.as_object().cloned().unwrap_or_default();
    for (name, patch) in patch {
        match patch {
            Value::Null => drop(target.remove(name)),
            patch => drop(target.insert(name.clone(), merged(target.get(name).unwrap_or(&Value::Null), patch))),
        }
    }
    target.into()
}

fn at(live: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match live.pointer_mut(parent).unwrap() {
        Value::Array(items) => items.insert(name.parse().unwrap(), value),
        parent => parent[name] = value,
    }
}

fn found(live: &Value) -> Option<(Vec<String>, Value)> {
    let found = foreign(&want(), live, GUARDS, ListRules::BUILT_IN)?;
    Some((found.fields.iter().map(|found| found.field.to_string()).collect(), found.patch))
}

#[test]
fn what_is_added_is_named_and_the_patch_removes_it_and_nothing_else() {
    let container = "/spec/containers/0";
    for (pointer, value, field) in [
        ("/spec/hostNetwork".to_owned(), json!(true), "spec.hostNetwork"),
        ("/spec/hostPID".to_owned(), json!(false), "spec.hostPID"),
        ("/spec/containers/0".to_owned(), json!({"name": "first"}), "spec.containers[first]"),
        ("/spec/containers/1".to_owned(), json!({"name": "second"}), "spec.containers[second]"),
        ("/spec/containers/1".to_owned(), json!({"name": "server"}), "spec.containers[server]"),
        ("/spec/initContainers".to_owned(), json!([{"name": "x"}]), "spec.initContainers"),
        (format!("{container}/command"), json!(["sh"]), "spec.containers[server].command"),
        (format!("{container}/env/0"), json!({"name": "LD_PRELOAD"}), "spec.containers[server].env[LD_PRELOAD]"),
        (format!("{container}/env/1"), json!({"name": "A", "value": "2"}), "spec.containers[server].env[A]"),
        (format!("{container}/envFrom"), json!([{}]), "spec.containers[server].envFrom"),
        (
            format!("{container}/securityContext/capabilities/add"),
            json!(["SYS_ADMIN"]),
            "spec.containers[server].securityContext.capabilities.add",
        ),
        (
            format!("{container}/securityContext/privileged"),
            json!(true),
            "spec.containers[server].securityContext.privileged",
        ),
        (format!("{container}/resources/claims"), json!([{"name": "gpu"}]), "spec.containers[server].resources.claims"),
        ("/spec/dns".to_owned(), json!({"servers": ["1.1.1.1"], "options": [1]}), "spec.dns.servers"),
        (
            "/metadata/annotations".to_owned(),
            json!({"cloud.example/role": "x", "free": "y"}),
            "metadata.annotations.cloud.example/role",
        ),
    ] {
        let mut live = want();
        at(&mut live, &pointer, value);
        let (fields, patch) = found(&live).unwrap_or_else(|| panic!("{field} is not found"));
        assert_eq!(fields, [field]);
        let after = merged(&live, &patch);
        assert_eq!(found(&after), None, "{field}");
        let mut expected = want();
        match field {
            "spec.dns.servers" => expected["spec"]["dns"] = json!({"options": [1]}),
            "metadata.annotations.cloud.example/role" => expected["metadata"]["annotations"] = json!({"free": "y"}),
            _ => {}
        }
        assert_eq!(after, expected, "{field}");
    }
}

#[test]
fn what_is_allowed_stays_also_beside_what_is_removed() {
    let mut live = want();
    live["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    live["spec"]["free"] = json!({"deep": [{"x": 1}]});
    live["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("2");
    live["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("1024Mi");
    live["spec"]["spread"].as_array_mut().unwrap().push(json!({"topologyKey": "zone"}));
    live["metadata"]["annotations"] = json!({"note": "x"});
    live["spec"]["empty"] = json!({"nothing": []});
    assert_eq!(found(&live), None);
    let allowed = live.clone();
    live["spec"]["hostNetwork"] = json!(true);
    live["spec"]["containers"][0]["stdin"] = json!(true);
    let (fields, patch) = found(&live).unwrap();
    assert_eq!(fields, ["spec.containers[server].stdin", "spec.hostNetwork"]);
    assert_eq!(merged(&live, &patch), allowed);
}

#[test]
fn what_was_changed_as_well_is_put_back_by_the_same_write() {
    let mut live = want();
    live["spec"]["type"] = json!("LoadBalancer");
    live["spec"]["network"] = json!(true);
    live["spec"]["containers"][0]["image"] = json!("other");
    live["spec"]["containers"][0]["args"] = json!(["--b", "--c"]);
    let (fields, patch) = found(&live).unwrap();
    assert_eq!((fields, merged(&live, &patch)), (vec!["spec.type".to_owned()], want()));
    let mut live = want();
    live["spec"]["network"] = json!(true);
    assert_eq!(found(&live), None, "what has only another value is drift");
}

#[test]
fn the_field_managers_of_what_was_added_are_known_by_the_fields_that_they_own() {
    let mut live = want();
    live["spec"]["hostNetwork"] = json!(true);
    live["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    live["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "evil", "image": "y"}));
    let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
    live["metadata"]["managedFields"] = json!([
        entry("us", json!({"f:spec": {"f:containers": {"k:{\"name\":\"server\"}": {".": {}, "f:image": {}}}}})),
        entry("kubectl-edit", json!({"f:spec": {"f:hostNetwork": {}, "f:nodeSelector": {}}})),
        entry("helm", json!({"f:spec": {"f:containers": {"k:{\"name\":\"evil\"}": {".": {}, "f:name": {}}}}})),
    ]);
    let spec = FieldPath::of_field("spec");
    let container = |name: &str| spec.field("containers").item("name", &json!(name));
    for (path, expected) in [
        (spec.field("hostNetwork"), vec!["kubectl-edit"]),
        (spec.field("nodeSelector").field("disk"), vec!["kubectl-edit"]),
        (container("evil"), vec!["helm"]),
        (container("server").field("image"), vec![]),
        (spec.field("missing"), vec![]),
    ] {
        assert_eq!(path.other_managers(&live, "us").into_iter().collect::<Vec<_>>(), expected, "{path}");
    }
}

#[test]
fn a_changed_field_may_be_a_privilege_unless_others_may_add_it_or_it_is_harmless() {
    let spec = FieldPath::of_field("spec");
    let container = spec.field("containers").item("name", &json!("server"));
    for (field, expected) in [
        (spec.field("network"), true),
        (spec.clone(), true),
        (container.clone(), true),
        (container.field("image"), true),
        (container.field("env").owned("{\"name\":\"A\"}"), true),
        (container.field("resources"), true),
        (container.field("resources").field("limits").field("memory"), false),
        (container.field("probe"), false),
        (container.field("probe").field("port"), false),
        (spec.field("spread").owned("{\"topologyKey\":\"host\"}"), false),
        (spec.field("spread"), true),
        (spec.field("nodeSelector"), false),
        (FieldPath::of_field("replicas"), false),
        (FieldPath::of_field("metadata").field("annotations").field("cloud.example/role"), false),
    ] {
        assert_eq!(GUARDS.iter().any(|guard| guard.covers(&field)), expected, "{field}");
    }
}

#[test]
fn another_value_of_a_field_has_another_hash_wherever_it_differs() {
    let pod = |first: &str, second: &str| {
        let container = |image: &str| json!({"name": "sidecar", "securityContext": {"deep": [image]}});
        json!({"spec": {"containers": [container(first), {"name": "server"}, container(second)]}})
    };
    let hashes = |pod: &Value| {
        let found = foreign(&want(), pod, GUARDS, ListRules::BUILT_IN).unwrap_or_default();
        found.fields.iter().map(|found| (found.field.to_string(), found.hash_of_value())).collect::<Privileges>()
    };
    assert_eq!(hashes(&pod("a", "b")), hashes(&pod("a", "b")));
    for other in [pod("a", "c"), pod("c", "b"), json!({"spec": {"containers": []}}), json!({})] {
        assert_ne!(hashes(&pod("a", "b")), hashes(&other), "{other}");
    }
}
