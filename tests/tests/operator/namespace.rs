//! What a namespace refuses is said in the words of the API server, and no longer once it is mended.

use std::time::Duration;

use k8s_openapi::api::{
    core::v1::{LimitRange, Namespace, Pod, ResourceQuota, ServiceAccount},
    rbac::v1::ClusterRole,
};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{PATIENCE, TestCluster, condition, expect_eq, until};
use serde_json::{Value, json};

/// The Deployment's controller repeats what was refused after growing pauses.
const MENDED: Duration = Duration::from_secs(120);

/// `Ready` and `Stalled` of the server, and the message of the first.
async fn states(cluster: &TestCluster, namespace: &str) -> Result<(String, String), String> {
    let server = cluster.api::<McpServer>(namespace).get("crm").await.map_err(|error| error.to_string())?;
    let conditions = server.status.ok_or("no status")?.conditions;
    let (ready, stalled) = (condition(&conditions, "Ready")?, condition(&conditions, "Stalled")?);
    Ok((format!("{} {}", ready.0, stalled.0), ready.1))
}

async fn is_said(cluster: &TestCluster, namespace: &str, states: &str, words: &str) {
    until(PATIENCE, async || {
        let (found, message) = self::states(cluster, namespace).await?;
        expect_eq(found.as_str(), states)?;
        expect_eq(message.contains(words), true).map_err(|error| format!("{words}: {error}: {message}"))
    })
    .await;
}

/// The pods exist and wait for a node: there is none.
async fn is_mended(cluster: &TestCluster, namespace: &str, words: &str) {
    until(MENDED, async || {
        let pods = cluster.api::<Pod>(namespace).list(&ListParams::default()).await.map_err(|it| it.to_string())?;
        expect_eq(pods.items.len(), 2)?;
        let (found, message) = states(cluster, namespace).await?;
        expect_eq(found.as_str(), "False/Progressing False/Progressing")
            .map_err(|error| format!("{namespace}: {error}: {message}"))?;
        expect_eq(message.contains(words), false)
    })
    .await;
}

async fn namespace(cluster: &TestCluster, name: &str, labels: Value) {
    let namespace = json!({"metadata": {"name": name, "labels": labels}});
    let namespaces: Api<Namespace> = Api::all(cluster.control_plane.client());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
}

