//! What the status of both kinds says: only what is so, whatever was before, and in the words of who refuses.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, PostParams};
use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, condition, expect_eq, until};
use serde_json::{Value, json};

use crate::kubelet::Kubelet;

/// A server `crm` with one tool, and this many pods.
fn server(replicas: u16) -> String {
    let spec = json!({
        "backends": [{"name": "fixed", "static": {}}],
        "tools": [{"name": "ping", "description": "Answers.", "backend": "fixed", "static": {"text": "pong"}}],
        "replicas": replicas,
    });
    manifest("McpServer", "crm", spec)
}

fn client(name: &str, suspended: bool) -> String {
    let access = json!([{"serverRef": {"name": "crm"}, "tools": ["*"], "maxRecordsPerQuery": 5}]);
    let secret = format!("{}-key", &name[..name.len().min(40)]);
    let spec = json!({"access": access, "credentials": {"apiKey": {"secretName": secret}}, "suspended": suspended});
    manifest("McpClient", name, spec)
}

fn manifest(kind: &str, name: &str, spec: Value) -> String {
    let metadata = json!({"name": name, "namespace": "sales"});
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}).to_string()
}

/// `Ready`, `Reconciling` and `Stalled`, and the message of the first.
fn kstatus(
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
) -> Result<(String, String), String> {
    let ready = condition(conditions, "Ready")?;
    let status = |type_| condition(conditions, type_).map(|found| found.0.split('/').next().unwrap().to_owned());
    Ok((format!("{} {} {}", ready.0, status("Reconciling")?, status("Stalled")?), ready.1))
}

async fn of_client(cluster: &TestCluster, name: &str) -> Result<(String, String), String> {
    let client = cluster.api::<McpClient>("sales").get(name).await.map_err(|error| error.to_string())?;
    let generation = client.metadata.generation;
    let status = client.status.ok_or("no status")?;
    expect_eq(status.observed_generation, generation)?;
    kstatus(&status.conditions)
}

async fn of_server(cluster: &TestCluster) -> Result<(String, String), String> {
    let server = cluster.api::<McpServer>("sales").get("crm").await.map_err(|error| error.to_string())?;
    kstatus(&server.status.ok_or("no status")?.conditions)
}

