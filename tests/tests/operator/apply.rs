//! What is written, what is corrected, and what is left alone.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, expect_eq, repository, until};
use serde_json::json;

const ALL: [&str; 3] = ["customer-service-agent", "readonly-dashboard", "reporting-agent"];

#[tokio::test]
async fn the_objects_of_the_example_are_created_once_and_their_drift_is_corrected() {
    let mut cluster = TestCluster::without_operator().await;
    let start = cluster.control_plane.audit().mark().unwrap();
    cluster.start_operator();
    cluster.crm("sales").await;
    cluster.until_served("sales", &ALL).await;
    cluster.until_server_condition("sales", "Accepted", "True/Valid").await;
    cluster.until_quiet(Duration::from_secs(3)).await;

    // Each object was created with one POST, read back, and found to have no drift.
    let writes = cluster.writes(start);
    for (resource, created) in
        [("configmaps", 1), ("deployments", 1), ("services", 1), ("serviceaccounts", 1), ("secrets", 4)]
    {
        let of_it: Vec<_> = writes.iter().filter(|write| write.resource == resource).collect();
        let posts = of_it.iter().filter(|write| write.verb == "create").count();
        assert_eq!(posts, created, "{of_it:#?}");
        // The documents may be published a second time, with what came after the first time.
        if !matches!(resource, "configmaps" | "secrets") {
            assert_eq!(of_it.len(), created, "what was read back has drifted: {of_it:#?}");
        }
    }
    let server = cluster.api::<McpServer>("sales").get("crm").await.unwrap().status.unwrap();
    assert_eq!(server.policy.map(|policy| policy.clients), Some(3));
    assert_eq!(server.tools.map(|tools| tools.served), Some(6));
    assert_eq!(server.url.as_deref(), Some("http://crm.sales.svc:3000/mcp"));

    drift_is_corrected(&cluster).await;
}

#[tokio::test]
async fn pods_mount_the_secrets_of_backends_and_another_value_replaces_no_pod() {
    let cluster = TestCluster::start().await;
    cluster.crm("sales").await;
    cluster.until_served("sales", &ALL).await;
    let mut server = cluster.api::<McpServer>("sales").get("crm").await.unwrap();
    let backend = server.spec.backends.iter_mut().find(|backend| backend.http.is_some()).unwrap();
    let credentials = json!({"bearerSecretRef": {"name": "crm-token", "key": "token"}});
    backend.credentials = serde_json::from_value(credentials).unwrap();
    cluster.api::<McpServer>("sales").replace("crm", &PostParams::default(), &server).await.unwrap();
    let volume = json!([{"secret": {"name": "crm-token", "optional": true, "items": [{"key": "token", "path": "crm-token/token"}]}}]);
    until(PROMPTLY, async || {
        let deployment = cluster.api::<Deployment>("sales").get("crm").await.unwrap();
        let deployment = serde_json::to_value(deployment).unwrap();
        let sources = deployment.pointer("/spec/template/spec/volumes/1/projected/sources");
        expect_eq(sources, Some(&volume)).map_err(|error| error.to_string())
    })
    .await;
    cluster.until_quiet(Duration::from_secs(3)).await;
    let mark = cluster.control_plane.audit().mark().unwrap();
    let secret = |value: &str| Secret {
        metadata: ObjectMeta { name: Some("crm-token".into()), ..ObjectMeta::default() },
        string_data: Some([("token".to_owned(), value.to_owned())].into()),
        ..Secret::default()
    };
    cluster.api::<Secret>("sales").create(&PostParams::default(), &secret("one")).await.unwrap();
    cluster.patch::<Secret>("sales", "crm-token", json!({"stringData": {"token": "two"}})).await;
    cluster.until_quiet(Duration::from_secs(3)).await;
    let writes: Vec<_> = cluster.writes(mark).into_iter().filter(|write| write.resource != "secrets").collect();
    assert!(writes.is_empty(), "nothing has drifted, and the operator does not see the value: {writes:#?}");
}

