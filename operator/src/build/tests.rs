use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use portcullis_crds::{
    McpServer, NamespacedName,
    contract::{ApiKeyDigest, KeyDigest, Version},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::apply::DesiredObject,
    credentials::{IssuedCredential, server_keys},
    manifests::{Folder, Sources},
    validate::{self, CheckedClient, ClientInput, Published, ServerInput},
};

fn settings() -> Settings {
    Settings {
        server_image: "registry.example/portcullis-server:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        image_pull_secrets: ["registry".into()].into(),
        cluster_domain: CLUSTER_DOMAIN.into(),
    }
}

/// The example as it is in a cluster: with UIDs, and a key for each client.
fn example(change: impl FnOnce(&mut McpServer)) -> ServerInput {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/crm");
    let (folder, problems) = Folder::default().update(&Sources::new(vec![folder]).read().unwrap());
    assert_eq!(problems, []);
    let mut server = folder.servers().next().unwrap().1.clone();
    server.metadata.uid = Some("uid-of-crm".into());
    change(&mut server);
    let clients = folder.clients().map(|(NamespacedName { name, .. }, client)| {
        let mut client = client.clone();
        client.metadata.uid = Some(format!("uid-of-{name}"));
        let sha256 = KeyDigest::of(name.as_bytes());
        let key = IssuedCredential::ApiKey(ApiKeyDigest { id: sha256.key_id(), sha256 });
        ClientInput { client: CheckedClient::new(client.into()), credentials: Some(vec![key]) }
    });
    ServerInput {
        server: server.into(),
        cluster_domain: CLUSTER_DOMAIN.into(),
        clients: clients.collect(),
        published: Published::default(),
        is_credentials_document_stuck: false,
        fresh_keys: server_keys([7; 64]),
    }
}

fn built(input: &ServerInput) -> Vec<BuiltObject> {
    objects(KINDS, &input.server, &validate::server(input), None, &DocumentNames::default(), &settings())
}

/// Gives the first backend headers and a credential from Secrets.
fn with_secrets(server: &mut McpServer) {
    let headers = json!([
        {"name": "X-Version", "value": "2"},
        {"name": "X-Key", "valueFrom": {"secretKeyRef": {"name": "b", "key": "key"}}},
    ]);
    let credentials = json!({"headerSecretRef": {"header": "X-Token", "name": "a", "key": "token"}});
    let backend = server.spec.backends.iter_mut().find(|backend| backend.http.is_some()).unwrap();
    backend.headers = serde_json::from_value(headers).unwrap();
    backend.credentials = serde_json::from_value(credentials).unwrap();
}

/// The objects without those of one kind.
fn without(kind: &str, objects: &[BuiltObject]) -> Vec<BuiltObject> {
    objects.iter().filter(|object| object.kind.object.kind != kind).cloned().collect()
}

/// As the API server receives it, with the text of a Secret readable.
fn readable(object: &BuiltObject) -> Value {
    let mut value = object.value.clone();
    if object.kind.object.kind == "Secret" {
        let secret: Secret = serde_json::from_value(value.clone()).unwrap();
        let data = secret.data.into_iter().flatten();
        value["data"] = data.map(|(name, bytes)| (name, json!(String::from_utf8(bytes.0).unwrap()))).collect();
    }
    value
}

#[test]
fn the_example_s_objects() {
    let objects = built(&example(|_| {}));
    let names = ["service-account", "policy", "credentials", "service", "deployment"];
    assert_eq!(objects.len(), names.len());
    for (name, object) in names.iter().zip(&objects) {
        insta::assert_snapshot!(*name, serde_yaml::to_string(&readable(object)).unwrap());
    }
}

