//! Three limits, each exact under concurrency: never more than N in a span, nothing used up by a refused call, and a
//! `Retry-After` that is worth waiting for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis_crds::Policy;
use portcullis_tests::http::{Answer, Connection};
use portcullis_tests::server::{ClientKey, Server, call, credentials, policy};
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::PATIENCE;

const CLIENTS: [&str; 3] = ["one", "two", "three"];

fn key(client: &str) -> String {
    format!("portcullis_{client}-0123456789-0123456789-0123456789")
}

/// `cheap` and `dear` are the same, but that `dear` is expensive. Each client may call `client` times an hour.
fn limited(global: (u32, u8), client: &str, dear: &str) -> Policy {
    let (requests, share) = global;
    let mut text = format!(
        "
contract: 1
server: {{namespace: sales, name: crm}}
spec:
  backends: [{{name: fixed, static: {{}}}}]
  tools:
    - {{name: cheap, description: C., backend: fixed, static: {{text: yes}}}}
    - {{name: dear, description: D., backend: fixed, expensive: true, static: {{text: yes}}}}
  limits:
    global: {{requests: {requests}, per: 1h, maxShare: {share}}}
    perClient: {{requests: 1000, per: 1h}}
    expensiveTools: {dear}
clients:
"
    );
    for id in CLIENTS {
        text.push_str(&format!(
            "  - {{id: {id}, uid: uid-{id}, tools: [cheap, dear], maxRecordsPerQuery: 1, limits: {client}}}\n"
        ));
    }
    policy(&text.replace("text: yes", "text: \"yes\"")).unwrap()
}

async fn start(policy: &Policy) -> Server {
    let keys = CLIENTS.map(key);
    let uids = CLIENTS.map(|client| format!("uid-{client}"));
    let keys: Vec<ClientKey<'_>> =
        (0..CLIENTS.len()).map(|n| ClientKey { client: CLIENTS[n], uid: &uids[n], key: &keys[n] }).collect();
    Server::start(policy, &credentials(&keys).unwrap()).await.unwrap()
}

/// Calls on 16 connections at once, and counts the statuses.
async fn storm(address: SocketAddr, client: &'static str, tool: &'static str, calls: usize) -> BTreeMap<u16, usize> {
    let mut senders = JoinSet::new();
    for _ in 0..16 {
        senders.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut statuses = Vec::new();
            for _ in 0..calls / 16 {
                statuses.push(connection.ask(&call(&key(client), tool, json!({}))).await.unwrap().status);
            }
            statuses
        });
    }
    let mut counted = BTreeMap::new();
    while let Some(statuses) = senders.join_next().await {
        for status in statuses.unwrap() {
            *counted.entry(status).or_default() += 1;
        }
    }
    counted
}

