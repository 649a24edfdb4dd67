//! From the chart to guarded calls on a real node: the release and the example as a user installs them, the operator as a pod with the
//! rights of its service account, and agents inside the cluster. It is one scenario, because each step needs the results of the one before.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic, and prints what it measured"
)]

mod agent;
mod changes;
mod faults;
mod harness;
mod immutable;
mod operator;
mod pods;
mod release;
mod revocations;
mod rights;
mod upgrades;

use std::time::Instant;

use portcullis_tests::{PATIENCE, repository, until};
use serde_json::{Value, json};

use crate::agent::AgentResponse;
use crate::harness::CrmCluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_is_served_changed_and_repaired_on_a_real_node() {
    let cluster = CrmCluster::start().await;
    first_call(&cluster).await;
    pages_of_the_operator(&cluster).await;
    upgrades::tested(&cluster).await;
    refusals_and_limits(&cluster).await;

    cluster.raise_limits().await;
    let steady = agent::SteadyCaller::start(&cluster.control_plane, "steady").await;
    changes::permissions(&cluster).await;
    steady.assert_none_failed();
    changes::deleted_client(&cluster).await;
    changes::edited_objects(&cluster).await;
    steady.assert_none_failed();
    upgrades::of_images(&cluster, &steady).await;
    faults::ended_pod(&cluster, &steady).await;
    faults::killed_pod(&cluster, &steady).await;
    drop(steady);

    faults::stopped_pod(&cluster).await;
    faults::killed_operator(&cluster).await;
    immutable::documents(&cluster).await;
    changes::moved_key(&cluster).await;
    rights::are_those_needed(&cluster).await;
    revocations::take_effect(&cluster).await;
    upgrades::of_chart(&cluster).await;
    cluster.stop();
}

/// A call is served soon after the manifests are applied, and the status says so.
async fn first_call(cluster: &CrmCluster) {
    let began = Instant::now();
    cluster.kubectl(&["apply", "-f", &repository("examples/crm/cluster"), "-f", &repository("examples/crm")]);
    let key = cluster.key_of("customer-service-agent").await;
    let service = cluster.service_client().await;
    let found = until(PATIENCE, async || {
        let body = pods::call(&service, &key, "search_contacts", json!({"query": "energy", "limit": 3})).await?;
        body["result"]["structuredContent"]["items"].as_array().map(Vec::len).ok_or(body.to_string())
    });
    assert_eq!(found.await, 3);
    println!("e2e: first call served {:.2} s after the start of kubectl apply", began.elapsed().as_secs_f64());
    cluster.until_synced().await;
    agent::start_idle(&cluster.control_plane);
}

/// The operator is ready, and its Service leads to its metrics.
async fn pages_of_the_operator(cluster: &CrmCluster) {
    let pod = cluster.operator_pod().await;
    let ready = reqwest::get(format!("http://{}:8080/readyz", pod.status.unwrap().pod_ip.unwrap())).await.unwrap();
    assert_eq!(ready.status(), 200);
    let address = ["get", "service", "portcullis-operator-metrics", "-n", release::NAMESPACE];
    let address = cluster.kubectl(&[&address[..], &["-o", "jsonpath={.spec.clusterIP}"]].concat());
    let metrics = reqwest::get(format!("http://{address}:8080/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("portcullis_operator_without_lease 0"), "{metrics}");
}

/// From inside the cluster and through the Service: a call that is served, one that is refused, one over the limit.
async fn refusals_and_limits(cluster: &CrmCluster) {
    let (service_agent, reporting) =
        (cluster.key_of("customer-service-agent").await, cluster.key_of("reporting-agent").await);
    let call = |key: &str, tool: &str, arguments: Value, count| {
        agent::call(&cluster.control_plane, key, tool, &arguments, count)
    };

    let responses = call(&service_agent, "create_note", json!({"contactId": "c-0007", "text": "Prefers e-mail"}), 1);
    assert_eq!(responses[0].result()["contactId"], "c-0007");

    let responses = call(&reporting, "create_note", json!({"contactId": "c-0007", "text": "Hello"}), 1);
    assert_eq!(responses[0].status, Some(200));
    assert_eq!(responses[0].body["error"]["code"], -32602);
    assert_eq!(responses[0].body["error"]["message"], "Tool 'create_note' is not permitted for this client");

    let responses = call("no such key", "create_note", json!({}), 1);
    assert_eq!((responses[0].status, &responses[0].body), (Some(401), &json!({"error": "Invalid API key"})));

    // Ten a minute for both replicas together, so that at least one of eleven is refused.
    let responses = call(&reporting, "get_revenue_report", json!({"from": "2026-09"}), 11);
    let (admitted, limited): (Vec<_>, Vec<_>) = responses.iter().partition(|response| response.status == Some(200));
    assert!(admitted.iter().all(|response| response.failure().is_none()), "{admitted:?}");
    assert!((1..=10).contains(&admitted.len()) && admitted.len() + limited.len() == 11, "{responses:?}");
    for AgentResponse { status, retry_after, body, .. } in limited {
        let seconds: u32 = retry_after.as_deref().unwrap().parse().unwrap();
        assert_eq!(*status, Some(429));
        assert_eq!(body["error"]["message"], format!("Rate limit exceeded. Retry after {seconds} seconds."));
    }
}
