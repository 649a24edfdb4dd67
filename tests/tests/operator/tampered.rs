//! What the operator made is changed by another party: it is put back promptly, and holds back no revocation.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use kube::Resource;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use portcullis_crds::McpClient;
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, expect_eq, until};
use serde_json::{Value, json};

const POLICY: &str = "crm-policy-v1";
const CREDENTIALS: &str = "crm-credentials-v1";

/// The labels and owner of an object, as text that can be compared. It may be away for a moment: the garbage collector deletes an
/// object whose owner does not exist, and the operator creates it again.
async fn belongs<K>(cluster: &TestCluster, name: &str) -> Result<Value, String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let object = cluster.api::<K>("sales").get(name).await.map_err(|error| error.to_string())?;
    Ok(json!([object.meta().labels, object.meta().owner_references]))
}

async fn is_put_back<K>(cluster: &TestCluster, name: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let before = belongs::<K>(cluster, name).await.unwrap();
    let other = |api_version: &str| json!([{"apiVersion": api_version, "kind": "McpServer", "name": "x", "uid": "x", "controller": true}]);
    for tampering in [
        json!({"labels": {"app.kubernetes.io/instance": "other"}}),
        json!({"labels": {"app.kubernetes.io/managed-by": null}}),
        json!({"labels": {"app.kubernetes.io/name": "other"}}),
        json!({"labels": null, "ownerReferences": null}),
        json!({"ownerReferences": null}),
        json!({"ownerReferences": other("example.com/v1")}),
        json!({"ownerReferences": other("portcullis.dev/v1alpha1")}),
    ] {
        cluster.patch::<K>("sales", name, json!({"metadata": tampering})).await;
        until(PROMPTLY, async || expect_eq(belongs::<K>(cluster, name).await?, before.clone())).await;
    }
}

#[tokio::test]
async fn labels_and_owners_are_put_back_together_with_what_was_changed_meanwhile() {
    let cluster = TestCluster::start_with_crm().await;
    is_put_back::<ConfigMap>(&cluster, POLICY).await;
    is_put_back::<Deployment>(&cluster, "crm").await;
    is_put_back::<Service>(&cluster, "crm").await;
    is_put_back::<ServiceAccount>(&cluster, "crm").await;

    let policy = cluster.policy("sales").await.unwrap();
    let labels = json!({"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}});
    cluster.patch::<ConfigMap>("sales", POLICY, labels).await;
    cluster.patch::<ConfigMap>("sales", POLICY, json!({"data": {"policy.yaml": "contract: 1"}})).await;
    until(PROMPTLY, async || expect_eq(cluster.policy("sales").await, Ok(policy.clone()))).await;
}

/// The clients that have access by the policy that the first pods mount, and mount to the end: no kubelet makes others ready.
async fn admitted(cluster: &TestCluster) -> Result<Vec<String>, String> {
    let policy = cluster.policy_in("sales", POLICY).await?;
    let admitted = policy.clients.iter().filter(|client| !client.suspended);
    Ok(admitted.map(|client| client.id.as_str().to_owned()).collect())
}

/// Suspends a client and lifts that again; each is published promptly.
async fn is_published(cluster: &TestCluster, what: &str) {
    for suspended in [true, false] {
        cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": suspended}})).await;
        until(PROMPTLY, async || {
            let is_admitted = admitted(cluster).await?.contains(&"reporting-agent".to_owned());
            expect_eq(is_admitted, !suspended).map_err(|error| format!("{what}: {error}"))
        })
        .await;
    }
}

/// How many bytes all annotations of an object may have together.
const ANNOTATIONS: usize = 256 * 1024;

#[tokio::test]
async fn a_revocation_is_published_whatever_was_done_to_the_documents() {
    let cluster = TestCluster::start_with_crm().await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": "sales"},
        "spec": {"hard": {"count/configmaps": "3", "count/secrets": "5"}}});
    for (what, tampering) in [
        ("a finalizer", json!({"metadata": {"finalizers": ["example.com/hold"]}})),
        ("immutable, with a finalizer", json!({"immutable": true})),
        ("immutable", json!({"immutable": true})),
        ("padded", json!({"binaryData": {"padding": "A".repeat(900_000)}})),
    ] {
        cluster.patch::<ConfigMap>("sales", POLICY, tampering).await;
        is_published(&cluster, what).await;
    }
    // The operator may change its own ones in between.
    until(PATIENCE, async || {
        let policies = cluster.api::<ConfigMap>("sales");
        let annotations = policies.get(POLICY).await.map_err(|error| error.to_string())?.metadata.annotations;
        let used: usize = annotations.iter().flatten().map(|(name, value)| name.len() + value.len()).sum();
        let padding = "A".repeat(ANNOTATIONS - used - "padding".len());
        let padded = Patch::Merge(json!({"metadata": {"annotations": {"padding": padding}}}));
        let patched = policies.patch(POLICY, &PatchParams::default(), &padded).await;
        patched.map(drop).map_err(|error| error.to_string())
    })
    .await;
    is_published(&cluster, "annotated as far as the API server admits").await;
    cluster.apply(&quota.to_string());
    cluster.patch::<ConfigMap>("sales", POLICY, json!({"immutable": true})).await;
    // The quota's controller takes a moment to count that the old object is gone.
    until(PATIENCE, async || {
        let immutable = cluster.api::<ConfigMap>("sales").get(POLICY).await.map(|it| it.immutable);
        expect_eq(immutable.map_err(|error| error.to_string()), Ok(None))
    })
    .await;
    is_published(&cluster, "immutable, with a quota that is full").await;

    // Deleted, and held by a finalizer.
    cluster.patch::<ConfigMap>("sales", POLICY, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    cluster.api::<ConfigMap>("sales").delete(POLICY, &DeleteParams::default()).await.unwrap();
    is_published(&cluster, "held while it is being deleted").await;
    cluster.patch::<ConfigMap>("sales", POLICY, json!({"immutable": true})).await;
    is_published(&cluster, "held, and immutable").await;

    // The Secret is not watched: what is wrong with it shows when it is to be written.
    cluster
        .patch::<Secret>(
            "sales",
            CREDENTIALS,
            json!({"immutable": true, "metadata": {"labels": null, "ownerReferences": null}}),
        )
        .await;
    cluster.api::<McpClient>("sales").delete("reporting-agent", &DeleteParams::default()).await.unwrap();
    until(PROMPTLY, async || {
        let clients = cluster.credentials_in("sales", CREDENTIALS).await?.clients;
        expect_eq(clients.iter().any(|client| client.id.as_str() == "reporting-agent"), false)?;
        expect_eq(admitted(&cluster).await?.contains(&"reporting-agent".to_owned()), false)
    })
    .await;
}