async fn one(server: &Server, client: &str, tool: &str) -> Answer {
    server.call(&key(client), tool, json!({})).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_exactly_its_number_however_it_storms_and_takes_nothing_from_others() {
    let server = start(&limited((1_000_000, 100), "[{requests: 100, per: 1h}]", "{requests: 1000, per: 1h}")).await;
    assert_eq!(storm(server.listen, "one", "cheap", 320).await, BTreeMap::from([(200, 100), (429, 220)]));
    assert_eq!(storm(server.listen, "two", "cheap", 320).await, BTreeMap::from([(200, 100), (429, 220)]));
    let refused = server.log.count("rate_limit_exceeded", 1, PATIENCE).await.unwrap();
    assert!(refused.iter().all(|record| record["limit"] == "client"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expensive_tool_has_a_limit_of_its_own_for_each_client() {
    let server = start(&limited((1_000_000, 100), "[{requests: 100, per: 1h}]", "{requests: 10, per: 1h}")).await;
    assert_eq!(storm(server.listen, "one", "dear", 160).await, BTreeMap::from([(200, 10), (429, 150)]));
    assert_eq!(storm(server.listen, "two", "dear", 160).await, BTreeMap::from([(200, 10), (429, 150)]));
    // The 150 that were refused used up nothing: exactly 90 of the client's 100 are left.
    assert_eq!(storm(server.listen, "one", "cheap", 320).await, BTreeMap::from([(200, 90), (429, 230)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_global_limit_holds_for_all_and_no_client_takes_more_than_its_share() {
    let server = start(&limited((100, 40), "[{requests: 1000, per: 1h}]", "{requests: 1000, per: 1h}")).await;
    assert_eq!(storm(server.listen, "one", "cheap", 160).await, BTreeMap::from([(200, 40), (429, 120)]));
    assert_eq!(storm(server.listen, "two", "cheap", 160).await, BTreeMap::from([(200, 40), (429, 120)]));
    assert_eq!(storm(server.listen, "three", "cheap", 160).await, BTreeMap::from([(200, 20), (429, 140)]));
    let refused = server.log.count("rate_limit_exceeded", 1, PATIENCE).await.unwrap();
    for (client, limit) in [("one", "share"), ("two", "share"), ("three", "global")] {
        assert!(
            refused.iter().any(|record| record["clientId"] == client && record["limit"] == limit),
            "{client}: {refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_limits_of_a_client_all_hold() {
    let server = start(&limited(
        (1_000_000, 100),
        "[{requests: 1000, per: 30m}, {requests: 50, per: 1h}]",
        "{requests: 1000, per: 1h}",
    ))
    .await;
    assert_eq!(storm(server.listen, "one", "cheap", 160).await, BTreeMap::from([(200, 50), (429, 110)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_denied_or_invalid_use_up_no_calls() {
    let text = limited((1_000_000, 100), "[{requests: 5, per: 1h}]", "{requests: 1000, per: 1h}");
    let server = start(&text).await;
    for _ in 0..20 {
        assert_eq!(one(&server, "one", "unknown").await.status, 200);
        assert_eq!(server.call(&key("one"), "cheap", json!([])).await.unwrap().status, 200);
    }
    assert_eq!(storm(server.listen, "one", "cheap", 16).await, BTreeMap::from([(200, 5), (429, 11)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_has_an_allowance_of_its_own() {
    let text = "
contract: 1
server: {namespace: sales, name: crm}
spec:
  backends: [{name: fixed, static: {}}]
  tools: [{name: cheap, description: C., backend: fixed, static: {text: \"yes\"}}]
  limits: {perClient: {requests: 4, per: 1h}}
clients:
  - {id: one, uid: uid-one, tools: [cheap], maxRecordsPerQuery: 1, limits: [{requests: 4, per: 1h}]}
  - {id: two, uid: uid-two, tools: [cheap], maxRecordsPerQuery: 1, limits: [{requests: 4, per: 1h}]}
";
    let server = start(&policy(text).unwrap()).await;
    // Ten times the client's calls: 40 of those that are denied, and then 429.
    assert_eq!(storm(server.listen, "one", "unknown", 160).await, BTreeMap::from([(200, 40), (429, 120)]));
    assert_eq!(one(&server, "one", "cheap").await.status, 200, "its calls are its own");
    assert_eq!(one(&server, "two", "unknown").await.status, 200, "and so is another's allowance");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_told_is_served() {
    let server = start(&limited((1_000_000, 100), "[{requests: 3, per: 2s}]", "{requests: 1000, per: 1h}")).await;
    for round in 0..3 {
        let mut served = 0;
        let refused = loop {
            let answer = one(&server, "one", "cheap").await;
            match answer.status {
                200 => served += 1,
                _ => break answer,
            }
            assert!(served <= 100, "no limit");
        };
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&seconds), "round {round}: {seconds}");
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert_eq!(one(&server, "one", "cheap").await.status, 200, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_outlive_a_reload_of_the_policy() {
    let before = limited((1_000_000, 100), "[{requests: 5, per: 1h}]", "{requests: 1000, per: 1h}");
    let server = start(&before).await;
    assert_eq!(storm(server.listen, "one", "cheap", 16).await, BTreeMap::from([(200, 5), (429, 11)]));
    let mut after = before.clone();
    after.spec.tools[0].description = "Changed.".into();
    let after = Policy::new(after.server, after.spec, after.clients).unwrap();
    server.config.write_policy(&after).unwrap();
    let credentials = server.admin("/policy").await.unwrap().json()["credentialsRevision"].as_str().unwrap().to_owned();
    server.serves(after.revision(), &credentials).await.unwrap();
    assert_eq!(storm(server.listen, "one", "cheap", 16).await, BTreeMap::from([(429, 16)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_replicas_holds_half() {
    let mut policy = limited((1_000_000, 100), "[{requests: 101, per: 1h}]", "{requests: 1000, per: 1h}");
    policy.server.replicas = 2;
    let policy = Policy::new(policy.server, policy.spec, policy.clients).unwrap();
    let server = start(&policy).await;
    assert_eq!(storm(server.listen, "one", "cheap", 320).await, BTreeMap::from([(200, 50), (429, 270)]));
}
