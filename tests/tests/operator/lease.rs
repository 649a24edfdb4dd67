//! The Lease on a real API server: where it is, who is succeeded and when, and that a revocation does not wait for one that is
//! forbidden. And what holds without it: a document is written only in place of the version that the write was made for.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, Pod},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    api::{Api, ListParams},
    config::Kubeconfig,
};
use portcullis_crds::McpClient;
use portcullis_tests::{PATIENCE, Process, TestCluster, binary, expect_eq, until};
use serde_json::{Value, json};

use crate::faulty_proxy::FaultyProxy;

const NAMESPACE: &str = "portcullis-system";
const NAME: &str = "portcullis-operator";
const HOLDS: &str = "this operator holds the Lease";
/// The exit code of an operator because of another one.
const ANOTHER_RUNS: Option<i32> = Some(3);

async fn holder(cluster: &TestCluster) -> Option<String> {
    cluster.api::<Lease>(NAMESPACE).get(NAME).await.unwrap().spec.unwrap().holder_identity
}

/// The namespaces that have a Lease of the operator.
async fn namespaces(cluster: &TestCluster) -> Vec<String> {
    let leases = Api::<Lease>::all(cluster.control_plane.client()).list(&ListParams::default()).await.unwrap();
    let ours = leases.items.into_iter().filter(|lease| lease.metadata.name.as_deref() == Some(NAME));
    ours.filter_map(|lease| lease.metadata.namespace).collect()
}

#[tokio::test]
async fn all_operators_share_one_lease_whatever_their_namespace_and_a_cluster_without_its_namespace_gets_it() {
    let mut cluster = TestCluster::start().await;
    cluster.until_operator_has_read_everything().await;
    cluster.namespace("elsewhere").await;
    let mut elsewhere = Kubeconfig::read_from(&cluster.kubeconfig).unwrap();
    for context in elsewhere.contexts.iter_mut().filter_map(|context| context.context.as_mut()) {
        context.namespace = Some("elsewhere".into());
    }
    let path = cluster.control_plane.folder().join("elsewhere.kubeconfig");
    std::fs::write(&path, serde_json::to_string(&elsewhere).unwrap()).unwrap();
    let environment = [("KUBECONFIG", path.to_str().unwrap())];
    let run = ["run", "--listen", "127.0.0.1:0"];
    let mut second = Process::start(binary("portcullis-operator").unwrap(), run, &environment).unwrap();
    assert_eq!(second.ended(PATIENCE).await.unwrap().code(), ANOTHER_RUNS);
    assert_eq!(namespaces(&cluster).await, [NAMESPACE]);

    assert!(cluster.operator.take().unwrap().terminate(PATIENCE).await.unwrap().success());
    cluster.control_plane.kubectl(["delete", "namespace", NAMESPACE]).unwrap();
    cluster.kubeconfig = cluster.control_plane.kubeconfig();
    cluster.start_operator();
    cluster.operator.as_ref().unwrap().line(HOLDS, PATIENCE).await.unwrap();
    assert!(Api::<Namespace>::all(cluster.control_plane.client()).get(NAMESPACE).await.is_ok());
    assert_eq!(namespaces(&cluster).await, [NAMESPACE]);
}

/// Another operator holds the Lease for so many seconds after it renewed it: one in the pod `operator-0` with this UID.
async fn held_in_a_pod(cluster: &TestCluster, uid: &str, seconds: u64) {
    let facts = json!({
        "identity": "earlier", "host": "operator-0", "pid": 1, "started": 1, "boot": "another", "pidNamespace": "pid:[1]",
        "pod": {"namespace": NAMESPACE, "name": "operator-0", "uid": uid},
    });
    let renewed = MicroTime(Timestamp::now());
    let lease = json!({
        "metadata": {"annotations": {"portcullis.dev/holder": facts.to_string()}},
        "spec": {"holderIdentity": "earlier", "leaseDurationSeconds": seconds, "renewTime": renewed},
    });
    cluster.patch::<Lease>(NAMESPACE, NAME, lease).await;
}