/// The documents of two versions must exist side by side while an upgrade replaces the pods.
#[test]
fn each_version_of_the_contract_has_documents_under_names_of_its_own() {
    let objects = built(&example(|_| {}));
    let mut names: Vec<_> = objects.iter().filter(|object| object.kind.is_document).map(BuiltObject::name).collect();
    names.sort_unstable();
    let mut expected = Vec::new();
    for version in Version::WRITTEN {
        expected
            .extend([format!("crm-credentials-v{}", version.number()), format!("crm-policy-v{}", version.number())]);
    }
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn what_an_object_needs_is_built_before_it() {
    for (n, kind) in KINDS.iter().enumerate() {
        for needed in kind.needs {
            assert!(KINDS[..n].iter().any(|before| before.object.kind == *needed), "{}: {needed}", kind.object.kind);
        }
    }
}

#[test]
fn the_objects_of_an_invalid_server_are_those_of_its_last_valid_spec() {
    let pod = json!({"resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1Gi"}}});
    let pod = |server: &mut McpServer| {
        server.spec.replicas = Some(3);
        with_secrets(server);
        server.spec.pod = serde_json::from_value(pod.clone()).unwrap();
    };
    let good = example(pod);
    let documents = validate::server(&good).documents.unwrap();
    let mut bad = example(|server| server.spec.tools[0].backend = "nowhere".parse().unwrap());
    assert_eq!(built(&bad), [], "it was never valid");
    let expected = built(&good);
    let deployment = expected.last().unwrap().value.clone();
    let last = PodSettings::of_spec(good.server.spec.as_ref().unwrap());
    assert_eq!(PodSettings::of_deployment(&deployment), last);
    let with = |bad: &ServerInput, last: &PodSettings| {
        objects(KINDS, &bad.server, &validate::server(bad), Some(last), &DocumentNames::default(), &settings())
    };
    assert_eq!(with(&bad, &last), without("Secret", &without("ConfigMap", &expected)), "the documents cannot be read");
    bad.published = Published::from(&documents);
    assert_eq!(built(&bad), without("Deployment", &expected), "its pods are not known");
    assert_eq!(with(&bad, &last), expected);

    // What somebody changed before this run began: amounts stay, and nothing else.
    let mut changed = deployment.clone();
    changed["spec"]["replicas"] = json!(1);
    let container = &mut changed["spec"]["template"]["spec"]["containers"][0];
    container["image"] = json!("evil");
    container["resources"] = json!({"limits": {"cpu": "2"}, "claims": [{"name": "device"}]});
    let mut container = container.clone();
    container["name"] = json!("another");
    changed["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().insert(0, container);
    let mut put_back = deployment;
    put_back["spec"]["replicas"] = json!(1);
    put_back["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    assert_eq!(with(&bad, &PodSettings::of_deployment(&changed)).last().unwrap().value, put_back);
}

#[test]
fn the_keys_of_secrets_are_mounted_one_by_one_and_none_of_them_holds_up_a_pod() {
    let deployment = built(&example(with_secrets)).pop().unwrap().value;
    let template = &deployment["spec"]["template"]["spec"];
    let source = |name: &str, key: &str| json!({"secret": {"name": name, "optional": true, "items": [{"key": key, "path": format!("{name}/{key}")}]}});
    let volume = json!({"name": "secrets", "projected": {
        "defaultMode": 0o440, "sources": [source("a", "token"), source("b", "key")],
    }});
    assert_eq!(template["volumes"][1], volume);
    let container = &template["containers"][0];
    let mount = json!({"name": "secrets", "mountPath": "/etc/portcullis/secrets", "readOnly": true});
    assert_eq!(container["volumeMounts"][1], mount);
    let args = container["args"].as_array().unwrap();
    assert_eq!(args[args.len() - 2..], ["--secrets", "/etc/portcullis/secrets"]);
}

#[test]
fn a_change_of_policy_alone_changes_no_pod() {
    let before = built(&example(|_| {}));
    let after = built(&example(|server| server.spec.tools.truncate(3)));
    assert_ne!(before, after);
    assert_eq!(without("ConfigMap", &before), without("ConfigMap", &after));
}

#[test]
fn resources_are_spelled_as_the_api_server_spells_them() {
    let input = example(|server| {
        let pod = json!({"resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": 2}}});
        server.spec.pod = serde_json::from_value(pod).unwrap();
    });
    let deployment = built(&input).pop().unwrap().value;
    assert_eq!(
        deployment.pointer("/spec/template/spec/containers/0/resources"),
        Some(&json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2"}}))
    );
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let expected = built(&example(|_| {}));
    let mut input = example(|server| {
        server.spec.backends.reverse();
        server.spec.tools.reverse();
    });
    input.clients.reverse();
    for client in &mut input.clients {
        let mut object = client.client.object().clone();
        object.spec.as_mut().unwrap().access[0].tools.reverse();
        client.client = CheckedClient::new(object);
    }
    assert_eq!(built(&input), expected);
}

/// What a party may change again and again for seconds only, and what may stay for a minute.
#[test]
fn every_change_of_the_pods_that_may_be_a_privilege_counts_as_one() {
    let deployment = built(&example(|_| {})).pop().unwrap();
    let pod = "/spec/template/spec";
    let container = "/spec/template/spec/containers/0";
    for (pointer, value, is_privilege) in [
        (format!("{container}/image"), json!("evil"), true),
        (format!("{container}/args/0"), json!("--evil"), true),
        (format!("{container}/name"), json!("renamed"), true),
        (format!("{container}/securityContext/allowPrivilegeEscalation"), json!(true), true),
        (format!("{container}/securityContext/readOnlyRootFilesystem"), json!(false), true),
        (format!("{container}/securityContext/capabilities/drop"), json!([]), true),
        (format!("{container}/securityContext"), json!({"privileged": true}), true),
        (format!("{container}/env/0/valueFrom"), json!({"secretKeyRef": {"name": "x", "key": "y"}}), true),
        (format!("{container}/volumeMounts/0/readOnly"), json!(false), true),
        (format!("{pod}/securityContext/runAsNonRoot"), json!(false), true),
        (format!("{pod}/securityContext/seccompProfile/type"), json!("Unconfined"), true),
        (format!("{pod}/serviceAccountName"), json!("admin"), true),
        (format!("{pod}/automountServiceAccountToken"), json!(true), true),
        (format!("{pod}/dnsPolicy"), json!("Default"), true),
        (format!("{pod}/volumes/0"), json!({"name": "config", "hostPath": {"path": "/"}}), true),
        (format!("{pod}/volumes/0/projected/sources/0"), json!({"secret": {"name": "another"}}), true),
        (format!("{pod}/terminationGracePeriodSeconds"), json!(1), false),
        (format!("{container}/resources/limits/memory"), json!("1Gi"), false),
        (format!("{container}/readinessProbe/periodSeconds"), json!(1), false),
        ("/spec/template/metadata/labels".to_owned(), json!({}), false),
        ("/spec/replicas".to_owned(), json!(7), false),
    ] {
        let mut live = deployment.value.clone();
        *live.pointer_mut(&pointer).unwrap() = value;
        let desired = DesiredObject::new(&deployment.kind.object, deployment.value.clone());
        let desired = desired.guarded(deployment.kind.guards);
        assert!(desired.difference(&live).is_some(), "{pointer}");
        assert_eq!(!desired.privileges(&live).is_empty(), is_privilege, "{pointer}");
    }
}
