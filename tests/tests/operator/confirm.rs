//! Publish, nudge, confirm: the status reports what each pod serves, and nothing is written while nothing changes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{PATIENCE, TestCluster, Write, expect_eq, until};
use serde_json::json;

use crate::kubelet::Kubelet;

/// After how long a pod that serves an old policy is reported as lagging.
const LAGGING: Duration = Duration::from_secs(120);

/// What the operator writes in this time. The time is what is tested: nothing else shows that no write will follow.
async fn writes_within(cluster: &TestCluster, time: Duration) -> Vec<Write> {
    let mark = cluster.control_plane.audit().mark().unwrap();
    tokio::time::sleep(time).await;
    cluster.writes(mark)
}

/// Kills the operator and starts it again. Returns what the new one writes until it has read everything, and for this time after.
async fn writes_of_a_restart(cluster: &mut TestCluster, time: Duration) -> Vec<Write> {
    cluster.kill_operator().await;
    let mark = cluster.control_plane.audit().mark().unwrap();
    cluster.start_operator();
    cluster.until_operator_has_read_everything().await;
    tokio::time::sleep(time).await;
    cluster.writes(mark)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pod_is_nudged_until_it_serves_what_is_published_and_then_left_alone() {
    let mut cluster = TestCluster::start_with_crm().await;
    let kubelet = Kubelet::start(&cluster, "sales", 1, 2).await;
    let [one, other] = kubelet.pods().try_into().unwrap();

    // They started with what was published: that is confirmed without a nudge.
    cluster.until_server_condition("sales", "PolicySynced", "True/Synced").await;
    cluster.until_server_condition("sales", "Ready", "True/Available").await;
    until(PATIENCE, async || {
        let (_, metrics) = cluster.page("/metrics").await?;
        let confirmed = "portcullis_operator_publication_confirmed_seconds_count 1\n";
        if metrics.contains(confirmed) { Ok(()) } else { Err(format!("there is no {confirmed} in\n{metrics}")) }
    })
    .await;
    for client in ["customer-service-agent", "readonly-dashboard", "reporting-agent"] {
        cluster.until_client_condition("sales", client, "Ready", "True/Available").await;
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
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        let new = cluster.policy("sales").await?;
        let pods = cluster.api::<McpServer>("sales").get("crm").await.unwrap().status.unwrap().pods.unwrap();
        let serving: Vec<_> =
            pods.revisions.iter().map(|pod| (pod.pod.as_str(), pod.policy_revision.as_deref())).collect();
        expect_eq(
            serving,
            vec![(other.as_str(), Some(old.revision.as_str())), (one.as_str(), Some(new.revision.as_str()))],
        )?;
        expect_eq((pods.total, pods.ready, pods.current), (2, 2, 1))
    })
    .await;
    assert_eq!(cluster.server_condition("sales", "PolicySynced").await.unwrap().0, "Unknown/Publishing");
    assert_eq!(
        cluster.server_condition("sales", "Ready").await.unwrap().0,
        "True/Available",
        "an edit is not an outage"
    );
    // It is nudged five times, and then left to kubelet.
    until(PATIENCE, async || {
        let pod = cluster.api::<Pod>("sales").get(&other).await.unwrap();
        let nudge = pod.metadata.annotations.unwrap_or_default().remove("portcullis.dev/sync");
        expect_eq(nudge, Some(format!("{}.5", cluster.policy("sales").await?.revision.short())))
    })
    .await;
    idle(&mut cluster).await;

    // 120 s after the publication it lags, also for an operator that was restarted since.
    until(LAGGING + PATIENCE, async || {
        let (condition, message) = cluster.server_condition("sales", "PolicySynced").await?;
        expect_eq(condition.as_str(), "False/PodLagging")?;
        expect_eq(message.contains(&format!("pod {other} serves policy {}", old.revision.short())), true)
    })
    .await;
}

/// Nothing is written, neither while the operator runs nor when it is restarted.
async fn idle(cluster: &mut TestCluster) {
    cluster.until_quiet(Duration::from_secs(5)).await;
    assert_eq!(writes_within(cluster, Duration::from_secs(10)).await, []);
    let mut writes = writes_of_a_restart(cluster, Duration::from_secs(8)).await;
    // The pod that is stuck is nudged again: the new process does not know that it was.
    writes.retain(|write| write.resource != "pods");
    assert_eq!(writes, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_changes_nothing_is_written_not_even_after_a_restart() {
    let mut cluster = TestCluster::start_with_crm().await;
    let _kubelet = Kubelet::start(&cluster, "sales", 2, 2).await;
    cluster.until_server_condition("sales", "PolicySynced", "True/Synced").await;
    cluster.until_quiet(Duration::from_secs(4)).await;
    assert_eq!(writes_within(&cluster, Duration::from_secs(10)).await, []);
    assert_eq!(writes_of_a_restart(&mut cluster, Duration::from_secs(12)).await, []);
}
