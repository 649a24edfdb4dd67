//! The operator starts and finds documents that another release published, while the spec of the server has errors: what is taken from
//! clients is published promptly all the same.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use portcullis_crds::{McpClient, McpServer, Revision, document};
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, expect_eq, until};
use serde_json::{Value, json};

const POLICY: &str = "crm-policy-v1";

async fn published(cluster: &TestCluster) -> String {
    let config_map = cluster.api::<ConfigMap>("sales").get(POLICY).await.unwrap();
    config_map.data.unwrap_or_default().remove("policy.yaml").unwrap_or_default()
}

async fn publish(cluster: &TestCluster, policy: &str) {
    cluster.patch::<ConfigMap>("sales", POLICY, json!({"data": {"policy.yaml": policy}})).await;
}

/// The server's half of a document: everything but its clients.
fn half(text: &str) -> Value {
    let mut document = document::single(text).unwrap();
    document.as_object_mut().unwrap().retain(|name, _| !["revision", "clients"].contains(&name.as_str()));
    document
}

/// Stops the operator, and breaks the spec of its server.
async fn stopped_with_a_spec_that_is_refused() -> TestCluster {
    let mut cluster = TestCluster::start_with_crm().await;
    cluster.kill_operator().await;
    let broken = json!({"spec": {"limits": {"perClient": {"requests": 1, "per": "1m"}}}});
    cluster.patch::<McpServer>("sales", "crm", broken).await;
    cluster
}

async fn suspend(cluster: &TestCluster, client: &str) {
    cluster.patch::<McpClient>("sales", client, json!({"spec": {"suspended": true}})).await;
}

/// Whether each client of the policy is suspended.
async fn suspended(cluster: &TestCluster) -> Result<Vec<(String, bool)>, String> {
    let policy = cluster.policy("sales").await?;
    Ok(policy.clients.iter().map(|client| (client.id.to_string(), client.suspended)).collect())
}

#[tokio::test]
async fn a_half_that_another_release_published_stays_as_it_is_beside_the_clients_of_now() {
    let mut cluster = stopped_with_a_spec_that_is_refused().await;
    let mut document = document::single(&published(&cluster).await).unwrap();
    document.as_object_mut().unwrap().remove("revision");
    document["spec"]["later"] = json!({"a": [1, 1.5, "x"]});
    document["spec"]["tools"][0]["later"] = json!(true);
    document["spec"]["tools"][1]["description"] = json!("x".repeat(5_000));
    document["revision"] = json!(Revision::of(&document).unwrap().as_str());
    let text = document.to_string();
    publish(&cluster, &text).await;

    suspend(&cluster, "reporting-agent").await;
    cluster.start_operator();
    cluster.until_operator_has_read_everything().await;
    let clients =
        |expected: &[(&str, bool)]| expected.iter().map(|(id, is)| ((*id).to_owned(), *is)).collect::<Vec<_>>();
    let expected =
        clients(&[("customer-service-agent", false), ("readonly-dashboard", false), ("reporting-agent", true)]);
    until(PATIENCE, async || expect_eq(suspended(&cluster).await?, expected.clone())).await;
    assert_eq!(half(&published(&cluster).await), half(&text));

    cluster.api::<McpClient>("sales").delete("readonly-dashboard", &DeleteParams::default()).await.unwrap();
    let expected = clients(&[("customer-service-agent", false), ("reporting-agent", true)]);
    until(PROMPTLY, async || expect_eq(suspended(&cluster).await?, expected.clone())).await;
    suspend(&cluster, "customer-service-agent").await;
    let expected = clients(&[("customer-service-agent", true), ("reporting-agent", true)]);
    until(PROMPTLY, async || expect_eq(suspended(&cluster).await?, expected.clone())).await;
    assert_eq!(half(&published(&cluster).await), half(&text));

    // A spec without errors replaces it.
    let valid = json!({"spec": {"limits": null}});
    cluster.patch::<McpServer>("sales", "crm", valid).await;
    until(PATIENCE, async || expect_eq(half(&published(&cluster).await)["spec"].get("later"), None)).await;
}

#[tokio::test]
async fn without_a_half_that_can_be_read_a_client_loses_its_credentials() {
    let mut cluster = stopped_with_a_spec_that_is_refused().await;
    let known = async |cluster: &TestCluster| -> Result<Vec<String>, String> {
        let credentials = cluster.credentials("sales").await?;
        let known = credentials.clients.iter().filter(|entry| !entry.api_keys.is_empty());
        Ok(known.map(|entry| entry.id.to_string()).collect())
    };
    let left = ["customer-service-agent", "readonly-dashboard"].map(str::to_owned).to_vec();
    for (policy, client, left) in [
        ("contract: 1\n", "reporting-agent", left),
        ("}{", "readonly-dashboard", vec!["customer-service-agent".to_owned()]),
    ] {
        publish(&cluster, policy).await;
        suspend(&cluster, client).await;
        cluster.start_operator();
        until(PATIENCE, async || expect_eq(known(&cluster).await?, left.clone())).await;
        assert_eq!(published(&cluster).await, policy, "nothing is known of what the pods serve");
        cluster.kill_operator().await;
    }
    cluster.start_operator();
    cluster.until_operator_has_read_everything().await;
    cluster.api::<McpClient>("sales").delete("customer-service-agent", &DeleteParams::default()).await.unwrap();
    until(PROMPTLY, async || expect_eq(known(&cluster).await?, Vec::new())).await;
}
