//! Pods that have the labels of a server and are not its own, and pods of its own that are not gone yet.

use std::net::Ipv4Addr;

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod, events::v1::Event};
use kube::api::{DeleteParams, ListParams, PostParams};
use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{PATIENCE, TestCluster, expect_eq, until};
use serde_json::{Value, json};

use crate::kubelet::Kubelet;

/// A pod's template with the labels and the admin port of the pods of `crm`.
fn template(more: &[(&str, &str)]) -> Value {
    let mut labels = json!({
        "app.kubernetes.io/managed-by": "portcullis-operator", "app.kubernetes.io/name": "portcullis-server",
        "app.kubernetes.io/instance": "crm", "app.kubernetes.io/part-of": "portcullis",
    });
    for (name, value) in more {
        labels[*name] = json!(value);
    }
    let ports = json!([{"name": "mcp", "containerPort": 3000}, {"name": "admin", "containerPort": 9090}]);
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "lure", "ports": ports}]}})
}

async fn bare_pod(cluster: &TestCluster, name: &str) -> Pod {
    let mut pod = template(&[]);
    pod["metadata"]["name"] = json!(name);
    cluster.api("sales").create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap()
}

/// The pod of a ReplicaSet that the Deployment does not adopt, since the ReplicaSet itself has other labels.
async fn pod_of_another_replica_set(cluster: &TestCluster) -> Pod {
    let own = [("example.com/set", "theirs")];
    let set = json!({
        "metadata": {"name": "theirs", "labels": {"example.com/set": "theirs"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"example.com/set": "theirs"}}, "template": template(&own)},
    });
    let sets = cluster.api::<ReplicaSet>("sales");
    sets.create(&PostParams::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
    let pods = cluster.api::<Pod>("sales");
    until(PATIENCE, async || {
        let found = pods.list(&ListParams::default().labels("example.com/set=theirs")).await.unwrap().items;
        found.into_iter().next().ok_or_else(|| "no pod yet".to_owned())
    })
    .await
}

async fn ready(cluster: &TestCluster, client: &str) -> Result<String, String> {
    Ok(cluster.client_condition("sales", client, "Ready").await?.0)
}