/// `examples/crm` in a namespace that exists.
fn crm(cluster: &TestCluster, namespace: &str) {
    for file in ["server.yaml", "clients.yaml"] {
        let path = format!("{}/../examples/crm/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        cluster.apply(&text.replace("namespace: sales", &format!("namespace: {namespace}")));
    }
}

#[tokio::test]
async fn what_a_namespace_refuses_is_said_in_its_words_until_it_is_mended() {
    let cluster = TestCluster::start().await;
    // The pods are made for restricted Pod Security.
    namespace(&cluster, "restricted", json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    crm(&cluster, "restricted");

    namespace(&cluster, "limited", json!({})).await;
    let limits =
        json!({"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "32Mi"}}]}});
    let limit_ranges = cluster.api::<LimitRange>("limited");
    limit_ranges.create(&PostParams::default(), &serde_json::from_value(limits).unwrap()).await.unwrap();
    crm(&cluster, "limited");

    namespace(&cluster, "full", json!({})).await;
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/deployments.apps": "0"}}});
    let quotas = cluster.api::<ResourceQuota>("full");
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    until(PATIENCE, async || {
        let status = quotas.get("none").await.unwrap().status.unwrap_or_default();
        status.hard.map(drop).ok_or_else(|| "the quota is not in force yet".to_owned())
    })
    .await;
    crm(&cluster, "full");

    is_mended(&cluster, "restricted", "forbidden").await;
    let too_much = "maximum memory usage per Container is 32Mi";
    is_said(&cluster, "limited", "False/PodsNotReady True/PodsNotReady", too_much).await;
    is_said(&cluster, "full", "False/WriteFailed True/WriteFailed", "exceeded quota: none").await;
    limit_ranges.delete("small", &DeleteParams::default()).await.unwrap();
    quotas.delete("none", &DeleteParams::default()).await.unwrap();
    is_mended(&cluster, "limited", too_much).await;
    is_mended(&cluster, "full", "exceeded quota").await;
}

/// Admits no new ServiceAccount `crm`.
const NO_ACCOUNT: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-account}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [serviceaccounts]}]
  validations: [{expression: "object.metadata.name != 'crm'", message: "accounts are made by the platform team"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-account}
spec: {policyName: no-account, validationActions: [Deny]}
"#;

#[tokio::test]
async fn an_account_that_is_deleted_comes_back_and_one_that_is_refused_is_said_until_it_does() {
    let cluster = TestCluster::start_with_crm().await;
    is_mended(&cluster, "sales", "account").await;
    let accounts = cluster.api::<ServiceAccount>("sales");
    accounts.delete("crm", &DeleteParams::default()).await.unwrap();
    until(PATIENCE, async || accounts.get("crm").await.map(drop)).await;

    cluster.apply(NO_ACCOUNT);
    let words = "accounts are made by the platform team";
    until(PATIENCE, async || {
        let _ = accounts.delete("crm", &DeleteParams::default()).await;
        let (found, message) = states(&cluster, "sales").await?;
        expect_eq(found.as_str(), "False/WriteFailed True/WriteFailed")?;
        expect_eq(message.contains(words), true)
    })
    .await;
    cluster.control_plane.kubectl(["delete", "validatingadmissionpolicybinding", "no-account"]).unwrap();
    is_mended(&cluster, "sales", words).await;
}

#[tokio::test]
async fn secrets_that_cannot_be_read_are_said_on_the_server_and_on_its_clients_and_take_nothing_away() {
    let cluster = TestCluster::start_with_crm().await;
    cluster.until_served("sales", &["customer-service-agent", "readonly-dashboard", "reporting-agent"]).await;
    let before = cluster.credentials("sales").await.unwrap();
    let roles: Api<ClusterRole> = Api::all(cluster.control_plane.client());
    let rules = roles.get("portcullis-operator").await.unwrap().rules.unwrap();
    let of_secrets = ["secrets".to_owned()];
    let without = rules.iter().filter(|rule| rule.resources.as_deref() != Some(&of_secrets));
    let without: Vec<_> = without.cloned().collect();
    assert_eq!(without.len() + 1, rules.len());
    let set = async |rules: Value| {
        let patch = Patch::Merge(json!({"rules": rules}));
        roles.patch("portcullis-operator", &PatchParams::default(), &patch).await.unwrap();
    };
    set(json!(without)).await;
    let attempt = std::sync::atomic::AtomicU32::new(0);
    until(PATIENCE, async || {
        let attempt = attempt.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string();
        let now = json!({"metadata": {"annotations": {"portcullis.dev/reconcile": attempt}}});
        cluster.patch::<McpClient>("sales", "reporting-agent", now).await;
        let (ready, message) = cluster.client_condition("sales", "reporting-agent", "CredentialsReady").await?;
        expect_eq(ready.as_str(), "False/WriteFailed")?;
        expect_eq(message.contains("reading Secret sales/reporting-agent-key: secrets"), true)?;
        let (_, message) = states(&cluster, "sales").await?;
        let words = "the key of client sales/reporting-agent stays as it was known, because it cannot be read: reading";
        expect_eq(message.contains(words), true).map_err(|error| format!("{error}: {message}"))
    })
    .await;
    set(json!(rules)).await;
    assert_eq!(cluster.credentials("sales").await.unwrap().clients, before.clients);
    until(MENDED, async || {
        let (ready, _) = cluster.client_condition("sales", "reporting-agent", "CredentialsReady").await?;
        expect_eq(ready.as_str(), "True/KeyIssued")?;
        let (_, message) = states(&cluster, "sales").await?;
        expect_eq(message.contains("cannot be read"), false).map_err(|error| format!("{error}: {message}"))
    })
    .await;
}
