//! `kubectl scale`, for a spec that does not set the number of pods.

use k8s_openapi::api::apps::v1::Deployment;
use portcullis_crds::McpServer;
use portcullis_tests::{PATIENCE, TestCluster, expect_eq, until};
use serde_json::json;

#[tokio::test]
async fn kubectl_scale_sets_the_replicas_of_a_server_that_does_not_set_them() {
    let cluster = TestCluster::start().await;
    cluster.namespace("sales").await;
    let server = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "crm", "namespace": "sales"},
        "spec": {
            "backends": [{"name": "fixed", "static": {}}],
            "tools": [{"name": "ping", "description": "Answers.", "backend": "fixed", "static": {"text": "pong"}}],
        },
    });
    cluster.apply(&server.to_string());
    has_replicas(&cluster, 1).await;
    let stored = cluster.api::<McpServer>("sales").get("crm").await.unwrap();
    assert_eq!(stored.spec.replicas, None, "the schema has no default");
    has_policy(&cluster, 1).await;

    cluster.control_plane.kubectl(["scale", "mcpserver/crm", "-n", "sales", "--replicas=3"]).unwrap();
    has_replicas(&cluster, 3).await;
    has_policy(&cluster, 3).await;
    let selector = "app.kubernetes.io/instance=crm,app.kubernetes.io/name=portcullis-server";
    until(PATIENCE, async || {
        let scale = cluster.control_plane.kubectl(["get", "--raw", SCALE]).map_err(|error| error.to_string())?;
        let scale: serde_json::Value = serde_json::from_str(&scale).unwrap();
        expect_eq((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(3), &json!(selector)))
    })
    .await;
}

/// Waits until the policy is for so many pods.
async fn has_policy(cluster: &TestCluster, replicas: u16) {
    until(PATIENCE, async || {
        expect_eq(cluster.policy("sales").await?.server.map(|half| half.readable.server.replicas), Some(replicas))
    })
    .await;
}

const SCALE: &str = "/apis/portcullis.dev/v1alpha1/namespaces/sales/mcpservers/crm/scale";

async fn has_replicas(cluster: &TestCluster, replicas: i32) {
    until(PATIENCE, async || {
        let deployment = cluster.api::<Deployment>("sales").get("crm").await.map_err(|error| error.to_string())?;
        expect_eq(deployment.spec.and_then(|spec| spec.replicas), Some(replicas))
    })
    .await;
}
