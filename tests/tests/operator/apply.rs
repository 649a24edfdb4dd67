//! What is written, what is corrected, and what is left alone.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use portcullis_crds::{McpClient, McpServer};
use serde_json::json;

use crate::harness::{TestCluster, expect, until};

const ALL: [&str; 3] = ["customer-service-agent", "readonly-dashboard", "reporting-agent"];

#[tokio::test]
async fn the_example_s_objects_are_created_once_and_drift_is_corrected() {
    let mut cluster = TestCluster::without_operator().await;
    let start = cluster.control_plane.audit().mark().unwrap();
    cluster.start_operator();
    cluster.crm("sales").await;
    until(20, async || expect(cluster.served("sales").await?, ALL.map(String::from).into())).await;
    until(20, async || expect(cluster.server_condition("sales", "Accepted").await?.0, "True/Valid".into())).await;
    cluster.settled(Duration::from_secs(3)).await;

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

    drift(&cluster).await;
}

async fn drift(cluster: &TestCluster) {
    let policy = cluster.policy("sales").await.unwrap();
    cluster.patch::<ConfigMap>("sales", "crm-policy-v1", json!({"data": {"policy.yaml": "contract: 1"}})).await;
    until(2, async || expect(cluster.policy("sales").await, Ok(policy.clone()))).await;

    cluster.patch::<ConfigMap>("sales", "crm-policy-v1", json!({"metadata": {"labels": null}})).await;
    until(2, async || {
        let labels = cluster.api::<ConfigMap>("sales").get("crm-policy-v1").await.unwrap().metadata.labels;
        labels.map(drop).ok_or_else(|| "no labels".to_owned())
    })
    .await;

    cluster.patch::<Deployment>("sales", "crm", json!({"spec": {"replicas": 7, "minReadySeconds": 9}})).await;
    until(2, async || {
        let spec = cluster.api::<Deployment>("sales").get("crm").await.unwrap().spec.unwrap();
        expect((spec.replicas, spec.min_ready_seconds), (Some(2), Some(9)))
    })
    .await;

    cluster
        .patch::<Service>("sales", "crm", json!({"spec": {"selector": {"app.kubernetes.io/instance": "evil"}}}))
        .await;
    until(2, async || {
        let spec = cluster.api::<Service>("sales").get("crm").await.unwrap().spec.unwrap();
        let selector = spec.selector.unwrap_or_default();
        expect(selector.get("app.kubernetes.io/instance").map(String::as_str), Some("crm"))
    })
    .await;

    for _ in 0..2 {
        let accounts = cluster.api::<ServiceAccount>("sales");
        accounts.delete("crm", &DeleteParams::default()).await.unwrap();
        until(2, async || accounts.get("crm").await.map(drop).map_err(|error| error.to_string())).await;
    }
}

#[tokio::test]
async fn an_object_that_is_not_the_operator_s_is_never_touched_and_the_condition_names_it() {
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
        let path = crate::harness::repository(&format!("examples/crm/{file}"));
        cluster.control_plane.kubectl(["apply", "-f", &path]).unwrap();
    }

    until(20, async || {
        let (condition, message) = cluster.client_condition("sales", "reporting-agent", "CredentialsReady").await?;
        expect(message.contains("Secret sales/reporting-agent-key"), true)?;
        expect(condition, "False/NotOwned".into())
    })
    .await;
    until(20, async || {
        let (condition, message) = cluster.server_condition("sales", "Ready").await?;
        expect(message.contains("Service sales/crm"), true)?;
        expect(condition, "False/NotOwned".into())
    })
    .await;
    // The other clients are served, and the foreign objects are unchanged.
    until(20, async || expect(cluster.served("sales").await?, [ALL[0], ALL[1]].map(String::from).into())).await;
    assert_eq!(secrets.get("reporting-agent-key").await.unwrap(), before);
    assert_eq!(services.get("crm").await.unwrap().metadata.managed_fields, service.metadata.managed_fields);

    // Once the name is free the key is created, at the operator's next attempt.
    secrets.delete("reporting-agent-key", &DeleteParams::default()).await.unwrap();
    until(45, async || expect(cluster.served("sales").await?, ALL.map(String::from).into())).await;
    assert_ne!(cluster.key("sales", "reporting-agent-key").await.unwrap(), "mine");
    let clients = cluster.api::<McpClient>("sales");
    until(5, async || {
        let status = clients.get("reporting-agent").await.map_err(|error| error.to_string())?.status;
        status.and_then(|status| status.api_key).map(drop).ok_or_else(|| "its status names no key yet".to_owned())
    })
    .await;
}
