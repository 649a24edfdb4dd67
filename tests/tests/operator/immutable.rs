//! A document that somebody made immutable: a kubelet that reads it then never sees what replaces it, so that the pods leave its name.
//! Until none of them mounts it, the documents are written by both names.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use portcullis_crds::McpClient;
use portcullis_crds::contract::{PublishedCredentials, PublishedPolicy};
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, expect_eq, until};
use serde_json::{Value, json};

use crate::faulty_proxy::FaultyProxy;
use crate::killed::is_killed_after;
use crate::kubelet::Kubelet;

const BASE: &str = "crm-policy-v1";
const ALTERNATE: &str = "crm-policy-v1-alt";

fn credentials_of(policy: &str) -> String {
    policy.replace("-policy-", "-credentials-")
}

fn other(policy: &str) -> &'static str {
    if policy == BASE { ALTERNATE } else { BASE }
}

/// The policy that new pods mount, or both documents if the credentials do not have the same name.
async fn mounted(cluster: &TestCluster) -> String {
    let deployment = cluster.api::<Deployment>("sales").get("crm").await.unwrap();
    let deployment = serde_json::to_value(deployment).unwrap();
    let sources = &deployment["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"];
    let policy = sources[0]["configMap"]["name"].as_str().unwrap().to_owned();
    let is_pair = sources[1]["secret"]["name"] == credentials_of(&policy);
    if is_pair { policy } else { sources.to_string() }
}

async fn make_immutable(cluster: &TestCluster, policy: &str, is_secret: bool) {
    let immutable = json!({"immutable": true});
    match is_secret {
        true => cluster.patch::<Secret>("sales", &credentials_of(policy), immutable).await,
        false => cluster.patch::<ConfigMap>("sales", policy, immutable).await,
    }
}

/// Both documents of one name, which can be changed.
async fn documents(cluster: &TestCluster, policy: &str) -> Result<(PublishedPolicy, PublishedCredentials), String> {
    let secret =
        cluster.api::<Secret>("sales").get(&credentials_of(policy)).await.map_err(|error| error.to_string())?;
    let config_map = cluster.api::<ConfigMap>("sales").get(policy).await.map_err(|error| error.to_string())?;
    expect_eq((config_map.immutable, secret.immutable), (None, None))?;
    Ok((cluster.policy_in("sales", policy).await?, cluster.credentials_in("sales", &credentials_of(policy)).await?))
}

/// Which documents there are.
async fn names(cluster: &TestCluster) -> BTreeSet<String> {
    let parameters = ListParams::default().labels("app.kubernetes.io/instance=crm");
    let policies = cluster.api::<ConfigMap>("sales").list(&parameters).await.unwrap().items;
    let secrets = cluster.api::<Secret>("sales").list(&parameters).await.unwrap().items;
    policies
        .into_iter()
        .map(|it| it.metadata)
        .chain(secrets.into_iter().map(|it| it.metadata))
        .filter_map(|it| it.name)
        .collect()
}

