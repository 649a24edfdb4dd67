//! The Secret of a key cannot be written, or is not what the operator made: the key that is out of it, or revoked, is refused by the
//! servers even so, and the status says what is wrong.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use portcullis_crds::{McpClient, contract::KeyDigest};
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, expect_eq, until};
use serde_json::{Value, json};

const CLIENT: &str = "customer-service-agent";
const SECRET: &str = "customer-service-agent-key";
async fn digests(cluster: &TestCluster) -> Result<Vec<KeyDigest>, String> {
    let credentials = cluster.credentials("sales").await?;
    let entry = credentials.clients.iter().find(|client| client.id.as_str() == CLIENT);
    Ok(entry.into_iter().flat_map(|client| &client.api_keys).map(|key| key.sha256).collect())
}

async fn digest(cluster: &TestCluster) -> KeyDigest {
    KeyDigest::of(cluster.key("sales", SECRET).await.unwrap().as_bytes())
}

async fn ask(cluster: &TestCluster, annotation: &str, value: &str) {
    let annotations = json!({"metadata": {"annotations": {format!("portcullis.dev/{annotation}"): value}}});
    cluster.patch::<McpClient>("sales", CLIENT, annotations).await;
}

async fn is_revoked(cluster: &TestCluster, key: KeyDigest) {
    until(PROMPTLY, async || expect_eq(digests(cluster).await?.contains(&key), false)).await;
}

async fn is_replaced(cluster: &TestCluster, old: KeyDigest) {
    until(PATIENCE, async || {
        let new = KeyDigest::of(cluster.key("sales", SECRET).await?.as_bytes());
        expect_eq((new == old, digests(cluster).await?), (false, vec![new]))
    })
    .await;
    cluster.until_client_condition("sales", CLIENT, "CredentialsReady", "True/KeyIssued").await;
}

/// `CredentialsReady` is False, and its message has these words.
async fn is_said(cluster: &TestCluster, words: &str) {
    until(PATIENCE, async || {
        let (condition, message) = cluster.client_condition("sales", CLIENT, "CredentialsReady").await?;
        expect_eq((condition.starts_with("False/"), message.contains(words)), (true, true))
            .map_err(|error| format!("{error}: {condition}: {message}"))
    })
    .await;
}

/// Refuses every Secret of the namespace by a policy of the cluster.
fn policy() -> Value {
    let metadata = json!({"name": "no-secrets"});
    let api_version = "admissionregistration.k8s.io/v1";
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}]);
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "sales"}});
    json!([
        {
            "apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": metadata,
            "spec": {
                "matchConstraints": {"resourceRules": rules, "namespaceSelector": namespace},
                "matchConditions": [{"name": "keys", "expression": format!("object.metadata.name == '{SECRET}'")}],
                "validations": [{"expression": "false", "message": "keys are kept elsewhere"}],
            },
        },
        {
            "apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
            "spec": {"policyName": "no-secrets", "validationActions": ["Deny"]},
        },
    ])
}

