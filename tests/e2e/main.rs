//! From manifests to a guarded call, on a real node: the example as a user applies it, the operator with a service account's
//! rights, and agents inside the cluster. One scenario in order, since each step needs what the one before it made.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test: what is missing ends it, and what it measured is printed"
)]

mod agent;
mod pods;
mod world;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Answer;
use crate::world::World;

const CHANGES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_manifests_to_guarded_calls_on_a_real_node() {
    let world = World::start().await;
    first_call(&world).await;
    refusals_and_limits(&world).await;
    world.raise_limits().await;
    let steady = agent::Steady::start(&world.cluster).await;
    permission_changes(&world).await;
    steady.assert_none_failed();
    deleted_client(&world).await;
    steady.assert_none_failed();
    killed_pod(&world).await;
    steady.assert_none_refused();
    drop(steady);
    world.stop().await;
}

/// A call works soon after the manifests were applied, and the status says so.
async fn first_call(world: &World) {
    let began = Instant::now();
    world.cluster.kubectl(["apply", "-f", &world::repository("examples/crm")]).unwrap();
    let key = world.key("customer-service-agent").await;
    let service = world.service_client().await;
    let found = world::until(60, async || {
        let answer = pods::call(&service, &key, "search_contacts", json!({"query": "energy", "limit": 3})).await?;
        answer["result"]["structuredContent"]["items"].as_array().map(Vec::len).ok_or(answer.to_string())
    });
    assert_eq!(found.await, 3);
    println!("e2e: first good call {:.2} s after the start of kubectl apply", began.elapsed().as_secs_f64());
    world.settled().await;
    agent::start_asked(&world.cluster);
}

/// From inside the cluster and through the Service: a call that works, one refused, one over the limit.
async fn refusals_and_limits(world: &World) {
    let (service_agent, reporting) = (world.key("customer-service-agent").await, world.key("reporting-agent").await);
    let ask = |key: &str, tool: &str, arguments: Value, count| agent::ask(&world.cluster, key, tool, &arguments, count);

    let answers = ask(&service_agent, "create_note", json!({"contactId": "c-0007", "text": "Prefers e-mail"}), 1);
    assert_eq!(answers[0].result()["contactId"], "c-0007");

    let answers = ask(&reporting, "create_note", json!({"contactId": "c-0007", "text": "Hello"}), 1);
    assert_eq!(answers[0].status, Some(200));
    assert_eq!(answers[0].body["error"]["code"], -32602);
    assert_eq!(answers[0].body["error"]["message"], "Tool 'create_note' is not permitted for this client");

    let answers = ask("no such key", "create_note", json!({}), 1);
    assert_eq!((answers[0].status, &answers[0].body), (Some(401), &json!({"error": "Invalid API key"})));

    // Ten a minute for both replicas together, so of eleven at least one is refused.
    let answers = ask(&reporting, "get_revenue_report", json!({"from": "2026-09"}), 11);
    let (admitted, limited): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == Some(200));
    assert!(admitted.iter().all(|answer| answer.failure().is_none()), "{admitted:?}");
    assert!((1..=10).contains(&admitted.len()) && admitted.len() + limited.len() == 11, "{answers:?}");
    for Answer { status, retry_after, body, .. } in limited {
        let seconds: u32 = retry_after.as_deref().unwrap().parse().unwrap();
        assert_eq!(*status, Some(429));
        assert_eq!(body["error"]["message"], format!("Rate limit exceeded. Retry after {seconds} seconds."));
    }
}

/// A permission changed by `kubectl apply` is in force on both replicas; prints how soon.
async fn permission_changes(world: &World) {
    let key = world.key("reporting-agent").await;
    let base = ["search_contacts", "get_deal_summary", "get_revenue_report"];
    let more = [&base[..], &["get_dashboard_metrics"]].concat();
    let pods = world.pods().await;
    let mut times = Vec::new();
    for change in 0..CHANGES {
        // Apart, as changes by people are: the operator collects what follows within a second.
        tokio::time::sleep(Duration::from_millis(1100 + 37 * change as u64)).await;
        let granted = change % 2 == 0;
        let manifest = world.client_manifest("reporting-agent", if granted { &more } else { &base });
        let began = Instant::now();
        let apply = world.apply_in_background(&manifest);
        let in_force = pods.iter().map(|pod| pod.until_listed(&key, "get_dashboard_metrics", granted));
        futures::future::join_all(in_force).await;
        times.push(began.elapsed());
        apply.await.unwrap();
    }
    println!("e2e: kubectl apply to enforced on both pods, {}", summary(times));
}

/// A client deleted is cut off on both replicas.
async fn deleted_client(world: &World) {
    let key = world.key("readonly-dashboard").await;
    let pods = world.pods().await;
    for pod in &pods {
        assert_eq!(pod.status(&key).await, Some(200));
    }
    let began = Instant::now();
    world.cluster.kubectl(["delete", "mcpclient", "readonly-dashboard", "-n", "sales", "--wait=false"]).unwrap();
    futures::future::join_all(pods.iter().map(|pod| pod.until_status(&key, 401))).await;
    let taken = began.elapsed();
    assert!(taken < Duration::from_secs(2), "a deleted client had access for {taken:?}");
    println!("e2e: kubectl delete to cut off on both pods, {:.2} s", taken.as_secs_f64());
}

/// A pod killed is replaced by one that serves the current policy.
async fn killed_pod(world: &World) {
    let key = world.key("reporting-agent").await;
    let before = world.pods().await;
    let killed = &before[0].name;
    let began = Instant::now();
    world.cluster.kubectl(["delete", "pod", killed, "-n", "sales", "--grace-period=0", "--force"]).unwrap();
    let replaced = world::until(60, async || {
        let pods = world.pods().await;
        let new = pods.into_iter().find(|pod| before.iter().all(|old| old.name != pod.name));
        new.ok_or_else(|| format!("{killed} has no replacement"))
    });
    replaced.await.until_status(&key, 200).await;
    world.settled().await;
    println!("e2e: a pod killed and replaced in {:.2} s", began.elapsed().as_secs_f64());
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let seconds = |n: usize| times[n].as_secs_f64();
    let (n, worst) = (times.len(), times.len() - 1);
    let median = (seconds((n - 1) / 2) + seconds(n / 2)) / 2.0;
    format!("{n} changes: median {median:.3} s, worst {:.3} s", seconds(worst))
}
