//! A key that is taken out of its Secret, or revoked, is refused by the servers, whether or not a new one can be created.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use kube::api::{DeleteParams, PostParams};
use portcullis_crds::{McpClient, contract::KeyDigest};
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, expect_eq, until};
use serde_json::{Value, json};

const CLIENT: &str = "customer-service-agent";
const SECRET: &str = "customer-service-agent-key";
/// How soon a change of a Secret is noticed that nobody points at.
const POLLED: Duration = Duration::from_secs(30);

/// The digests that are published for the client.
async fn digests(cluster: &TestCluster) -> Result<Vec<KeyDigest>, String> {
    let credentials = cluster.credentials("sales").await?;
    let entry = credentials.clients.iter().find(|client| client.id.as_str() == CLIENT);
    Ok(entry.into_iter().flat_map(|client| &client.api_keys).map(|key| key.sha256).collect())
}

async fn digest(cluster: &TestCluster) -> KeyDigest {
    KeyDigest::of(cluster.key("sales", SECRET).await.unwrap().as_bytes())
}

/// Waits until the key is no longer published, and returns how long that took.
async fn revoked(cluster: &TestCluster, key: KeyDigest) -> Duration {
    let start = Instant::now();
    until(PATIENCE, async || expect_eq(digests(cluster).await?.contains(&key), false)).await;
    start.elapsed()
}

/// Waits until the key in the Secret is another one, and is published.
async fn replaced(cluster: &TestCluster, old: KeyDigest) {
    until(PATIENCE, async || {
        let new = KeyDigest::of(cluster.key("sales", SECRET).await?.as_bytes());
        expect_eq((new == old, digests(cluster).await?), (false, vec![new]))
    })
    .await;
}

fn asked(annotation: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {annotation: value}}})
}

#[tokio::test]
async fn a_key_is_revoked_and_replaced_by_each_of_the_documented_ways() {
    let cluster = TestCluster::start_with_crm().await;
    let secrets = cluster.api::<Secret>("sales");

    // By the spec, also with a time in the future, and again by an earlier one.
    let now = k8s_openapi::jiff::Timestamp::now();
    let in_an_hour = now + Duration::from_secs(3600);
    for time in [in_an_hour.to_string(), (now + Duration::from_secs(1800)).to_string()] {
        let old = digest(&cluster).await;
        let spec = json!({"spec": {"credentials": {"apiKey": {"revokeBefore": time}}}});
        cluster.patch::<McpClient>("sales", CLIENT, spec).await;
        let took = revoked(&cluster, old).await;
        assert!(took < PROMPTLY, "revokeBefore {time}: {took:?}");
        replaced(&cluster, old).await;
    }

    // By an annotation, once for each value.
    for value in ["1", "2"] {
        let old = digest(&cluster).await;
        cluster.patch::<McpClient>("sales", CLIENT, asked("portcullis.dev/new-key", value)).await;
        let took = revoked(&cluster, old).await;
        assert!(took < PROMPTLY, "new-key {value}: {took:?}");
        replaced(&cluster, old).await;
    }

    // A Secret that comes back from a backup.
    let mut backup = secrets.get(SECRET).await.unwrap();
    let old = digest(&cluster).await;
    cluster.patch::<McpClient>("sales", CLIENT, asked("portcullis.dev/new-key", "3")).await;
    replaced(&cluster, old).await;
    secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
    backup.metadata.resource_version = None;
    backup.metadata.managed_fields = None;
    let _ = secrets.create(&PostParams::default(), &backup).await;
    cluster.patch::<McpClient>("sales", CLIENT, asked("portcullis.dev/reconcile", "1")).await;
    replaced(&cluster, old).await;

    // Out of its Secret, and the operator is asked to look.
    let deleted = async || secrets.delete(SECRET, &DeleteParams::default()).await.map(drop).unwrap();
    let patched = async |patch: Value| cluster.patch::<Secret>("sales", SECRET, patch).await;
    for (n, what) in ["deleted", "emptied", "replaced", "emptied and immutable"].into_iter().enumerate() {
        let old = digest(&cluster).await;
        match what {
            "deleted" => deleted().await,
            "emptied" => patched(json!({"data": null})).await,
            "replaced" => patched(json!({"stringData": {"api-key": "a password"}})).await,
            _ => patched(json!({"data": null, "immutable": true})).await,
        }
        cluster.patch::<McpClient>("sales", CLIENT, asked("portcullis.dev/reconcile", &format!("{n}-{what}"))).await;
        let took = revoked(&cluster, old).await;
        assert!(took < PROMPTLY, "{what}: {took:?}");
        replaced(&cluster, old).await;
    }

    // The status says which key there is, and nothing is written once all is said.
    until(PATIENCE, async || {
        let status = cluster.api::<McpClient>("sales").get(CLIENT).await.unwrap().status.unwrap_or_default();
        let key = status.api_key.ok_or("no key in the status")?;
        expect_eq((key.key_id, key.issued_at.is_some()), (digest(&cluster).await.key_id(), true))
    })
    .await;

    // Out of its Secret, and nobody points at it. Meanwhile nothing is written.
    cluster.until_quiet(Duration::from_secs(3)).await;
    let mark = cluster.control_plane.audit().mark().unwrap();
    tokio::time::sleep(POLLED).await;
    assert_eq!(cluster.writes(mark), [], "polling writes nothing");
    let old = digest(&cluster).await;
    deleted().await;
    let took = revoked(&cluster, old).await;
    assert!(took < POLLED * 3 / 2, "{took:?}");
    replaced(&cluster, old).await;
}

