//! From manifests to a guarded call, on a real node: the example as a user applies it, the operator with a service account's
//! rights, and agents inside the cluster. It is one scenario, since each step needs the state that the one before it left.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

mod agent;
mod changes;
mod faults;
mod harness;
mod pods;
mod rights;

use std::time::Instant;

use serde_json::{Value, json};

use crate::agent::Answer;
use crate::harness::TestCluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_manifests_to_guarded_calls_on_a_real_node() {
    let mut cluster = TestCluster::start().await;
    first_call(&cluster).await;
    refusals_and_limits(&cluster).await;

    cluster.raise_limits().await;
    let steady = agent::Steady::start(&cluster.control_plane).await;
    changes::permissions(&cluster).await;
    steady.assert_none_failed();
    changes::deleted_client(&cluster).await;
    changes::by_hand(&cluster).await;
    steady.assert_none_failed();
    faults::ended_pod(&cluster, &steady).await;
    faults::killed_pod(&cluster, &steady).await;
    drop(steady);

    faults::stopped_pod(&cluster).await;
    faults::killed_operator(&mut cluster).await;
    changes::moved_key(&cluster).await;
    rights::are_used(&cluster).await;
    cluster.stop().await;
}

/// A call works soon after the manifests were applied, and the status reports it.
async fn first_call(cluster: &TestCluster) {
    let began = Instant::now();
    cluster.control_plane.kubectl(["apply", "-f", &harness::repository("examples/crm")]).unwrap();
    let key = cluster.key("customer-service-agent").await;
    let service = cluster.service_client().await;
    let found = harness::until(60, async || {
        let answer = pods::call(&service, &key, "search_contacts", json!({"query": "energy", "limit": 3})).await?;
        answer["result"]["structuredContent"]["items"].as_array().map(Vec::len).ok_or(answer.to_string())
    });
    assert_eq!(found.await, 3);
    println!("e2e: first good call {:.2} s after the start of kubectl apply", began.elapsed().as_secs_f64());
    cluster.settled().await;
    agent::start_asked(&cluster.control_plane);
}

/// From inside the cluster and through the Service: calls that work, that are refused, and that are over the limit.
async fn refusals_and_limits(cluster: &TestCluster) {
    let (service_agent, reporting) =
        (cluster.key("customer-service-agent").await, cluster.key("reporting-agent").await);
    let ask = |key: &str, tool: &str, arguments: Value, count| {
        agent::ask(&cluster.control_plane, key, tool, &arguments, count)
    };

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