/// A webhook that cannot be reached, and without which no such Secret may be written.
fn webhook() -> Value {
    json!([{
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "no-secrets"},
        "webhooks": [{
            "name": "unreachable.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}],
            "matchConditions": [{"name": "keys", "expression": format!("object.metadata.name == '{SECRET}'")}],
            "failurePolicy": "Fail", "timeoutSeconds": 1, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    }])
}

#[tokio::test]
async fn a_key_is_revoked_although_admission_refuses_its_secret() {
    let cluster = TestCluster::start_with_crm().await;
    for (refusal, words) in [(policy(), "keys are kept elsewhere"), (webhook(), "unreachable.example.com")] {
        let documents: Vec<String> = refusal.as_array().unwrap().iter().map(Value::to_string).collect();
        cluster.apply(&documents.join("\n---\n"));
        // It takes a moment until the API server knows it.
        until(PATIENCE, async || {
            let trial = PostParams { dry_run: true, ..PostParams::default() };
            let secret = json!({"metadata": {"name": SECRET, "namespace": "sales"}});
            let refused = cluster.api::<Secret>("sales").create(&trial, &serde_json::from_value(secret).unwrap()).await;
            expect_eq(refused.unwrap_err().to_string().contains(words), true)
        })
        .await;
        let old = digest(&cluster).await;
        ask(&cluster, "new-key", words).await;
        is_revoked(&cluster, old).await;
        is_said(&cluster, words).await;
        for object in refusal.as_array().unwrap() {
            let kind = object["kind"].as_str().unwrap();
            cluster.control_plane.kubectl(["delete", kind, "no-secrets"]).unwrap();
        }
        is_replaced(&cluster, old).await;
    }
}

/// Somebody makes a Secret anew, with another type, and with or without its data.
async fn has_another_type(cluster: &TestCluster, name: &str, has_data: bool) {
    let secrets = cluster.api::<Secret>("sales");
    let mut other = secrets.get(name).await.unwrap();
    other.metadata = ObjectMeta { resource_version: None, uid: None, managed_fields: None, ..other.metadata };
    other.type_ = Some("example.com/other".into());
    other.data = other.data.filter(|_| has_data);
    // The operator may create it in between.
    until(PATIENCE, async || {
        let _ = secrets.delete(name, &DeleteParams::default()).await;
        secrets.create(&PostParams::default(), &other).await.map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_key_in_a_secret_of_another_type_or_one_that_is_being_deleted_is_revoked() {
    let cluster = TestCluster::start_with_crm().await;
    let secrets = cluster.api::<Secret>("sales");
    for has_key in [true, false] {
        let old = digest(&cluster).await;
        has_another_type(&cluster, SECRET, has_key).await;
        ask(&cluster, if has_key { "new-key" } else { "reconcile" }, "other").await;
        is_revoked(&cluster, old).await;
        is_replaced(&cluster, old).await;
        assert_eq!(secrets.get(SECRET).await.unwrap().type_.as_deref(), Some("Opaque"));
    }

    let old = digest(&cluster).await;
    cluster.patch::<Secret>("sales", SECRET, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
    ask(&cluster, "reconcile", "deleted").await;
    is_revoked(&cluster, old).await;
    is_said(&cluster, "is being deleted").await;
    cluster.patch::<Secret>("sales", SECRET, json!({"metadata": {"finalizers": null}})).await;
    is_replaced(&cluster, old).await;

    // The Secret of the server's credentials, of another type.
    has_another_type(&cluster, "crm-credentials-v1", true).await;
    let old = digest(&cluster).await;
    ask(&cluster, "new-key", "credentials").await;
    is_replaced(&cluster, old).await;
}

/// An immutable policy has to be deleted and created again, and a quota may not let it be created.
#[tokio::test]
async fn a_policy_that_could_not_be_created_again_is_not_deleted_and_one_that_can_is_missing_for_a_moment() {
    const POLICY: &str = "crm-policy-v1";
    let cluster = TestCluster::start_with_crm().await;
    let config_maps = cluster.api::<ConfigMap>("sales");
    let count = config_maps.list(&Default::default()).await.unwrap().items.len();
    let quota = async |limit: usize| {
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": "sales"},
            "spec": {"hard": {"count/configmaps": limit.to_string()}},
        });
        cluster.apply(&quota.to_string());
        until(PATIENCE, async || {
            let quota = cluster.api::<ResourceQuota>("sales").get("full").await.map_err(|error| error.to_string())?;
            let status = quota.status.unwrap_or_default();
            let amount = |amounts: Option<std::collections::BTreeMap<String, _>>| {
                amounts
                    .unwrap_or_default()
                    .remove("count/configmaps")
                    .map(|it: k8s_openapi::apimachinery::pkg::api::resource::Quantity| it.0)
            };
            expect_eq((amount(status.hard), amount(status.used)), (Some(limit.to_string()), Some(count.to_string())))
        })
        .await;
    };
    let uid = async || config_maps.get(POLICY).await.map(|it| it.metadata.uid).map_err(|error| error.to_string());

    // Exceeded: the old policy is better than none for pods that start.
    quota(count - 1).await;
    let before = uid().await;
    cluster.patch::<ConfigMap>("sales", POLICY, json!({"immutable": true})).await;
    cluster.patch::<McpClient>("sales", CLIENT, json!({"spec": {"suspended": true}})).await;
    until(PATIENCE, async || {
        let (condition, message) = cluster.server_condition("sales", "PolicySynced").await?;
        expect_eq((condition.starts_with("False/"), message.contains("exceeded quota")), (true, true))
    })
    .await;
    assert_eq!(uid().await, before);

    // Full: there is room once the old one is gone.
    quota(count).await;
    let start = std::time::Instant::now();
    let mut missing = Duration::ZERO;
    let mut seen = start;
    loop {
        let found = uid().await;
        if found.is_err() {
            missing += seen.elapsed();
        } else if found != before {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{found:?}");
        seen = std::time::Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("the policy was missing for about {missing:?}, {:?} after there was room", start.elapsed());
    let policy = cluster.policy("sales").await.unwrap();
    assert!(policy.clients.iter().any(|client| client.id.as_str() == CLIENT && client.suspended));
}