/// Lets the new pods take the place of the old ones, and waits until only the documents of this name are left.
async fn roll_out(cluster: &TestCluster, kubelet: &mut Kubelet, policy: &str) {
    until(PATIENCE, async || {
        kubelet.replace(cluster, "sales").await;
        kubelet.sync(cluster, "sales").await;
        expect_eq(names(cluster).await, [policy.to_owned(), credentials_of(policy)].into())
    })
    .await;
    until(PATIENCE, async || {
        kubelet.sync(cluster, "sales").await;
        expect_eq(cluster.server_condition("sales", "Ready").await?.0, "True/Available".to_owned())?;
        expect_eq(cluster.server_condition("sales", "PolicySynced").await?.0, "True/Synced".to_owned())
    })
    .await;
    let pods = cluster.api::<Pod>("sales").list(&ListParams::default()).await.unwrap().items;
    let pods: Vec<Value> = pods.into_iter().map(|pod| serde_json::to_value(pod).unwrap()).collect();
    let mounted = |pod: &Value| pod["spec"]["volumes"][0]["projected"]["sources"][0]["configMap"]["name"] == policy;
    assert!(pods.len() == 2 && pods.iter().all(mounted), "{pods:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_leave_a_name_whose_document_was_immutable_and_revocations_reach_those_of_both_names_meanwhile() {
    let mut cluster = TestCluster::start_with_crm().await;
    let mut kubelet = Kubelet::start(&cluster, "sales", 8, 2).await;
    cluster.until_server_condition("sales", "Ready", "True/Available").await;

    make_immutable(&cluster, BASE, false).await;
    until(PATIENCE, async || expect_eq(mounted(&cluster).await.as_str(), ALTERNATE)).await;
    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": true}})).await;
    cluster.api::<McpClient>("sales").delete("readonly-dashboard", &DeleteParams::default()).await.unwrap();
    for name in [BASE, ALTERNATE] {
        until(PROMPTLY, async || {
            let (policy, credentials) = documents(&cluster, name).await?;
            let suspended = policy.clients.iter().find(|client| client.id.as_str() == "reporting-agent");
            expect_eq(suspended.map(|client| client.suspended), Some(true))?;
            expect_eq((policy.clients.len(), credentials.clients.len()), (2, 2))
        })
        .await;
    }
    roll_out(&cluster, &mut kubelet, ALTERNATE).await;
    cluster.until_client_condition("sales", "reporting-agent", "Ready", "True/Suspended").await;

    // While no operator runs; it is deleted as well, so that the next one does not see it.
    for (from, is_secret, is_deleted) in [(ALTERNATE, true, false), (BASE, true, true), (ALTERNATE, false, true)] {
        cluster.kill_operator().await;
        make_immutable(&cluster, from, is_secret).await;
        if is_deleted && is_secret {
            let secrets = cluster.api::<Secret>("sales");
            secrets.delete(&credentials_of(from), &DeleteParams::default()).await.unwrap();
        } else if is_deleted {
            cluster.api::<ConfigMap>("sales").delete(from, &DeleteParams::default()).await.unwrap();
        }
        cluster.start_operator();
        roll_out(&cluster, &mut kubelet, other(from)).await;
    }

    // A name that is somebody else's is never mounted.
    let foreign = json!({"metadata": {"name": ALTERNATE}, "data": {"policy.yaml": "contract: 1"}});
    let foreign: ConfigMap = serde_json::from_value(foreign).unwrap();
    cluster.api::<ConfigMap>("sales").create(&PostParams::default(), &foreign).await.unwrap();
    make_immutable(&cluster, BASE, false).await;
    until(PATIENCE, async || {
        let (condition, message) = cluster.server_condition("sales", "Ready").await?;
        expect_eq((condition.as_str(), message.contains(ALTERNATE)), ("False/NotOwned", true))
    })
    .await;
    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": false}})).await;
    until(PROMPTLY, async || {
        expect_eq(documents(&cluster, BASE).await?.0.clients.iter().any(|client| client.suspended), false)
    })
    .await;
    let edit = json!([{"op": "replace", "path": "/spec/template/spec/volumes/0/projected/sources/0/configMap/name", "value": ALTERNATE}]);
    cluster
        .control_plane
        .kubectl(["patch", "deployment", "crm", "-n", "sales", "--type=json", "-p", &edit.to_string()])
        .unwrap();
    until(PROMPTLY, async || expect_eq(mounted(&cluster).await.as_str(), BASE)).await;
    cluster.api::<ConfigMap>("sales").delete(ALTERNATE, &DeleteParams::default()).await.unwrap();
    roll_out(&cluster, &mut kubelet, ALTERNATE).await;
    cluster.until_quiet(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_killed_after_any_write_still_has_the_pods_leave_the_name() {
    let mut cluster = TestCluster::without_operator().await;
    let proxy = FaultyProxy::start(&cluster.kubeconfig, cluster.control_plane.folder()).await;
    cluster.kubeconfig = proxy.kubeconfig.clone();
    cluster.crm("sales").await;
    cluster.start_operator();
    cluster.until_served("sales", &["customer-service-agent", "readonly-dashboard", "reporting-agent"]).await;
    let mut kubelet = Kubelet::start(&cluster, "sales", 9, 2).await;
    let mut kills = 0;
    for writes in 1..40 {
        let from = mounted(&cluster).await;
        roll_out(&cluster, &mut kubelet, &from).await;
        cluster.kill_operator().await;
        make_immutable(&cluster, &from, writes % 2 == 0).await;
        let has_moved = async |cluster: &TestCluster| mounted(cluster).await == other(&from);
        let was_killed = is_killed_after(&mut cluster, &proxy, writes, has_moved).await;
        kills += usize::from(was_killed);
        cluster.start_operator();
        roll_out(&cluster, &mut kubelet, other(&from)).await;
        if !was_killed {
            break;
        }
    }
    assert!(kills >= 5, "there must be more writes to be killed after than {kills}");
}