async fn drift_is_corrected(cluster: &TestCluster) {
    let policy = cluster.policy("sales").await.unwrap();
    cluster.patch::<ConfigMap>("sales", "crm-policy-v1", json!({"data": {"policy.yaml": "contract: 1"}})).await;
    until(PROMPTLY, async || expect_eq(cluster.policy("sales").await, Ok(policy.clone()))).await;

    cluster.patch::<ConfigMap>("sales", "crm-policy-v1", json!({"metadata": {"labels": null}})).await;
    until(PROMPTLY, async || {
        let labels = cluster.api::<ConfigMap>("sales").get("crm-policy-v1").await.unwrap().metadata.labels;
        labels.map(drop).ok_or_else(|| "no labels".to_owned())
    })
    .await;

    cluster.patch::<Deployment>("sales", "crm", json!({"spec": {"replicas": 7, "minReadySeconds": 9}})).await;
    until(PROMPTLY, async || {
        let spec = cluster.api::<Deployment>("sales").get("crm").await.unwrap().spec.unwrap();
        expect_eq((spec.replicas, spec.min_ready_seconds), (Some(2), Some(9)))
    })
    .await;

    cluster
        .patch::<Service>("sales", "crm", json!({"spec": {"selector": {"app.kubernetes.io/instance": "evil"}}}))
        .await;
    until(PROMPTLY, async || {
        let spec = cluster.api::<Service>("sales").get("crm").await.unwrap().spec.unwrap();
        let selector = spec.selector.unwrap_or_default();
        expect_eq(selector.get("app.kubernetes.io/instance").map(String::as_str), Some("crm"))
    })
    .await;

    for _ in 0..2 {
        let accounts = cluster.api::<ServiceAccount>("sales");
        accounts.delete("crm", &DeleteParams::default()).await.unwrap();
        until(PROMPTLY, async || accounts.get("crm").await.map(drop).map_err(|error| error.to_string())).await;
    }
}

#[tokio::test]
async fn an_object_that_the_operator_does_not_own_is_never_changed_and_a_condition_names_it() {
    let mut cluster = TestCluster::without_operator().await;
    cluster.namespace("sales").await;
    let foreign = |name: &str| Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some([("api-key".to_owned(), k8s_openapi::ByteString(b"mine".to_vec()))].into()),
        ..Secret::default()
    };
    let secrets = cluster.api::<Secret>("sales");
    let before = secrets.create(&PostParams::default(), &foreign("reporting-agent-key")).await.unwrap();
    let service = Service {
        metadata: ObjectMeta { name: Some("crm".to_owned()), ..ObjectMeta::default() },
        spec: Some(serde_json::from_value(json!({"ports": [{"port": 80}]})).unwrap()),
        ..Service::default()
    };
    let services = cluster.api::<Service>("sales");
    let service = services.create(&PostParams::default(), &service).await.unwrap();
    cluster.start_operator();
    for file in ["server.yaml", "clients.yaml"] {
        let path = repository(&format!("examples/crm/{file}"));
        cluster.control_plane.kubectl(["apply", "-f", &path]).unwrap();
    }

    until(PATIENCE, async || {
        let (condition, message) = cluster.client_condition("sales", "reporting-agent", "CredentialsReady").await?;
        expect_eq(message.contains("Secret sales/reporting-agent-key"), true)?;
        expect_eq(condition, "False/NotOwned".into())
    })
    .await;
    until(PATIENCE, async || {
        let (condition, message) = cluster.server_condition("sales", "Ready").await?;
        expect_eq(message.contains("Service sales/crm"), true)?;
        expect_eq(condition, "False/NotOwned".into())
    })
    .await;
    // The other clients are served, and the foreign objects are unchanged.
    cluster.until_served("sales", &ALL[..2]).await;
    assert_eq!(secrets.get("reporting-agent-key").await.unwrap(), before);
    assert_eq!(services.get("crm").await.unwrap().metadata.managed_fields, service.metadata.managed_fields);

    // Once the name is free the key is created, at the operator's next attempt.
    secrets.delete("reporting-agent-key", &DeleteParams::default()).await.unwrap();
    cluster.until_served("sales", &ALL).await;
    assert_ne!(cluster.key("sales", "reporting-agent-key").await.unwrap(), "mine");
    let clients = cluster.api::<McpClient>("sales");
    until(PATIENCE, async || {
        let status = clients.get("reporting-agent").await.map_err(|error| error.to_string())?.status;
        status.and_then(|status| status.api_key).map(drop).ok_or_else(|| "its status names no key yet".to_owned())
    })
    .await;
}