/// Refuses every update of a ConfigMap in a namespace with the label `frozen`.
const FREEZE: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: frozen}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {frozen: "1"}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [configmaps]}]
  validations: [{expression: "false", message: "change freeze"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: frozen}
spec: {policyName: frozen, validationActions: [Deny]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_suspended_once_the_pods_refuse_it_and_not_while_the_write_is_refused() {
    let mut cluster = TestCluster::start_with_crm().await;
    let kubelet = Kubelet::start(&cluster, "sales", 3, 2).await;
    cluster.until_client_condition("sales", "reporting-agent", "Ready", "True/Available").await;
    cluster.apply(FREEZE);
    until(PATIENCE, async || {
        cluster.control_plane.kubectl(["label", "namespace", "sales", "frozen=1", "--overwrite"]).unwrap();
        let configmaps = cluster.api::<ConfigMap>("sales");
        let probe = json!({"metadata": {"annotations": {"example.com/probe": "1"}}});
        let parameters = kube::api::PatchParams { dry_run: true, ..Default::default() };
        let patched = configmaps.patch("crm-policy-v1", &parameters, &kube::api::Patch::Merge(probe)).await;
        let refusal = patched.err().map(|error| error.to_string()).unwrap_or_default();
        expect_eq(refusal.contains("change freeze"), true).map_err(|error| format!("{error}: {refusal}"))
    })
    .await;
    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": true}})).await;
    let refused = async |cluster: &TestCluster| {
        until(PATIENCE, async || {
            let (words, message) = of_client(cluster, "reporting-agent").await?;
            expect_eq(words.as_str(), "False/WriteFailed False True")?;
            expect_eq(message.contains("change freeze"), true)?;
            let (words, message) = of_server(cluster).await?;
            expect_eq(words.as_str(), "False/WriteFailed False True")?;
            expect_eq(message.contains("change freeze"), true)
        })
        .await;
    };
    refused(&cluster).await;
    // The others have what the pods serve.
    assert_eq!(of_client(&cluster, "readonly-dashboard").await.unwrap().0, "True/Available False False");

    // An operator that is started meanwhile says the same.
    cluster.kill_operator().await;
    cluster.start_operator();
    cluster.until_operator_has_read_everything().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    refused(&cluster).await;
    assert_eq!(of_client(&cluster, "readonly-dashboard").await.unwrap().0, "True/Available False False");

    // It is written soon after the freeze, and confirmed by one pod after the other.
    kubelet.stick(&kubelet.pods()[1]);
    cluster.control_plane.kubectl(["label", "namespace", "sales", "frozen-"]).unwrap();
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        expect_eq(cluster.policy("sales").await?.clients.iter().any(|client| client.suspended), true)?;
        let (words, message) = of_client(&cluster, "reporting-agent").await?;
        expect_eq(words.as_str(), "False/Publishing True False")?;
        expect_eq(message.contains(&kubelet.pods()[1]), true)
    })
    .await;
    kubelet.release(&kubelet.pods()[1]);
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        expect_eq(of_client(&cluster, "reporting-agent").await?.0.as_str(), "True/Suspended False False")
    })
    .await;

    // What no longer is in the spec is gone once the pods have confirmed that.
    kubelet.stick(&kubelet.pods()[0]);
    cluster.patch::<McpClient>("sales", "readonly-dashboard", json!({"spec": {"access": []}})).await;
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        expect_eq(of_client(&cluster, "readonly-dashboard").await?.0.as_str(), "False/Publishing True False")
    })
    .await;
    cluster.kill_operator().await;
    cluster.start_operator();
    cluster.until_operator_has_read_everything().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(of_client(&cluster, "readonly-dashboard").await.unwrap().0, "False/Publishing True False");
    kubelet.release(&kubelet.pods()[0]);
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        expect_eq(of_client(&cluster, "readonly-dashboard").await?.0.as_str(), "True/Available False False")?;
        let client = cluster.api::<McpClient>("sales").get("readonly-dashboard").await.unwrap();
        expect_eq(client.status.unwrap().servers.len(), 0)
    })
    .await;
}

#[tokio::test]
async fn two_clients_of_one_spec_have_one_status_whatever_they_were_and_a_server_without_pods_is_ready() {
    let cluster = TestCluster::start().await;
    cluster.namespace("sales").await;
    for manifest in [server(0), client("xx", false), client("yy", true)] {
        cluster.apply(&manifest);
    }
    cluster.until_client_condition("sales", "yy", "Ready", "True/Suspended").await;
    cluster.patch::<McpClient>("sales", "yy", json!({"spec": {"suspended": false}})).await;
    until(PATIENCE, async || {
        for name in ["xx", "yy"] {
            expect_eq(of_client(&cluster, name).await?.0.as_str(), "True/ScaledToZero False False")?;
        }
        expect_eq(of_server(&cluster).await?.0.as_str(), "True/ScaledToZero False False")?;
        let table = cluster.control_plane.kubectl(["get", "mcps,mcpc", "-n", "sales", "-o", "wide"]);
        let table = table.map_err(|error| error.to_string())?;
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        expect_eq(&rows[0][..7], &["NAME", "READY", "REASON", "TOOLS", "CLIENTS", "PODS", "CURRENT"])?;
        expect_eq(&rows[1][1..7], &["True", "ScaledToZero", "1", "2", "0/0", "0/0"])?;
        expect_eq(&rows[3][..5], &["NAME", "READY", "REASON", "SERVERS", "KEY"])?;
        expect_eq(&rows[4][1..5], &["True", "ScaledToZero", "1/1", "xx-key"])
    })
    .await;
}

