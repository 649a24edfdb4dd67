//! What breaks: pods that are ended, killed and stopped, and the operator killed. Each is told from outside, by calls and by
//! what the API server saw.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Signal, kill_process};

use crate::agent::Steady;
use crate::changes::{BASE, granted_too};
use crate::pods;
use crate::world::{World, condition, until};

/// A pod that is ended as a node's drain would do it: no call fails.
pub async fn ended_pod(world: &World, steady: &Steady) {
    replaced(world, &["--wait=false"], "ended").await;
    steady.assert_none_failed();
}

/// A pod killed is replaced by one that serves the current policy; only connections to the killed one break.
pub async fn killed_pod(world: &World, steady: &Steady) {
    let killed = Timestamp::now();
    replaced(world, &["--grace-period=0", "--force"], "killed").await;
    steady.assert_broken_only_just_after(killed);
}

async fn replaced(world: &World, how: &[&str], what: &str) {
    let key = world.key("reporting-agent").await;
    let before = world.pods().await;
    let name = before[0].name.as_str();
    let began = Instant::now();
    world.cluster.kubectl([&["delete", "pod", name, "-n", "sales"], how].concat()).unwrap();
    let new = until(60, async || {
        let pods = world.pods().await;
        let new = pods.into_iter().find(|pod| before.iter().all(|old| old.name != pod.name));
        new.ok_or_else(|| format!("{name} has no replacement"))
    });
    new.await.until_status(&key, 200).await;
    println!("e2e: a pod {what} and replaced in {:.2} s", began.elapsed().as_secs_f64());
    world.settled().await;
}

/// A pod that hangs while the policy changes: the other one follows, and the status names it and what it serves.
pub async fn stopped_pod(world: &World) {
    let key = world.key("reporting-agent").await;
    let pods = world.pods().await;
    let [stopped, other] = &pods[..] else { panic!("two pods") };
    let (_, before) = world.status().await;
    let process = stopped.process();
    kill_process(process, Signal::STOP).unwrap();

    let began = Instant::now();
    let apply = world.apply_in_background(&world.client_manifest("reporting-agent", &granted_too()));
    other.until_listed(&key, "get_dashboard_metrics", true).await;
    apply.await.unwrap();
    let named = until(20, async || {
        let (_, status) = world.status().await;
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
    world.settled().await;
}

/// The operator killed with SIGKILL: pods serve on, and the next one finds everything as it should be and writes nothing.
pub async fn killed_operator(world: &mut World) {
    quiet(world).await;
    let (versions, mark) = (world.versions(), world.cluster.audit().mark().unwrap());
    world.kill_operator().await;
    world.start_operator().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.writes(mark), []);
    assert_eq!(world.versions(), versions);

    // In the middle of a change, with one more while nobody looks.
    let (key, pods) = (world.key("reporting-agent").await, world.pods().await);
    world.apply_in_background(&world.client_manifest("reporting-agent", &granted_too())).await.unwrap();
    world.kill_operator().await;
    world.apply_in_background(&world.client_manifest("reporting-agent", BASE)).await.unwrap();
    let began = Instant::now();
    world.start_operator().await;
    pods::until_listed(&pods, &key, "get_dashboard_metrics", false).await;
    world.settled().await;
    assert_eq!(world.key("reporting-agent").await, key);
    println!("e2e: operator killed and started, the change in force {:.2} s after", began.elapsed().as_secs_f64());
    quiet(world).await;
}

/// Waits until the operator has written nothing for 5 s.
async fn quiet(world: &World) {
    until(60, async || {
        let mark = world.cluster.audit().mark().unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let writes = world.writes(mark);
        if writes.is_empty() { Ok(()) } else { Err(format!("it still writes: {writes:?}")) }
    })
    .await;
}
