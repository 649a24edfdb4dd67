//! From manifests to a guarded call, on a real node: the example as a user applies it, the operator with a service account's
//! rights, and agents inside the cluster. One scenario in order, since each step needs what the one before it made.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test: what is missing ends it, and what it measured is printed"
)]

mod agent;
mod changes;
mod faults;
mod pods;
mod rights;
mod world;

use std::time::Instant;

use serde_json::{Value, json};

use crate::agent::Answer;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_manifests_to_guarded_calls_on_a_real_node() {
    let mut world = World::start().await;
    first_call(&world).await;
    refusals_and_limits(&world).await;

    world.raise_limits().await;
    let steady = agent::Steady::start(&world.cluster).await;
    changes::permissions(&world).await;
    steady.assert_none_failed();
    changes::deleted_client(&world).await;
    changes::by_hand(&world).await;
    steady.assert_none_failed();
    faults::ended_pod(&world, &steady).await;
    faults::killed_pod(&world, &steady).await;
    drop(steady);

    faults::stopped_pod(&world).await;
    faults::killed_operator(&mut world).await;
    changes::moved_key(&world).await;
    rights::are_used(&world).await;
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
