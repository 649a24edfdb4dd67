//! Each limit is exact under concurrent load: it never admits more calls than its number in any span of its time, a refusal uses up
//! no call, and a call is admitted after `Retry-After`.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::{Connection, Response, send};
use portcullis_tests::server::{TestServer, call, post, rpc};
use portcullis_tests::{PATIENCE, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;
use crate::revisions::stateless;

const CLIENTS: [&str; 3] = ["one", "two", "three"];

/// The tools `cheap` and `expensive`, which differ in that alone, and three clients with these limits.
fn limited(client_limits: Value) -> Value {
    let mut document = document(NOWHERE);
    document["spec"]["tools"] = json!([
        {"name": "cheap", "description": "Says yes.", "backend": "fixed", "static": {"text": "yes"}},
        {"name": "expensive", "description": "Says yes.", "backend": "fixed", "expensive": true, "static": {"text": "yes"}},
    ]);
    document["clients"] = CLIENTS.map(|id| client(id, &["cheap", "expensive"], 1, false)).into();
    for client in document["clients"].as_array_mut().unwrap() {
        client["limits"] = client_limits.clone();
    }
    document
}

fn an_hour(requests: u32) -> Value {
    json!({"requests": requests, "per": "1h"})
}

/// Makes calls on 16 connections at once, and counts the statuses.
async fn storm(server: &TestServer, client: &str, tool: &str, calls: usize) -> BTreeMap<u16, usize> {
    let (address, request) = (server.listen, call(&key_of(client), tool, json!({})));
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let request = request.clone();
        callers.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut statuses = Vec::new();
            for _ in 0..calls / 16 {
                statuses.push(connection.send(&request).await.unwrap().status);
            }
            statuses
        });
    }
    let mut counted = BTreeMap::new();
    for status in callers.join_all().await.into_iter().flatten() {
        *counted.entry(status).or_default() += 1;
    }
    counted
}

/// The counts of a storm: so many calls were served, and so many refused.
fn counts(served: usize, refused: usize) -> BTreeMap<u16, usize> {
    [(200, served), (429, refused)].into_iter().filter(|(_, count)| *count > 0).collect()
}

async fn one(server: &TestServer, client: &str, tool: &str) -> Response {
    server.call(&key_of(client), tool, json!({})).await.unwrap()
}