#[tokio::test]
async fn pods_that_cannot_be_created_stall_the_server_in_the_words_of_who_refuses_until_that_ends() {
    let cluster = TestCluster::start().await;
    cluster.namespace("sales").await;
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    let quotas = cluster.api::<ResourceQuota>("sales");
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    until(PATIENCE, async || {
        let status = quotas.get("none").await.unwrap().status.unwrap_or_default();
        status.hard.map(drop).ok_or_else(|| "the quota is not in force yet".to_owned())
    })
    .await;
    cluster.apply(&server(2));
    cluster.apply(&client("bot", false));
    until(PATIENCE, async || {
        let (words, message) = of_server(&cluster).await?;
        expect_eq(words.as_str(), "False/PodsNotReady False True")?;
        expect_eq(message.contains("exceeded quota: none"), true)?;
        let (words, message) = of_client(&cluster, "bot").await?;
        expect_eq(words.as_str(), "False/PodsNotReady False True")?;
        expect_eq(message.contains("exceeded quota: none"), true)
    })
    .await;
    let table = cluster.control_plane.kubectl(["get", "mcps", "-n", "sales"]).unwrap();
    assert!(table.contains("0/2"), "{table}");
    quotas.delete("none", &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_somebody_changed_is_put_back_at_once_and_then_left_alone() {
    let cluster = TestCluster::start_with_crm().await;
    let _kubelet = Kubelet::start(&cluster, "sales", 4, 2).await;
    cluster.until_server_condition("sales", "Ready", "True/Available").await;
    cluster.until_client_condition("sales", "reporting-agent", "Ready", "True/Available").await;
    cluster.until_quiet(Duration::from_secs(3)).await;
    let server = cluster.api::<McpServer>("sales").get("crm").await.unwrap().status.unwrap();
    let client = cluster.api::<McpClient>("sales").get("reporting-agent").await.unwrap().status.unwrap();
    let mark = cluster.control_plane.audit().mark().unwrap();
    let lie = json!({"status": {"url": "http://evil", "conditions": [], "policy": null, "serversReady": "9/9", "apiKey": null}});
    for (kind, name) in [("mcpservers", "crm"), ("mcpclients", "reporting-agent")] {
        let arguments =
            ["patch", kind, name, "-n", "sales", "--subresource=status", "--type=merge", "-p", &lie.to_string()];
        cluster.control_plane.kubectl(arguments).unwrap();
    }
    until(PROMPTLY, async || {
        expect_eq(cluster.api::<McpServer>("sales").get("crm").await.unwrap().status.as_ref(), Some(&server))?;
        expect_eq(
            cluster.api::<McpClient>("sales").get("reporting-agent").await.unwrap().status.as_ref(),
            Some(&client),
        )
    })
    .await;
    cluster.until_quiet(Duration::from_secs(3)).await;
    let writes: Vec<String> = cluster.writes(mark).into_iter().map(|write| write.resource).collect();
    let statuses = writes.iter().filter(|resource| resource.ends_with("/status")).count();
    assert!(statuses <= 4, "it may be found wrong once more while the write comes back: {writes:?}");
}

#[tokio::test]
async fn an_object_of_the_longest_name_has_a_status_and_events() {
    let cluster = TestCluster::start().await;
    cluster.namespace("sales").await;
    cluster.apply(&server(0));
    let name = "x".repeat(253);
    cluster.apply(&client(&name, false));
    until(PATIENCE, async || {
        expect_eq(of_client(&cluster, &name).await?.0.as_str(), "True/ScaledToZero False False")?;
        let events =
            cluster.api::<Event>("sales").list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let about = |event: &Event| event.regarding.as_ref().and_then(|about| about.name.clone()) == Some(name.clone());
        expect_eq(events.items.iter().any(about), true)
    })
    .await;
}
