//! The values: each is described, and a mistake is refused with its place.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm::{CHART, Run, helm};

/// Mistakes in a file of values, and what names the place and the mistake.
const REFUSED: &[(&str, &[&str])] = &[
    ("replicas: 2", &["additional properties 'replicas' not allowed"]),
    ("image: {repo: x}", &["'/image'", "additional properties 'repo' not allowed"]),
    ("server: {image: {tags: x}}", &["'/server/image'", "additional properties 'tags' not allowed"]),
    ("image: portcullis", &["'/image'", "got string, want object"]),
    ("image: {tag: 1.0}", &["'/image/tag'", "want string"]),
    ("image: {repository: ''}", &["'/image/repository'", "minLength"]),
    ("image: {repository: 'a b'}", &["'/image/repository'", "does not match pattern"]),
    ("image: {repository: registry.example/Portcullis/operator}", &["'/image/repository'", "does not match pattern"]),
    ("image: {repository: registry.example/portcullis/}", &["'/image/repository'", "does not match pattern"]),
    ("image: {tag: 'a b'}", &["'/image/tag'", "does not match pattern"]),
    ("image: {digest: 'sha256:12'}", &["'/image/digest'", "does not match pattern"]),
    ("server: {image: {pullPolicy: Sometimes}}", &["'/server/image/pullPolicy'", "value must be one of"]),
    ("imagePullSecrets: [registry]", &["'/imagePullSecrets/0'", "got string, want object"]),
    ("server: {imagePullSecrets: [registry]}", &["'/server/imagePullSecrets/0'", "got string, want object"]),
    ("server: {imagePullSecrets: [{name: a}, {name: a}]}", &["'/server/imagePullSecrets'", "are equal"]),
    ("imagePullSecrets: [{}]", &["'/imagePullSecrets/0'", "missing property 'name'"]),
    ("clusterDomain: Cluster.Local", &["'/clusterDomain'", "does not match pattern"]),
    ("logLevel: verbose", &["'/logLevel'", "value must be one of"]),
    ("crds: {upgrade: 'yes'}", &["'/crds/upgrade'", "got string, want boolean"]),
    ("crds: {keep: true}", &["'/crds'", "additional properties 'keep' not allowed"]),
    ("serviceAccount: {name: A}", &["'/serviceAccount/name'", "does not match pattern"]),
    ("serviceAccount: {create: false}", &["serviceAccount.name is required because serviceAccount.create is false"]),
    ("serviceAccount: {annotations: {a: 1}}", &["'/serviceAccount/annotations/a'", "got number, want string"]),
    ("metrics: {enabled: true}", &["'/metrics'", "additional properties 'enabled' not allowed"]),
    ("metrics: {service: {enabled: 1}}", &["'/metrics/service/enabled'", "got number, want boolean"]),
    ("resources: {limit: {}}", &["'/resources'", "additional properties 'limit' not allowed"]),
    ("resources: {limits: {memory: lots}}", &["'/resources/limits/memory'", "does not match pattern"]),
    ("podLabels: {a: true}", &["'/podLabels/a'", "got boolean, want string"]),
    ("podLabels: {'a b': c}", &["'/podLabels'", "additional properties 'a b' not allowed"]),
    ("podLabels: {a: 'c d'}", &["'/podLabels/a'", "does not match pattern"]),
    ("podLabels: {app.kubernetes.io/part-of: platform}", &["'/podLabels'", "not"]),
    ("podAnnotations: []", &["'/podAnnotations'", "got array, want object"]),
    ("priorityClassName: 7", &["'/priorityClassName'", "got number, want string"]),
    ("nodeSelector: {a: 1}", &["'/nodeSelector/a'", "got number, want string"]),
    ("tolerations: {}", &["'/tolerations'", "got object, want array"]),
    ("tolerations: [{effect: No}]", &["'/tolerations/0/effect'", "value must be one of"]),
    ("affinity: {node: {}}", &["'/affinity'", "additional properties 'node' not allowed"]),
];

#[test]
fn a_mistake_in_the_values_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    let mut wrong = Vec::new();
    for (values, expected) in REFUSED {
        std::fs::write(&file, values).unwrap();
        let Run { succeeded, text } = helm(&["template", "guard", CHART, "--values", file.to_str().unwrap()]);
        if succeeded || !expected.iter().all(|words| text.contains(words)) {
            wrong.push(format!("{values}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_value_is_in_the_schema_with_a_description_and_refuses_what_is_not() {
    let read = |name: &str| std::fs::read_to_string(format!("{CHART}/{name}")).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let values: Value = serde_yaml::from_str(&read("values.yaml")).unwrap();
    let mut wrong = Vec::new();
    compare("", &schema, &schema, &values, &mut wrong);
    assert_eq!(wrong, [] as [&str; 0]);
}

/// Compares an object of the values with its schema.
fn compare(at: &str, root: &Value, schema: &Value, values: &Value, wrong: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let Some(properties) = schema["properties"].as_object() else { return };
    if schema["additionalProperties"] != false {
        wrong.push(format!("{at}: admits any key"));
    }
    for (key, property) in properties {
        if property["description"].as_str().is_none_or(|text| !text.ends_with('.')) {
            wrong.push(format!("{at}/{key}: has no description"));
        }
        compare(&format!("{at}/{key}"), root, property, &values[key], wrong);
    }
    let Some(values) = values.as_object().filter(|values| !values.is_empty()) else { return };
    let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
    let mut documented = keys(properties);
    // It is for charts that contain this one.
    documented.remove("global");
    if documented != keys(values) {
        wrong.push(format!("{at}: the schema has {documented:?}, and values.yaml {:?}", keys(values)));
    }
}