/// A pod all of whose containers have ended. Returns its UID.
async fn ended_pod(cluster: &TestCluster) -> String {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator-0", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "operator", "image": "localhost/none:1"}]},
    });
    cluster.apply(&pod.to_string());
    let ended = json!({"status": {"phase": "Failed", "containerStatuses": [{
        "name": "operator", "image": "localhost/none:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 137}},
    }]}});
    let pods = cluster.api::<Pod>(NAMESPACE);
    let patch = kube::api::Patch::Merge(ended);
    pods.patch_status("operator-0", &Default::default(), &patch).await.unwrap().metadata.uid.unwrap()
}

#[tokio::test]
async fn a_holder_whose_pod_has_ended_is_succeeded_at_once_and_one_whose_pod_is_gone_after_its_term() {
    const LONG: u64 = 60;
    const SHORT: Duration = Duration::from_secs(6);
    let mut cluster = TestCluster::start_with_crm().await;
    cluster.kill_operator().await;
    let ended = ended_pod(&cluster).await;
    held_in_a_pod(&cluster, &ended, LONG).await;
    let began = Instant::now();
    cluster.start_operator();
    cluster.operator.as_ref().unwrap().line(HOLDS, PATIENCE).await.unwrap();
    println!("after the pod of the holder ended the Lease is held in {:.2} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < Duration::from_secs(LONG));

    // The pod is no longer in the API, and may run all the same.
    cluster.kill_operator().await;
    held_in_a_pod(&cluster, "uid-of-another-pod", SHORT.as_secs()).await;
    let began = Instant::now();
    cluster.start_operator();
    until(PATIENCE, async || {
        let (status, text) = cluster.page("/readyz").await?;
        expect_eq((status, text.contains("lease: held by another operator")), (503, true))
    })
    .await;
    cluster.operator.as_ref().unwrap().line(HOLDS, PATIENCE).await.unwrap();
    assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
    cluster.until_operator_has_read_everything().await;

    // As after etcd was restored: the operator that runs does not end, and takes it back.
    let own = holder(&cluster).await;
    held_in_a_pod(&cluster, "uid-of-another-pod", SHORT.as_secs()).await;
    let operator = cluster.operator.as_ref().unwrap();
    operator.line("this operator no longer holds the Lease", PATIENCE).await.unwrap();
    let began = Instant::now();
    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": true}})).await;
    operator.line("this operator can have the Lease now", PATIENCE).await.unwrap();
    println!("after it was restored the Lease is held again in {:.2} s", began.elapsed().as_secs_f64());
    assert_eq!(holder(&cluster).await, own);
    until(PATIENCE, async || expect_eq(is_suspended(&cluster, "reporting-agent").await, true)).await;
    until(PATIENCE, async || expect_eq(cluster.page("/readyz").await?, (200, "ok\n".to_owned()))).await;
}

async fn is_suspended(cluster: &TestCluster, id: &str) -> bool {
    let policy = cluster.policy("sales").await.unwrap();
    policy.clients.iter().any(|client| client.id.as_str() == id && client.suspended)
}

/// A policy of the cluster that forbids every write of the Lease. The account keeps its rights.
fn forbids_leases() -> String {
    let (metadata, api_version) = (json!({"name": "no-leases"}), "admissionregistration.k8s.io/v1");
    let rules = json!([{
        "apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["leases"],
    }]);
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}});
    let policy = json!({
        "apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": metadata,
        "spec": {
            "matchConstraints": {"resourceRules": rules, "namespaceSelector": namespace},
            "validations": [{"expression": "false", "message": "no leases here", "reason": "Forbidden"}],
        },
    });
    let binding = json!({
        "apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
        "spec": {"policyName": "no-leases", "validationActions": ["Deny"]},
    });
    format!("{policy}\n---\n{binding}")
}

