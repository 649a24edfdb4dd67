//! The watch of a kind delivers late: no edit is lost, whatever the operator writes meanwhile.

use std::time::Duration;

use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{PATIENCE, TestCluster, expect_eq, until};
use serde_json::json;

use crate::faulty_proxy::FaultyProxy;

const LATE: Duration = Duration::from_secs(3);

async fn is_suspended(cluster: &TestCluster) -> bool {
    let policy = cluster.policy("sales").await.unwrap();
    policy.clients.iter().any(|client| client.id.as_str() == "reporting-agent" && client.suspended)
}

#[tokio::test]
async fn an_edit_is_not_lost_when_the_operator_writes_the_status_before_the_watch_delivers_it() {
    let mut cluster = TestCluster::without_operator().await;
    let proxy = FaultyProxy::start(&cluster.kubeconfig, cluster.control_plane.folder()).await;
    cluster.kubeconfig = proxy.kubeconfig.clone();
    proxy.delays("mcpclients", LATE);
    cluster.start_operator();
    cluster.crm("sales").await;
    cluster.until_served("sales", &["customer-service-agent", "readonly-dashboard", "reporting-agent"]).await;
    cluster.until_quiet(LATE + Duration::from_secs(1)).await;
    for (round, suspended) in [(1, true), (2, false), (3, true)] {
        cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": suspended}})).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        // This changes what the client is granted, so that the operator writes the client's status while its event is due.
        let rule = json!({"spec": {"clients": [{"allow": {"maxRecordsPerQuery": round}}]}});
        cluster.patch::<McpServer>("sales", "crm", rule).await;
        until(LATE + PATIENCE, async || expect_eq(is_suspended(&cluster).await, suspended)).await;
        until(PATIENCE, async || {
            let client = cluster.api::<McpClient>("sales").get("reporting-agent").await.unwrap();
            expect_eq(client.status.and_then(|status| status.observed_generation), client.metadata.generation)
        })
        .await;
    }
}
