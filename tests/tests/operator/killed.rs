//! The operator is killed after each write in turn, before the response arrives: the end state is the same, and no key
//! changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams};
use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{PATIENCE, TestCluster, condition, expect_eq, until};
use serde_json::{Value, json};

use crate::faulty_proxy::FaultyProxy;

/// What must be the same however often the operator was killed: everything but revisions and times.
async fn end_state(cluster: &TestCluster, namespace: &str) -> Result<Value, String> {
    let served = cluster.served(namespace).await?;
    let server = cluster.api::<McpServer>(namespace).get("crm").await.map_err(|error| error.to_string())?;
    let status = server.status.ok_or("no status")?;
    expect_eq(status.observed_generation, server.metadata.generation)?;
    let mut clients = BTreeMap::new();
    for client in cluster.api::<McpClient>(namespace).list(&ListParams::default()).await.unwrap() {
        let status = client.status.ok_or("no status")?;
        let access = status.servers.first().ok_or("nothing about the server")?;
        let granted = access.granted.as_ref().map(|granted| granted.tools);
        let conditions =
            (condition(&status.conditions, "CredentialsReady")?.0, condition(&access.conditions, "Accepted")?.0);
        clients.insert(client.metadata.name, (conditions, granted));
    }
    let policy = status.policy.ok_or("no policy in the status")?;
    expect_eq(policy.revision.as_str(), cluster.policy(namespace).await?.revision.as_str())?;
    expect_eq(policy.credentials_revision.as_str(), cluster.credentials(namespace).await?.revision.as_str())?;
    Ok(json!({
        "served": served,
        "accepted": condition(&status.conditions, "Accepted")?.0,
        "ready": condition(&status.conditions, "Ready")?.0,
        "pods": status.pods.map(|pods| pods.total),
        "clients": clients.into_values().collect::<Vec<_>>(),
    }))
}

/// All keys: those of the clients, and those of the server.
async fn keys(cluster: &TestCluster, namespace: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for secret in cluster.api::<Secret>(namespace).list(&ListParams::default()).await.unwrap() {
        let name = secret.metadata.name.unwrap();
        if let Ok(key) = cluster.key(namespace, &name).await {
            keys.insert(name, key);
        }
    }
    if let Ok(credentials) = cluster.credentials(namespace).await {
        keys.insert("server".to_owned(), serde_json::to_string(&credentials.keys).unwrap());
    }
    keys
}

/// How long it may take an operator until it was killed or has nothing more to write.
const KILLED_WITHIN: Duration = Duration::from_secs(180);

/// Starts the operator and kills it after that many writes. Returns whether it made that many.
pub async fn is_killed_after(
    cluster: &mut TestCluster,
    proxy: &FaultyProxy,
    writes: usize,
    has_settled: impl AsyncFn(&TestCluster) -> bool,
) -> bool {
    proxy.let_through(writes);
    cluster.start_operator();
    proxy.kills(cluster.operator.as_ref().unwrap().pid());
    let mut operator = cluster.operator.take().unwrap();
    let (mut looks, began) = (0, Instant::now());
    let was_killed = loop {
        assert!(began.elapsed() < KILLED_WITHIN, "after {writes} writes: neither killed nor in the end state");
        if operator.ended(Duration::from_millis(200)).await.is_ok() {
            break true;
        }
        looks = if has_settled(cluster).await { looks + 1 } else { 0 };
        // Three seconds in the end state: it makes no more writes, so that it is never killed.
        if looks > 15 {
            operator.signal(rustix::process::Signal::KILL).unwrap();
            operator.ended(PATIENCE).await.unwrap();
            break false;
        }
    };
    proxy.let_through(usize::MAX);
    was_killed
}

#[tokio::test]
async fn an_operator_that_is_killed_after_any_write_reaches_the_same_state_and_changes_no_key() {
    let mut cluster = TestCluster::without_operator().await;
    let proxy = FaultyProxy::start(&cluster.kubeconfig, cluster.control_plane.folder()).await;
    cluster.kubeconfig = proxy.kubeconfig.clone();
    let created = json!({
        "served": ["customer-service-agent", "readonly-dashboard", "reporting-agent"],
        "accepted": "True/Valid", "ready": "False/Progressing", "pods": 2,
        "clients": [
            [["True/KeyIssued", "True/Granted"], 3], [["True/KeyIssued", "True/Granted"], 1], [["True/KeyIssued", "True/Granted"], 3],
        ],
    });
    let narrowed = json!({
        "served": ["customer-service-agent", "reporting-agent"],
        "accepted": "True/Valid", "ready": "False/Progressing", "pods": 2,
        "clients": [[["True/KeyIssued", "True/Granted"], 3], [["True/KeyIssued", "True/Granted"], 1]],
    });
    let mut kills = [0, 0];
    for writes in 1..60 {
        let namespace = format!("run-{writes}");
        cluster.crm(&namespace).await;
        let is_created = async |cluster: &TestCluster| end_state(cluster, &namespace).await.as_ref() == Ok(&created);
        let was_killed = is_killed_after(&mut cluster, &proxy, writes, is_created).await;
        kills[0] += usize::from(was_killed);
        let before = keys(&cluster, &namespace).await;
        cluster.start_operator();
        until(PATIENCE, async || expect_eq(end_state(&cluster, &namespace).await?, created.clone())).await;
        cluster.until_quiet(Duration::from_millis(700)).await;
        let after = keys(&cluster, &namespace).await;
        assert_eq!(after.len(), 4);
        assert!(before.iter().all(|(name, key)| after.get(name) == Some(key)), "a key changed after write {writes}");
        cluster.kill_operator().await;

        let clients = cluster.api::<McpClient>(&namespace);
        clients.delete("readonly-dashboard", &DeleteParams::default()).await.unwrap();
        let fewer = json!({"spec": {"access": [{"serverRef": {"name": "crm"}, "tools": ["get_deal_summary"], "maxRecordsPerQuery": 5}]}});
        cluster.patch::<McpClient>(&namespace, "reporting-agent", fewer).await;
        let is_narrowed = async |cluster: &TestCluster| end_state(cluster, &namespace).await.as_ref() == Ok(&narrowed);
        let was_killed_again = is_killed_after(&mut cluster, &proxy, writes, is_narrowed).await;
        kills[1] += usize::from(was_killed_again);
        cluster.start_operator();
        until(PATIENCE, async || expect_eq(end_state(&cluster, &namespace).await?, narrowed.clone())).await;
        let last = keys(&cluster, &namespace).await;
        assert!(last.iter().all(|(name, key)| after.get(name) == Some(key)), "a key changed after write {writes}");
        cluster.kill_operator().await;
        let server = cluster.api::<McpServer>(&namespace);
        server.delete("crm", &DeleteParams::default()).await.unwrap();
        cluster.control_plane.kubectl(["delete", "mcpc", "--all", "-n", &namespace]).unwrap();
        if !was_killed && !was_killed_again {
            break;
        }
    }
    assert!(kills[0] >= 10 && kills[1] >= 4, "there must be more writes to be killed after than {kills:?}");
}