#[tokio::test]
async fn a_key_is_revoked_even_if_no_new_one_can_be_created() {
    let cluster = TestCluster::start_with_crm().await;
    let count = cluster.api::<Secret>("sales").list(&Default::default()).await.unwrap().items.len();
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
        "spec": {"hard": {"count/secrets": (count - 1).to_string()}},
    });
    let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
    cluster.api("sales").create(&PostParams::default(), &quota).await.unwrap();
    until(PATIENCE, async || {
        let found = cluster.api::<ResourceQuota>("sales").get("full").await.map_err(|error| error.to_string())?;
        let used = found.status.and_then(|status| status.used).unwrap_or_default();
        expect_eq(used.get("count/secrets").map(|used| used.0.clone()), Some(count.to_string()))
    })
    .await;
    let old = digest(&cluster).await;
    cluster.api::<Secret>("sales").delete(SECRET, &DeleteParams::default()).await.unwrap();
    cluster.patch::<McpClient>("sales", CLIENT, asked("portcullis.dev/reconcile", "1")).await;
    let took = revoked(&cluster, old).await;
    assert!(took < PROMPTLY, "{took:?}");
    until(PATIENCE, async || {
        let (condition, message) = cluster.client_condition("sales", CLIENT, "CredentialsReady").await?;
        expect_eq((condition.starts_with("False/"), message.contains("exceeded quota")), (true, true))
    })
    .await;
    assert_eq!(digests(&cluster).await.unwrap(), []);
    cluster.api::<ResourceQuota>("sales").delete("full", &DeleteParams::default()).await.unwrap();
    replaced(&cluster, old).await;
}

#[tokio::test]
async fn while_secrets_cannot_be_read_suspensions_are_published_and_nobody_is_cut_off() {
    let mut cluster = TestCluster::start_with_crm().await;
    let credentials = cluster.credentials("sales").await.unwrap();
    let role = cluster.control_plane.kubectl(["get", "clusterrole", "portcullis-operator", "-o", "json"]).unwrap();
    let role: Value = serde_json::from_str(&role).unwrap();
    let secrets = role["rules"].as_array().unwrap().iter().position(|rule| rule["resources"] == json!(["secrets"]));
    let path = format!("/rules/{}/verbs", secrets.unwrap());
    let patch = json!([{"op": "replace", "path": path, "value": ["create", "patch", "delete"]}]).to_string();
    let patch = ["patch", "clusterrole", "portcullis-operator", "--type", "json", "-p", &patch];
    for (restart, client) in [(false, "readonly-dashboard"), (true, "reporting-agent")] {
        cluster.control_plane.kubectl(patch).unwrap();
        if restart {
            cluster.kill_operator().await;
            cluster.start_operator();
            cluster.until_operator_has_read_everything().await;
        }
        cluster.patch::<McpClient>("sales", client, json!({"spec": {"suspended": true}})).await;
        let start = Instant::now();
        until(PATIENCE, async || {
            let policy = cluster.policy("sales").await?;
            let entry = policy.clients.iter().find(|it| it.id.as_str() == client).ok_or("no such client")?;
            expect_eq(entry.suspended, true)
        })
        .await;
        let took = start.elapsed();
        assert!(took < PROMPTLY, "restarted: {restart}: {took:?}");
        assert_eq!(cluster.credentials("sales").await.unwrap().clients, credentials.clients);
    }
}
