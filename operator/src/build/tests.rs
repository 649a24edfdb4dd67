use std::path::Path;

use portcullis_crds::{McpServer, contract::KeyDigest};
use serde_json::{Value, json};

use super::*;
use crate::{
    credentials::{api_key::ApiKey, server_keys},
    manifests::{self, Folder},
    validate::{self, ClientInput, Published, ServerInput},
};

fn settings() -> Settings {
    Settings { server_image: "registry.example/portcullis-server:1".into(), image_pull_policy: "IfNotPresent".into() }
}

/// The example as a cluster has it: with UIDs, and a key for each client.
fn example(change: impl FnOnce(&mut McpServer)) -> ServerInput {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/crm");
    let (folder, problems) = Folder::default().update(&manifests::read(&folder).unwrap());
    assert_eq!(problems, []);
    let mut server = folder.servers().next().unwrap().clone();
    server.metadata.uid = Some("uid-of-crm".into());
    change(&mut server);
    let clients = folder.clients().map(|client| {
        let mut client = client.clone();
        let name = client.metadata.name.clone().unwrap();
        client.metadata.uid = Some(format!("uid-of-{name}"));
        let sha256 = KeyDigest::of(name.as_bytes());
        let key = portcullis_crds::contract::ApiKeyDigest { id: sha256.key_id(), sha256 };
        ClientInput { client: client.into(), keys: Some(vec![key]) }
    });
    ServerInput {
        server: server.into(),
        clients: clients.collect(),
        published: Published::default(),
        fresh_keys: server_keys([7; 64]),
    }
}

fn built(input: &ServerInput) -> Option<Objects> {
    objects(&input.server, &validate::server(input), &settings())
}

/// As an API server gets it, with the Secret's text readable.
fn shown(objects: &Objects) -> Vec<Value> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut credentials = json!(objects.credentials);
    let data = objects.credentials.data.iter().flatten();
    credentials["data"] = data.map(|(name, bytes)| (name.clone(), json!(text(&bytes.0)))).collect();
    vec![
        json!(objects.service_account),
        json!(objects.policy),
        credentials,
        json!(objects.service),
        json!(objects.deployment),
    ]
}

#[test]
fn the_example_s_objects() {
    let objects = built(&example(|_| {})).unwrap();
    for (name, object) in
        ["service-account", "policy", "credentials", "service", "deployment"].iter().zip(shown(&objects))
    {
        insta::assert_snapshot!(*name, serde_yaml::to_string(&object).unwrap());
    }
}

#[test]
fn a_client_s_secret() {
    let input = example(|_| {});
    let client = &input.clients[0].client.metadata;
    insta::assert_yaml_snapshot!(api_key_secret(client, "customer-service-agent-key", &ApiKey::new([1; 32])));
}

#[test]
fn an_invalid_server_s_pods_stay_as_they_are() {
    let good = example(|_| {});
    let documents = validate::server(&good).documents.unwrap();
    let mut bad = example(|server| server.spec.tools[0].backend = "nowhere".parse().unwrap());
    assert_eq!(built(&bad), None, "it was never valid");
    bad.published = Published::from(&documents);
    assert_eq!(built(&bad), Some(Objects { deployment: None, ..built(&good).unwrap() }));
}

#[test]
fn a_change_of_policy_alone_changes_no_pod() {
    let before = built(&example(|_| {})).unwrap();
    let after = built(&example(|server| server.spec.tools.truncate(3))).unwrap();
    assert_ne!(before.policy, after.policy);
    assert_eq!(Objects { policy: after.policy.clone(), ..before }, after);
}

#[test]
fn resources_are_spelled_as_the_api_server_spells_them() {
    let input = example(|server| {
        let pod = json!({"resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": 2}}});
        server.spec.pod = serde_json::from_value(pod).unwrap();
    });
    let deployment = json!(built(&input).unwrap().deployment);
    assert_eq!(
        deployment.pointer("/spec/template/spec/containers/0/resources"),
        Some(&json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2"}}))
    );
}

#[test]
fn the_order_of_what_is_written_does_not_matter() {
    let expected = built(&example(|_| {}));
    let mut input = example(|server| {
        server.spec.backends.reverse();
        server.spec.tools.reverse();
    });
    input.clients.reverse();
    for client in &mut input.clients {
        client.client.spec.as_mut().unwrap().access[0].tools.reverse();
    }
    assert_eq!(built(&input), expected);
}