#[tokio::test]
async fn an_operator_that_may_not_have_the_lease_publishes_removals_and_says_so_until_it_may() {
    const NOTE: &str = "ok\nlease: the API server refuses it; this operator goes on without it\n";
    let mut cluster = TestCluster::start_with_crm().await;
    cluster.kill_operator().await;
    cluster.apply(&forbids_leases());
    // It takes a moment until the API server knows it.
    until(PATIENCE, async || {
        let patch =
            ["patch", "lease", NAME, "-n", NAMESPACE, "--dry-run=server", "-p", r#"{"spec":{"leaseTransitions":7}}"#];
        expect_eq(cluster.control_plane.kubectl(patch).is_err(), true)
    })
    .await;
    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": true}})).await;
    let began = Instant::now();
    cluster.start_operator();
    until(PATIENCE, async || expect_eq(is_suspended(&cluster, "reporting-agent").await, true)).await;
    println!("without the Lease a removal is published {:.2} s after the start", began.elapsed().as_secs_f64());
    until(PATIENCE, async || expect_eq(cluster.page("/readyz").await?, (200, NOTE.to_owned()))).await;
    let is_without = async |expected: bool| {
        let metrics = cluster.page("/metrics").await?.1;
        expect_eq(metrics.contains(&format!("operator_without_lease {}\n", u8::from(expected))), true)
    };
    until(PATIENCE, async || is_without(true).await).await;
    cluster.patch::<McpClient>("sales", "readonly-dashboard", json!({"spec": {"suspended": true}})).await;
    until(PATIENCE, async || expect_eq(is_suspended(&cluster, "readonly-dashboard").await, true)).await;

    let before = holder(&cluster).await;
    cluster.control_plane.kubectl(["delete", "validatingadmissionpolicybinding", "no-leases"]).unwrap();
    until(PATIENCE, async || expect_eq(cluster.page("/readyz").await?, (200, "ok\n".to_owned()))).await;
    until(PATIENCE, async || is_without(false).await).await;
    assert_ne!(holder(&cluster).await, before);
}

#[tokio::test]
async fn the_api_server_refuses_a_document_that_was_made_for_another_version_and_the_next_attempt_is_made_for_this_one()
{
    /// Until then the operator does not see what another party did.
    const LATE: Duration = Duration::from_secs(30);
    const ACCOUNT: &str = "system:serviceaccount:portcullis-system:portcullis-operator";
    let mut cluster = TestCluster::without_operator().await;
    let proxy = FaultyProxy::start(&cluster.kubeconfig, cluster.control_plane.folder()).await;
    cluster.kubeconfig = proxy.kubeconfig.clone();
    proxy.delays("configmaps", LATE);
    cluster.start_operator();
    cluster.crm("sales").await;
    cluster.until_served("sales", &["customer-service-agent", "readonly-dashboard", "reporting-agent"]).await;
    cluster.until_quiet(Duration::from_secs(1)).await;
    let mark = cluster.control_plane.audit().mark().unwrap();
    let touched: Value = json!({"metadata": {"annotations": {"example.com/touched": "1"}}});
    cluster.patch::<ConfigMap>("sales", "crm-policy-v1", touched).await;
    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": true}})).await;
    until(PATIENCE, async || expect_eq(is_suspended(&cluster, "reporting-agent").await, true)).await;
    until(PATIENCE, async || {
        let writes = cluster.control_plane.audit().writes_since(mark, ACCOUNT).unwrap();
        let of_policy = writes.into_iter().filter(|write| write.name == "crm-policy-v1").map(|write| write.code);
        expect_eq(of_policy.take(2).collect::<Vec<_>>(), vec![409, 200])
    })
    .await;
    let annotations = cluster.api::<ConfigMap>("sales").get("crm-policy-v1").await.unwrap().metadata.annotations;
    assert_eq!(annotations.unwrap()["example.com/touched"], "1", "it replaced nothing of what it had not seen");
}
