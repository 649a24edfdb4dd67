//! An operator whose CustomResourceDefinitions are missing or older than it is, or whose account lacks a right: it says so in its log and
//! on `/readyz`, ends with an exit code of its own, and works once everything is there.

use std::time::Duration;

use portcullis_crds::McpClient;
use portcullis_tests::{PATIENCE, TestCluster, expect_eq, repository, until};
use serde_json::{Value, json};

/// The exit code of an operator that lacks something.
const LACKING: Option<i32> = Some(4);
const READY: &str = "ok\n";

/// `/readyz` is not ready, with these words, until the operator ends; and the log has them once, as an error.
async fn ends_with(cluster: &mut TestCluster, words: &str) {
    let operator = cluster.operator.as_ref().unwrap();
    let line: Value = serde_json::from_str(&operator.line(words, PATIENCE).await.unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    until(PATIENCE, async || {
        let (status, text) = cluster.page("/readyz").await?;
        expect_eq((status, text.contains(words)), (503, true)).map_err(|error| format!("{error}: {text}"))
    })
    .await;
    let mut operator = cluster.operator.take().unwrap();
    assert_eq!(operator.ended(PATIENCE).await.unwrap().code(), LACKING);
    operator.output().closed(PATIENCE).await.unwrap();
    let said = operator.output().text();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(words)).collect();
    // The last one says why the process ends.
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[1].starts_with("the operator cannot work in this cluster: "), "{said}");
}

async fn is_ready(cluster: &TestCluster) {
    until(PATIENCE, async || expect_eq(cluster.page("/readyz").await?, (200, READY.to_owned()))).await;
}

fn install(cluster: &TestCluster, path: &str) {
    let path = repository(path);
    cluster.control_plane.kubectl(["apply", "--server-side", "--force-conflicts", "-f", &path]).unwrap();
}

#[tokio::test]
async fn definitions_that_are_missing_or_older_are_named_and_the_operator_works_once_they_are_there() {
    const MISSING: &str = "CustomResourceDefinition mcpclients.portcullis.dev is missing";
    let mut cluster = TestCluster::without_operator().await;
    cluster.control_plane.kubectl(["delete", "crd", "mcpclients.portcullis.dev"]).unwrap();
    cluster.start_operator();
    ends_with(&mut cluster, MISSING).await;

    // They appear in time.
    cluster.start_operator();
    cluster.operator.as_ref().unwrap().line(MISSING, PATIENCE).await.unwrap();
    install(&cluster, "crds");
    let operator = cluster.operator.as_ref().unwrap();
    operator.line("nothing that the operator needs is missing any longer", PATIENCE).await.unwrap();
    cluster.until_operator_has_read_everything().await;
    is_ready(&cluster).await;

    // One is replaced by an older one while the operator runs.
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspended";
    let older = json!([{"op": "remove", "path": path}]).to_string();
    let patch = ["patch", "crd", "mcpclients.portcullis.dev", "--type=json", "-p", &older];
    cluster.control_plane.kubectl(patch).unwrap();
    const OLDER: &str = "mcpclients.portcullis.dev is older than this operator: it lacks spec.suspended";
    ends_with(&mut cluster, OLDER).await;
    cluster.start_operator();
    ends_with(&mut cluster, OLDER).await;
    install(&cluster, "crds");
    cluster.start_operator();
    is_ready(&cluster).await;

    // One is deleted while the operator runs.
    cluster.control_plane.kubectl(["delete", "crd", "mcpservers.portcullis.dev"]).unwrap();
    ends_with(&mut cluster, "CustomResourceDefinition mcpservers.portcullis.dev is missing").await;
    install(&cluster, "crds");
    cluster.start_operator();
    is_ready(&cluster).await;
}

/// The account lacks a right from now on.
async fn take_away(cluster: &TestCluster, resource: &str, verb: &str) {
    let role = cluster.control_plane.kubectl(["get", "clusterrole", "portcullis-operator", "-o", "json"]).unwrap();
    let role: Value = serde_json::from_str(&role).unwrap();
    let rules = role["rules"].as_array().unwrap();
    let rule = rules.iter().position(|rule| rule["resources"].as_array().unwrap().contains(&json!(resource))).unwrap();
    let verbs: Vec<_> = rules[rule]["verbs"].as_array().unwrap().iter().filter(|it| **it != verb).collect();
    // A rule has a verb at least.
    let patch = match verbs.is_empty() {
        true => json!([{"op": "remove", "path": format!("/rules/{rule}")}]).to_string(),
        false => json!([{"op": "replace", "path": format!("/rules/{rule}/verbs"), "value": verbs}]).to_string(),
    };
    let patch = ["patch", "clusterrole", "portcullis-operator", "--type=json", "-p", &patch];
    cluster.control_plane.kubectl(patch).unwrap();
    let account = "--as=system:serviceaccount:portcullis-system:portcullis-operator";
    until(PATIENCE, async || {
        let may = cluster.control_plane.kubectl(["auth", "can-i", verb, resource, account]);
        expect_eq(may.is_err(), true)
    })
    .await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_and_one_that_is_taken_away_holds_up_no_revocation() {
    let mut cluster = TestCluster::start_with_crm().await;
    is_ready(&cluster).await;

    // Nothing that happens here needs it, so that only a check finds out.
    take_away(&cluster, "replicasets", "get").await;
    const GET: &str = "the account of the operator lacks the rights to get replicasets; ";
    cluster.operator.as_ref().unwrap().line(GET, PATIENCE * 3).await.unwrap();
    let (status, text) = cluster.page("/readyz").await.unwrap();
    assert_eq!((status, text.contains(GET)), (503, true), "{text}");
    // Longer than it would take to end. The time itself is the condition: nothing else shows that it does not.
    tokio::time::sleep(Duration::from_secs(12)).await;
    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": true}})).await;
    until(PATIENCE, async || {
        let policy = cluster.policy("sales").await?;
        let suspended = policy.clients.iter().any(|it| it.id.as_str() == "reporting-agent" && it.suspended);
        expect_eq(suspended, true)
    })
    .await;
    assert!(cluster.operator.as_mut().unwrap().is_running());

    // At the start there is nobody who waits for this operator.
    cluster.kill_operator().await;
    cluster.start_operator();
    ends_with(&mut cluster, GET).await;
    take_away(&cluster, "secrets", "create").await;
    cluster.start_operator();
    ends_with(&mut cluster, "lacks the rights to create secrets, get replicasets; ").await;

    // They are granted in time.
    cluster.start_operator();
    cluster.operator.as_ref().unwrap().line("lacks the rights to", PATIENCE).await.unwrap();
    install(&cluster, "operator/rbac.yaml");
    is_ready(&cluster).await;
}
