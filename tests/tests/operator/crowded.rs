//! An admission webhook of one namespace does not answer: no other namespace waits for it, and neither does a suspension in the
//! namespace itself.

use std::time::{Duration, Instant};

use portcullis_crds::McpClient;
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, expect_eq, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// For how long the API server waits for the webhook.
const HANG: Duration = Duration::from_secs(9);

/// Lets each write of these kinds in the labelled namespace hang.
fn webhook(port: u16, resources: &[&str], operations: &[&str]) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hang"},
        "webhooks": [{
            "name": "hang.example.com",
            "clientConfig": {"url": format!("https://127.0.0.1:{port}/")},
            "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": operations, "resources": resources}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "noisy"}},
            "failurePolicy": "Ignore", "timeoutSeconds": HANG.as_secs(), "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    })
}

/// Two hundred clients, each of which is to have a Secret.
fn waiting(max_records: u32) -> String {
    let client = |number: u32| {
        let access = json!([{"serverRef": {"name": "crm"}, "tools": ["*"], "maxRecordsPerQuery": max_records}]);
        let name = format!("waiting-{number}");
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient", "metadata": {"name": name, "namespace": "noisy"},
            "spec": {"access": access, "credentials": {"apiKey": {"secretName": format!("{name}-key")}}},
        })
        .to_string()
    };
    (0..200).map(client).collect::<Vec<_>>().join("\n---\n")
}

/// How long it takes until a suspension is published.
async fn suspended_after(cluster: &TestCluster, namespace: &str) -> Duration {
    let client = "reporting-agent";
    let is = async |suspended: bool| {
        let policy = cluster.policy(namespace).await?;
        let entry = policy.clients.iter().find(|entry| entry.id.as_str() == client);
        expect_eq(entry.map(|entry| entry.suspended), Some(suspended))
    };
    cluster.patch::<McpClient>(namespace, client, json!({"spec": {"suspended": false}})).await;
    until(PATIENCE, async || is(false).await).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    cluster.patch::<McpClient>(namespace, client, json!({"spec": {"suspended": true}})).await;
    until(PATIENCE, async || is(true).await).await;
    start.elapsed()
}

#[tokio::test]
async fn what_hangs_in_one_namespace_delays_no_suspension_in_another() {
    let cluster = TestCluster::start_with_crm().await;
    cluster.crm("noisy").await;
    cluster.until_served("noisy", &["customer-service-agent", "readonly-dashboard", "reporting-agent"]).await;
    let control = suspended_after(&cluster, "sales").await;

    // Accepts connections, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    cluster.apply(&webhook(port, &["secrets"], &["CREATE"]).to_string());
    cluster.apply(&waiting(1));
    let (elsewhere, within) = (suspended_after(&cluster, "sales").await, suspended_after(&cluster, "noisy").await);
    println!(
        "suspended after {control:?}; while 200 Secrets hang: elsewhere {elsewhere:?}, in the same namespace {within:?}"
    );
    assert!(elsewhere < PROMPTLY && within < PROMPTLY, "{control:?} {elsewhere:?} {within:?}");

    // The documents and every status of that namespace hang too.
    let written = ["configmaps", "secrets", "events", "mcpservers/status", "mcpclients/status"];
    cluster.apply(&webhook(port, &written, &["CREATE", "UPDATE"]).to_string());
    cluster.apply(&waiting(2));
    let elsewhere = suspended_after(&cluster, "sales").await;
    println!("while everything hangs: elsewhere {elsewhere:?}");
    assert!(elsewhere < PROMPTLY, "{control:?} {elsewhere:?}");
}
