//! Publish, nudge, confirm: the status reports what each pod serves, and nothing is written while nothing changes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use portcullis_crds::{McpClient, McpServer};
use serde_json::json;

use crate::harness::{TestCluster, expect, until};
use crate::kubelet::Kubelet;

async fn synced(cluster: &TestCluster, reason: &str) {
    until(20, async || expect(cluster.server_condition("sales", "PolicySynced").await?.0.as_str(), reason)).await;
}

#[tokio::test]
async fn each_pod_is_nudged_until_it_serves_what_is_published_and_then_left_alone() {
    let mut cluster = TestCluster::start().await;
    cluster.crm("sales").await;
    until(20, async || expect(cluster.served("sales").await?.len(), 3)).await;
    let kubelet = Kubelet::start(&cluster, "sales", 1, 2).await;
    let [one, other] = kubelet.pods().try_into().unwrap();

    // They started with what was published: that is confirmed without a nudge.
    synced(&cluster, "True/Synced").await;
    until(20, async || expect(cluster.server_condition("sales", "Ready").await?.0.as_str(), "True/Available")).await;
    for client in ["customer-service-agent", "readonly-dashboard", "reporting-agent"] {
        until(20, async || {
            expect(cluster.client_condition("sales", client, "Ready").await?.0.as_str(), "True/Available")
        })
        .await;
    }
    for pod in [&one, &other] {
        let annotations = cluster.api::<Pod>("sales").get(pod).await.unwrap().metadata.annotations.unwrap_or_default();
        assert_eq!(annotations.get("portcullis.dev/sync"), None);
    }

    // One takes up the change when it is nudged, the other is stuck: the status names it, and what it serves.
    kubelet.stick(&other);
    let old = cluster.policy("sales").await.unwrap();
    let narrower = json!({"spec": {"access": [{"serverRef": {"name": "crm"}, "tools": ["get_deal_summary"], "maxRecordsPerQuery": 5}]}});
    cluster.patch::<McpClient>("sales", "reporting-agent", narrower).await;
    until(5, async || {
        kubelet.sync(&cluster, "sales").await;
        let new = cluster.policy("sales").await?;
        let pods = cluster.api::<McpServer>("sales").get("crm").await.unwrap().status.unwrap().pods.unwrap();
        let serving: Vec<_> =
            pods.revisions.iter().map(|pod| (pod.pod.as_str(), pod.policy_revision.as_deref())).collect();
        expect(
            serving,
            vec![(other.as_str(), Some(old.revision.as_str())), (one.as_str(), Some(new.revision.as_str()))],
        )?;
        expect((pods.total, pods.ready, pods.current), (2, 2, 1))
    })
    .await;
    assert_eq!(cluster.server_condition("sales", "PolicySynced").await.unwrap().0, "Unknown/Publishing");
    assert_eq!(
        cluster.server_condition("sales", "Ready").await.unwrap().0,
        "True/Available",
        "an edit is not an outage"
    );
    // It is nudged five times, and then left to kubelet.
    until(20, async || {
        let pod = cluster.api::<Pod>("sales").get(&other).await.unwrap();
        let nudge = pod.metadata.annotations.unwrap_or_default().remove("portcullis.dev/sync");
        expect(nudge, Some(format!("{}.5", cluster.policy("sales").await?.revision.short())))
    })
    .await;
    idle(&mut cluster).await;

    // 120 s after the publication it lags, also for an operator that was restarted since.
    until(120, async || {
        let (condition, message) = cluster.server_condition("sales", "PolicySynced").await?;
        expect(condition.as_str(), "False/PodLagging")?;
        expect(message.contains(&format!("pod {other} serves policy {}", old.revision.short())), true)
    })
    .await;
}

/// Nothing is written, neither while the operator runs nor when it is restarted.
async fn idle(cluster: &mut TestCluster) {
    cluster.settled(Duration::from_secs(5)).await;
    let mark = cluster.control_plane.audit().mark().unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(cluster.writes(mark), []);
    cluster.kill_operator().await;
    cluster.start_operator();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let nudges = |write: &portcullis_tests::Write| write.resource == "pods";
    // The pod that is stuck is nudged again: the new process does not know that it was.
    let writes: Vec<_> = cluster.writes(mark).into_iter().filter(|write| !nudges(write)).collect();
    assert_eq!(writes, []);
}

#[tokio::test]
async fn while_nothing_changes_nothing_is_written_not_even_after_a_restart() {
    let mut cluster = TestCluster::start().await;
    cluster.crm("sales").await;
    until(20, async || expect(cluster.served("sales").await?.len(), 3)).await;
    let _kubelet = Kubelet::start(&cluster, "sales", 2, 2).await;
    synced(&cluster, "True/Synced").await;
    cluster.settled(Duration::from_secs(4)).await;
    let mark = cluster.control_plane.audit().mark().unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    cluster.kill_operator().await;
    cluster.start_operator();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(cluster.writes(mark), []);
}
