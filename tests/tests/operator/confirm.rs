//! Publish, nudge, confirm: status says what each pod serves, and nothing is written while nothing changes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use portcullis_crds::{McpClient, McpServer};
use serde_json::json;

use crate::kubelet::Kubelet;
use crate::world::{World, expect, until};

async fn synced(world: &World, reason: &str) {
    until(20, async || expect(world.server_condition("sales", "PolicySynced").await?.0.as_str(), reason)).await;
}

#[tokio::test]
async fn each_pod_is_nudged_until_it_serves_what_is_published_and_then_left_alone() {
    let mut world = World::start().await;
    world.crm("sales").await;
    until(20, async || expect(world.served("sales").await?.len(), 3)).await;
    let kubelet = Kubelet::start(&world, "sales", 1, 2).await;
    let [one, other] = kubelet.pods().try_into().unwrap();

    // They came up with what was published: confirmed, without a word to them.
    synced(&world, "True/Synced").await;
    until(20, async || expect(world.server_condition("sales", "Ready").await?.0.as_str(), "True/Available")).await;
    for client in ["customer-service-agent", "readonly-dashboard", "reporting-agent"] {
        until(20, async || {
            expect(world.client_condition("sales", client, "Ready").await?.0.as_str(), "True/Available")
        })
        .await;
    }
    for pod in [&one, &other] {
        let annotations = world.api::<Pod>("sales").get(pod).await.unwrap().metadata.annotations.unwrap_or_default();
        assert_eq!(annotations.get("portcullis.dev/sync"), None);
    }

    // One takes the change up when it is nudged, the other is stuck: status names it, and what it serves.
    kubelet.stick(&other);
    let old = world.policy("sales").await.unwrap();
    let narrower = json!({"spec": {"access": [{"serverRef": {"name": "crm"}, "tools": ["get_deal_summary"], "maxRecordsPerQuery": 5}]}});
    world.patch::<McpClient>("sales", "reporting-agent", narrower).await;
    until(5, async || {
        kubelet.sync(&world, "sales").await;
        let new = world.policy("sales").await?;
        let pods = world.api::<McpServer>("sales").get("crm").await.unwrap().status.unwrap().pods.unwrap();
        let says: Vec<_> =
            pods.revisions.iter().map(|pod| (pod.pod.as_str(), pod.policy_revision.as_deref())).collect();
        expect(says, vec![(other.as_str(), Some(old.revision.as_str())), (one.as_str(), Some(new.revision.as_str()))])?;
        expect((pods.total, pods.ready, pods.current), (2, 2, 1))
    })
    .await;
    assert_eq!(world.server_condition("sales", "PolicySynced").await.unwrap().0, "Unknown/Publishing");
    assert_eq!(world.server_condition("sales", "Ready").await.unwrap().0, "True/Available", "an edit is no outage");
    // It is told five times, and then left to kubelet.
    until(20, async || {
        let pod = world.api::<Pod>("sales").get(&other).await.unwrap();
        let nudge = pod.metadata.annotations.unwrap_or_default().remove("portcullis.dev/sync");
        expect(nudge, Some(format!("{}.5", world.policy("sales").await?.revision.short())))
    })
    .await;
    idle(&mut world).await;

    // 120 s after the publication it is a fault, also for an operator that was started since.
    until(120, async || {
        let (condition, message) = world.server_condition("sales", "PolicySynced").await?;
        expect(condition.as_str(), "False/PodLagging")?;
        expect(message.contains(&format!("pod {other} serves policy {}", old.revision.short())), true)
    })
    .await;
}

/// Neither while it runs nor when it is started again is anything written.
async fn idle(world: &mut World) {
    world.settled(Duration::from_secs(5)).await;
    let mark = world.cluster.audit().mark().unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.writes(mark), []);
    world.kill_operator().await;
    world.start_operator();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let nudges = |write: &portcullis_tests::Write| write.resource == "pods";
    // The pod that is stuck is told again, for the new process does not know that it was.
    let writes: Vec<_> = world.writes(mark).into_iter().filter(|write| !nudges(write)).collect();
    assert_eq!(writes, []);
}

#[tokio::test]
async fn while_nothing_changes_nothing_is_written_not_even_after_a_restart() {
    let mut world = World::start().await;
    world.crm("sales").await;
    until(20, async || expect(world.served("sales").await?.len(), 3)).await;
    let _kubelet = Kubelet::start(&world, "sales", 2, 2).await;
    synced(&world, "True/Synced").await;
    world.settled(Duration::from_secs(4)).await;
    let mark = world.cluster.audit().mark().unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.kill_operator().await;
    world.start_operator();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(world.writes(mark), []);
}