/// The limits that refused calls of this client, as the log has them.
async fn refused_by(server: &TestServer, client: &str) -> Vec<String> {
    until(PATIENCE, async || {
        let records = server.log.events("rate_limit_exceeded").unwrap();
        let records = records.iter().filter(|record| record["clientId"] == client);
        let mut limits: Vec<String> =
            records.map(|record| record["limit"].as_str().unwrap_or_default().to_owned()).collect();
        limits.dedup();
        if limits.is_empty() { Err("no refusal is recorded") } else { Ok(limits) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_exactly_its_number_of_calls_and_takes_none_from_others() {
    let server = start_for(&limited(json!([an_hour(100)])), &CLIENTS).await;
    assert_eq!(storm(&server, "one", "cheap", 320).await, counts(100, 220));
    assert_eq!(storm(&server, "two", "cheap", 320).await, counts(100, 220));
    assert_eq!(refused_by(&server, "one").await, ["client"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expensive_tool_has_a_limit_of_its_own_for_each_client() {
    let mut document = limited(json!([an_hour(100)]));
    document["spec"]["limits"]["expensiveTools"] = an_hour(10);
    let server = start_for(&document, &CLIENTS).await;
    assert_eq!(storm(&server, "one", "expensive", 160).await, counts(10, 150));
    assert_eq!(storm(&server, "two", "expensive", 160).await, counts(10, 150));
    assert_eq!(refused_by(&server, "one").await, ["tool"]);
    // The 150 calls that were refused used up nothing: 90 of the client's 100 calls are left.
    assert_eq!(storm(&server, "one", "cheap", 320).await, counts(90, 230));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_global_limit_holds_for_all_and_no_client_gets_more_than_its_share() {
    let mut document = limited(json!([an_hour(1000)]));
    document["spec"]["limits"]["global"] = json!({"requests": 100, "per": "1h", "maxShare": 40});
    let server = start_for(&document, &CLIENTS).await;
    assert_eq!(storm(&server, "one", "cheap", 160).await, counts(40, 120));
    assert_eq!(storm(&server, "two", "cheap", 160).await, counts(40, 120));
    assert_eq!(storm(&server, "three", "cheap", 160).await, counts(20, 140));
    for (client, limit) in [("one", "share"), ("two", "share"), ("three", "global")] {
        assert_eq!(refused_by(&server, client).await, [limit], "{client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_limits_of_a_client_hold() {
    let document = limited(json!([{"requests": 1000, "per": "30m"}, an_hour(50)]));
    let server = start_for(&document, &CLIENTS).await;
    assert_eq!(storm(&server, "one", "cheap", 160).await, counts(50, 110));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_denied_or_invalid_use_up_no_calls() {
    let server = start_for(&limited(json!([an_hour(5)])), &CLIENTS).await;
    for _ in 0..20 {
        assert_eq!(one(&server, "one", "unknown").await.to_value(), denied("unknown"));
        let invalid = server.call(&key_of("one"), "cheap", json!([])).await.unwrap();
        assert_eq!(status_and_code(&invalid), (200, Some(-32602)));
    }
    assert_eq!(storm(&server, "one", "cheap", 16).await, counts(5, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_not_admitted_calls_draw_on_ten_times_the_calls() {
    let mut document = limited(json!([an_hour(4)]));
    document["spec"]["limits"]["perClient"] = an_hour(4);
    let server = start_for(&document, &CLIENTS).await;
    assert_eq!(storm(&server, "one", "unknown", 160).await, counts(40, 120));
    let ping = post(&key_of("one"), &rpc("ping", json!({})));
    assert_eq!(server.send(&ping).await.unwrap().status, 429, "other methods draw on the same allowance");
    assert_eq!(refused_by(&server, "one").await, ["request_allowance"]);
    assert_eq!(one(&server, "one", "cheap").await.status, 200, "the client's calls are apart from it");
    assert_eq!(one(&server, "two", "unknown").await.to_value(), denied("unknown"), "and so are other clients");
}

#[tokio::test]
async fn a_call_over_a_limit_is_a_429_that_says_when_to_try_again() {
    let server = start_for(&limited(json!([an_hour(1)])), &CLIENTS).await;
    assert_eq!(one(&server, "one", "cheap").await.status, 200);
    let params = json!({"name": "cheap"});
    let request = json!({"jsonrpc": "2.0", "id": "é\"", "method": "tools/call", "params": params});
    let found = server.send(&post(&key_of("one"), &request)).await.unwrap();
    // A few seconds of the hour may have passed.
    let seconds: u64 = found.header("retry-after").unwrap().parse().unwrap();
    assert!((3600 - PATIENCE.as_secs()..=3600).contains(&seconds), "{seconds}");
    let message = format!("Rate limit exceeded. Retry after {seconds} seconds.");
    let body = json!({"jsonrpc": "2.0", "id": "é\"", "error": {"code": 429, "message": message}});
    assert_eq!(found.to_value(), response_with(429, "retry-after", &seconds.to_string(), body));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_as_long_as_retry_after_says_is_served() {
    let server = start_for(&limited(json!([{"requests": 3, "per": "2s"}])), &CLIENTS).await;
    for round in 0..3 {
        let refused = until(PATIENCE, async || {
            let found = one(&server, "one", "cheap").await;
            if found.status == 429 { Ok(found) } else { Err("the limit is never reached") }
        })
        .await;
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&seconds), "round {round}: {seconds}");
        // The time itself is what is tested.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert_eq!(one(&server, "one", "cheap").await.status, 200, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn used_up_limits_outlive_a_change_of_the_policy() {
    let mut document = limited(json!([an_hour(5)]));
    let server = start_for(&document, &CLIENTS).await;
    assert_eq!(storm(&server, "one", "cheap", 16).await, counts(5, 11));
    document["spec"]["tools"][0]["description"] = json!("Changed.");
    server.reconfigure(&parsed(&document), &keys_of(&CLIENTS)).await.unwrap();
    assert_eq!(storm(&server, "one", "cheap", 16).await, BTreeMap::from([(429, 16)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_changes_counts_what_was_used_before() {
    let of = |requests| limited(json!([an_hour(requests)]));
    let server = start_for(&of(60), &CLIENTS).await;
    assert_eq!(storm(&server, "one", "cheap", 64).await, counts(60, 4));
    for requests in [3, 4, 5, 60] {
        server.reconfigure(&parsed(&of(requests)), &keys_of(&CLIENTS)).await.unwrap();
        assert_eq!(storm(&server, "one", "cheap", 16).await, counts(0, 16), "{requests}");
    }
    server.reconfigure(&parsed(&of(70)), &keys_of(&CLIENTS)).await.unwrap();
    assert_eq!(storm(&server, "one", "cheap", 32).await, counts(10, 22));
    // The limits of all clients, and of one client's share of it.
    for (limit, served) in [(80, 8), (74, 0), (160, 8)] {
        let mut document = of(1_000);
        document["spec"]["limits"]["global"] = json!({"requests": limit, "per": "1h", "maxShare": 10});
        server.reconfigure(&parsed(&document), &keys_of(&CLIENTS)).await.unwrap();
        assert_eq!(storm(&server, "two", "cheap", 16).await, counts(served, 16 - served), "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_replicas_admits_half() {
    let mut document = limited(json!([an_hour(101)]));
    document["server"]["replicas"] = json!(2);
    let server = start_for(&document, &CLIENTS).await;
    assert_eq!(storm(&server, "one", "cheap", 320).await, counts(50, 270));
}

#[tokio::test]
async fn a_replica_whose_share_is_no_call_refuses_calls_and_serves_other_requests() {
    let mut document = limited(json!([{"requests": 3, "per": "1m"}]));
    document["server"]["replicas"] = json!(5);
    let server = start_for(&document, &CLIENTS).await;
    let refused = one(&server, "one", "cheap").await;
    let body = rpc_error(429, "Rate limit exceeded. Retry after 60 seconds.");
    assert_eq!(refused.to_value(), response_with(429, "retry-after", "60", body));
    for method in ["tools/list", "ping"] {
        let found = server.send(&post(&key_of("one"), &rpc(method, json!({})))).await.unwrap();
        assert_eq!(status_and_code(&found), (200, None), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_at_most_32_calls_in_flight_and_others_do_not_wait_for_them() {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    let server = start(&document(&backend.url())).await;
    let address = server.listen;
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let params = json!({"name": "find", "arguments": {"query": "x"}});
        calls.spawn(async move { send(address, &stateless("tools/call", Some("find"), params)).await });
    }
    server.log.at_least(32, "tool_call_start", PATIENCE).await.unwrap();
    let echo = async |key| server.call(key, "echo", json!({"text": "x"})).await.unwrap().to_value();
    let body = rpc_error(429, "Rate limit exceeded. Retry after 1 seconds.");
    assert_eq!(echo(AGENT).await, response_with(429, "retry-after", "1", body));
    assert_eq!(echo(READER).await, response(200, rpc_result(echoed("x"))));
    assert_eq!(refused_by(&server, "agent").await, ["in_flight"]);
    // A caller that disconnects makes room.
    calls.shutdown().await;
    until(PATIENCE, async || match echo(AGENT).await {
        found if found["status"] == 200 => Ok(()),
        found => Err(found),
    })
    .await;
}