async fn suspend(cluster: &TestCluster, client: &str) {
    cluster.patch::<McpClient>("sales", client, json!({"spec": {"suspended": true}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_not_the_server_s_own_confirms_nothing_holds_nothing_back_and_is_named() {
    let cluster = TestCluster::start_with_crm().await;
    let mut kubelet = Kubelet::start(&cluster, "sales", 5, 2).await;
    let address = |host| Ipv4Addr::new(127, 77, 5, host);
    let lure = bare_pod(&cluster, "lure").await;
    let silent = bare_pod(&cluster, "silent").await;
    let theirs = pod_of_another_replica_set(&cluster).await;
    kubelet.stranger(&cluster, "sales", &lure, address(11), true).await;
    kubelet.stranger(&cluster, "sales", &silent, address(12), false).await;
    kubelet.stranger(&cluster, "sales", &theirs, address(13), true).await;

    // They hold nothing back, are not counted, and are said.
    let names = [&lure, &silent, &theirs].map(|pod| pod.metadata.name.clone().unwrap());
    until(PATIENCE, async || {
        let (synced, _) = cluster.server_condition("sales", "PolicySynced").await?;
        let (ready, message) = cluster.server_condition("sales", "Ready").await?;
        expect_eq((synced.as_str(), ready.as_str()), ("True/Synced", "True/Available"))?;
        for name in &names {
            let is_said = message.contains(&format!("pod {name} has the labels of this server"));
            expect_eq(is_said, true).map_err(|error| format!("{error}: {message}"))?;
        }
        let status = cluster.api::<McpServer>("sales").get("crm").await.unwrap().status.unwrap().pods.unwrap();
        expect_eq((status.total, status.ready, status.revisions.len()), (2, 2, 2))?;
        let events = cluster.api::<Event>("sales").list(&ListParams::default()).await.unwrap().items;
        let said = events.iter().filter(|event| event.reason.as_deref() == Some("ForeignPod"));
        expect_eq(said.count(), 3).map_err(|error| format!("each is said once: {error}"))
    })
    .await;

    // They confirm nothing: neither beside pods of the server's own, nor alone.
    kubelet.pods().iter().for_each(|pod| kubelet.stick(pod));
    suspend(&cluster, "reporting-agent").await;
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        expect_eq(cluster.policy("sales").await?.clients.iter().any(|client| client.suspended), true)?;
        expect_eq(ready(&cluster, "reporting-agent").await?.as_str(), "False/Publishing")
    })
    .await;
    for pod in &names {
        let annotations = cluster.api::<Pod>("sales").get(pod).await.unwrap().metadata.annotations.unwrap_or_default();
        assert_eq!(annotations.get("portcullis.dev/sync"), None, "a pod of somebody else is not written");
    }
    kubelet.pods().iter().for_each(|pod| kubelet.release(pod));
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        expect_eq(ready(&cluster, "reporting-agent").await?.as_str(), "True/Suspended")
    })
    .await;
    cluster.patch::<McpServer>("sales", "crm", json!({"spec": {"replicas": 0}})).await;
    until(PATIENCE, async || expect_eq(ready(&cluster, "readonly-dashboard").await?.as_str(), "True/ScaledToZero"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_being_deleted_admits_until_it_confirms_or_is_gone() {
    let cluster = TestCluster::start_with_crm().await;
    let kubelet = Kubelet::start(&cluster, "sales", 6, 2).await;
    cluster.until_client_condition("sales", "reporting-agent", "Ready", "True/Available").await;
    let leaving = kubelet.pods().remove(0);
    kubelet.stick(&leaving);
    cluster.patch::<Pod>("sales", &leaving, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    cluster.api::<Pod>("sales").delete(&leaving, &DeleteParams::default()).await.unwrap();
    suspend(&cluster, "reporting-agent").await;
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        let (ready, message) = cluster.client_condition("sales", "reporting-agent", "Ready").await?;
        expect_eq(ready.as_str(), "False/Publishing")?;
        let words = format!("pod {leaving}, which is not gone yet, serves policy");
        expect_eq(message.contains(&words), true).map_err(|error| format!("{error}: {message}"))
    })
    .await;
    // It is none of the pods that are to be: the server itself is as the others are.
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        expect_eq(cluster.server_condition("sales", "PolicySynced").await?.0.as_str(), "True/Synced")?;
        expect_eq(ready(&cluster, "readonly-dashboard").await?.as_str(), "True/Available")?;
        expect_eq(ready(&cluster, "reporting-agent").await?.as_str(), "False/Publishing")
    })
    .await;
    cluster.patch::<Pod>("sales", &leaving, json!({"metadata": {"finalizers": null}})).await;
    until(PATIENCE, async || expect_eq(ready(&cluster, "reporting-agent").await?.as_str(), "True/Suspended")).await;
}

/// Somebody takes the labels away by which its ReplicaSet and the operator know it. The Service still sends calls to it.
#[tokio::test]
async fn a_pod_that_was_released_holds_back_what_it_does_not_serve_also_for_an_operator_that_never_knew_it() {
    let mut cluster = TestCluster::start_with_crm().await;
    let kubelet = Kubelet::start(&cluster, "sales", 7, 2).await;
    cluster.until_client_condition("sales", "reporting-agent", "Ready", "True/Available").await;
    cluster.kill_operator().await;
    let released = kubelet.pods().remove(0);
    kubelet.stick(&released);
    let labels = json!({"pod-template-hash": null, "app.kubernetes.io/managed-by": null});
    cluster.patch::<Pod>("sales", &released, json!({"metadata": {"labels": labels}})).await;
    until(PATIENCE, async || {
        let pod = cluster.api::<Pod>("sales").get(&released).await.map_err(|error| error.to_string())?;
        expect_eq(pod.metadata.owner_references.is_none_or(|owners| owners.is_empty()), true)
    })
    .await;
    suspend(&cluster, "reporting-agent").await;
    cluster.start_operator();
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        let (ready, message) = cluster.client_condition("sales", "reporting-agent", "Ready").await?;
        expect_eq(ready.as_str(), "False/Publishing")?;
        let words = format!("so far pod {released}, which is not gone yet, serves policy");
        expect_eq(message.contains(&words), true).map_err(|error| format!("{error}: {message}"))?;
        let (_, message) = cluster.server_condition("sales", "Ready").await?;
        let words = format!("pod {released} mounts the policy of this server and does not belong to its Deployment");
        expect_eq(message.contains(&words), true).map_err(|error| format!("{error}: {message}"))
    })
    .await;
    kubelet.release(&released);
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        expect_eq(ready(&cluster, "reporting-agent").await?.as_str(), "True/Suspended")
    })
    .await;
}
