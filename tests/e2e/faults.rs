//! Faults: pods that are deleted, killed and stopped, and an operator that is killed. Each is observed from outside, by calls and
//! by the API server's audit log.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Signal, kill_process};

use crate::agent::Steady;
use crate::changes::{BASE, granted_too};
use crate::harness::{TestCluster, condition, until};
use crate::pods;

/// A pod is deleted, as the drain of a node does it: no call fails.
pub async fn ended_pod(cluster: &TestCluster, steady: &Steady) {
    replaced(cluster, &["--wait=false"], "ended").await;
    steady.assert_none_failed();
}

/// A pod that is killed is replaced by one that serves the current policy; only connections to the killed pod break.
pub async fn killed_pod(cluster: &TestCluster, steady: &Steady) {
    let killed = Timestamp::now();
    replaced(cluster, &["--grace-period=0", "--force"], "killed").await;
    steady.assert_broken_only_just_after(killed);
}

async fn replaced(cluster: &TestCluster, how: &[&str], what: &str) {
    let key = cluster.key("reporting-agent").await;
    let before = cluster.pods().await;
    let name = before[0].name.as_str();
    let began = Instant::now();
    cluster.control_plane.kubectl([&["delete", "pod", name, "-n", "sales"], how].concat()).unwrap();
    let new = until(60, async || {
        let pods = cluster.pods().await;
        let new = pods.into_iter().find(|pod| before.iter().all(|old| old.name != pod.name));
        new.ok_or_else(|| format!("{name} has no replacement"))
    });
    new.await.until_status(&key, 200).await;
    println!("e2e: a pod {what} and replaced in {:.2} s", began.elapsed().as_secs_f64());
    cluster.settled().await;
}

/// A pod hangs while the policy changes: the other one takes it up, and the status names the pod that hangs and what it serves.
pub async fn stopped_pod(cluster: &TestCluster) {
    let key = cluster.key("reporting-agent").await;
    let pods = cluster.pods().await;
    let [stopped, other] = &pods[..] else { panic!("two pods") };
    let (_, before) = cluster.status().await;
    let process = stopped.process();
    kill_process(process, Signal::STOP).unwrap();

    let began = Instant::now();
    let apply = cluster.apply_in_background(&cluster.client_manifest("reporting-agent", &granted_too()));
    other.until_listed(&key, "get_dashboard_metrics", true).await;
    apply.await.unwrap();
    let named = until(20, async || {
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
    cluster.settled().await;
}

/// The operator is killed: the pods go on serving, and the next operator finds no drift and writes nothing.
pub async fn killed_operator(cluster: &mut TestCluster) {
    quiet(cluster).await;
    let (versions, mark) = (cluster.versions(), cluster.control_plane.audit().mark().unwrap());
    cluster.kill_operator().await;
    cluster.start_operator().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cluster.writes(mark), []);
    assert_eq!(cluster.versions(), versions);

    // Killed in the middle of a change, with another change before it is started again.
    let (key, pods) = (cluster.key("reporting-agent").await, cluster.pods().await);
    cluster.apply_in_background(&cluster.client_manifest("reporting-agent", &granted_too())).await.unwrap();
    cluster.kill_operator().await;
    cluster.apply_in_background(&cluster.client_manifest("reporting-agent", BASE)).await.unwrap();
    let began = Instant::now();
    cluster.start_operator().await;
    pods::until_listed(&pods, &key, "get_dashboard_metrics", false).await;
    cluster.settled().await;
    assert_eq!(cluster.key("reporting-agent").await, key);
    println!("e2e: operator killed and started, the change in force {:.2} s after", began.elapsed().as_secs_f64());
    quiet(cluster).await;
}

/// Waits until the operator has written nothing for 5 s.
async fn quiet(cluster: &TestCluster) {
    until(60, async || {
        let mark = cluster.control_plane.audit().mark().unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let writes = cluster.writes(mark);
        if writes.is_empty() { Ok(()) } else { Err(format!("it still writes: {writes:?}")) }
    })
    .await;
}
