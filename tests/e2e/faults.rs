//! Faults: pods that are ended, killed and stopped, and an operator that is killed. Their effects are seen in calls and in the API
//! server's audit log.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_tests::{PATIENCE, until};
use rustix::process::{Signal, kill_process};

use crate::agent::SteadyCaller;
use crate::changes::{BASE, with_dashboard};
use crate::harness::{CrmCluster, condition};
use crate::pods;

/// How long the operator must write nothing to count as idle.
const QUIET: Duration = Duration::from_secs(5);

/// When a pod is deleted as by the drain of a node, no call fails.
pub async fn ended_pod(cluster: &CrmCluster, steady: &SteadyCaller) {
    replaced(cluster, &["--wait=false"], "ended").await;
    steady.assert_none_failed();
}

/// A pod that is killed is replaced by one that serves the current policy; only connections to the killed one break.
pub async fn killed_pod(cluster: &CrmCluster, steady: &SteadyCaller) {
    let killed = Timestamp::now();
    replaced(cluster, &["--grace-period=0", "--force"], "killed").await;
    steady.assert_broken_only_just_after(killed);
}

async fn replaced(cluster: &CrmCluster, how: &[&str], what: &str) {
    let key = cluster.key_of("reporting-agent").await;
    let before = cluster.pods().await;
    let name = before[0].name.as_str();
    let began = Instant::now();
    cluster.kubectl(&[&["delete", "pod", name, "-n", "sales"], how].concat());
    let new = until(PATIENCE, async || {
        let pods = cluster.pods().await;
        let new = pods.into_iter().find(|pod| before.iter().all(|old| old.name != pod.name));
        new.ok_or_else(|| format!("{name} has no replacement"))
    });
    new.await.until_status(&key, 200).await;
    println!("e2e: a pod {what} and replaced in {:.2} s", began.elapsed().as_secs_f64());
    cluster.until_synced().await;
}

/// When a pod hangs while the policy changes, the other one follows, and the status names the pod and what it serves.
pub async fn stopped_pod(cluster: &CrmCluster) {
    let key = cluster.key_of("reporting-agent").await;
    let pods = cluster.pods().await;
    let [stopped, other] = &pods[..] else { panic!("not two pods") };
    let (_, before) = cluster.status().await;
    let process = stopped.process();
    kill_process(process, Signal::STOP).unwrap();

    let began = Instant::now();
    let apply = cluster.apply_in_background(&cluster.client_manifest("reporting-agent", &with_dashboard()));
    other.until_listed(&key, "get_dashboard_metrics", true).await;
    apply.await.unwrap();
    let named = until(PATIENCE, async || {
        let (_, status) = cluster.status().await;
        let (first, synced) = (&status["pods"]["revisions"][0], condition(&status, "PolicySynced"));
        let is_named = first["pod"] == stopped.name.as_str()
            && first["policyRevision"] == before["policy"]["revision"]
            && status["policy"]["revision"] != before["policy"]["revision"]
            && status["pods"]["current"] == 1
            && synced["status"] == "Unknown"
            && synced["message"].as_str().is_some_and(|message| message.contains(&stopped.name));
        is_named.then(|| synced["message"].clone()).ok_or_else(|| format!("the status is {status}"))
    });
    let message = named.await;
    println!("e2e: a stopped pod is named {:.2} s after kubectl apply: {message}", began.elapsed().as_secs_f64());
    kill_process(process, Signal::CONT).unwrap();
    stopped.until_listed(&key, "get_dashboard_metrics", true).await;
    cluster.until_synced().await;
}

/// When the operator is killed, the pods go on, and the next operator finds nothing to change and writes nothing.
pub async fn killed_operator(cluster: &CrmCluster) {
    cluster.until_quiet(QUIET).await;
    let (versions, mark) = (cluster.versions(), cluster.control_plane.audit().mark().unwrap());
    cluster.crash_operator().await;
    // That nothing is written in this time is what is tested.
    tokio::time::sleep(QUIET).await;
    assert_eq!(cluster.writes(mark), []);
    assert_eq!(cluster.versions(), versions);

    // With its pod, in the middle of a change, and with another change before the next operator starts, which has to wait for the Lease.
    let (key, pods) = (cluster.key_of("reporting-agent").await, cluster.pods().await);
    cluster.apply_in_background(&cluster.client_manifest("reporting-agent", &with_dashboard())).await.unwrap();
    cluster.lose_operator().await;
    cluster.apply_in_background(&cluster.client_manifest("reporting-agent", BASE)).await.unwrap();
    let began = Instant::now();
    cluster.start_operator().await;
    pods::until_listed(&pods, &key, "get_dashboard_metrics", false).await;
    cluster.until_synced().await;
    assert_eq!(cluster.key_of("reporting-agent").await, key);
    println!(
        "e2e: operator lost with its pod, the next change in force {:.2} s after another was started",
        began.elapsed().as_secs_f64()
    );
    cluster.until_quiet(QUIET).await;
}
