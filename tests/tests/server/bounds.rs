//! What one caller, one backend and one access may be: bounded in number, in size and in time.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portcullis_crds::Policy;
use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::eventually;
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{Server, call, policy};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_at_most_32_calls_in_flight_and_others_do_not_wait_for_them() {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    let address = server.listen;
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        calls.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            connection.ask(&call(AGENT, "find", json!({"query": "x"}))).await
        });
    }
    eventually(PATIENCE, async || match server.log.events("tool_call_start").unwrap().len() {
        32 => Ok(()),
        count => Err(format!("{count} of 32 began")),
    })
    .await
    .unwrap();
    let found = server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap();
    let body = error(429, "Rate limit exceeded. Retry after 1 seconds.");
    assert_eq!(whole(&found), answer_with(429, "retry-after", "1", body));
    assert_eq!(text(&server.call(READER, "echo", json!({"text": "x"})).await.unwrap()), "you said x");
    let refused = server.log.event("rate_limit_exceeded", PATIENCE).await.unwrap();
    assert_eq!((&refused["clientId"], &refused["limit"]), (&json!("agent"), &json!("in_flight")));
    // Those that go away make room.
    calls.abort_all();
    while calls.join_next().await.is_some() {}
    eventually(PATIENCE, async || match server.call(AGENT, "echo", json!({"text": "x"})).await {
        Ok(found) if found.status == 200 => Ok(()),
        found => Err(format!("{found:?}")),
    })
    .await
    .unwrap();
}

/// What the backend answers with, in bytes: much more than the server may keep of it.
const ANSWER: usize = 200 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_any_size_costs_bounded_memory_and_is_a_tool_error() {
    let backend = Backend::start(|_| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"items\":[\"".to_vec();
        bytes.resize(ANSWER, b'x');
        Reply::Bytes(bytes)
    })
    .await
    .unwrap();
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    let before = resident(&server);
    for _ in 0..3 {
        let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
        assert_eq!((found.status, found.json()["result"]["isError"].clone()), (200, json!(true)), "{}", found.text());
    }
    let errors: Vec<Value> = server
        .log
        .count("tool_call_error", 3, PATIENCE)
        .await
        .unwrap()
        .iter()
        .map(|end| end["error"].clone())
        .collect();
    assert_eq!(errors, ["answer_too_large"; 3]);
    let grown = resident(&server).saturating_sub(before);
    // It keeps no more of them than it may, several times over for what allocators hold back.
    assert!(grown < ANSWER as u64 / 2, "{grown} bytes more");
}

/// The most memory that the server ever had, in bytes.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn access_ends_when_it_expires_without_a_reload() {
    let ends = Timestamp::now() + SignedDuration::from_secs(4);
    let mut policy = unlimited(NOWHERE);
    policy.clients[0].expires_at = Some(Time(ends));
    let policy = Policy::new(policy.server, policy.spec, policy.clients).unwrap();
    let server = Server::start(&policy, &keys()).await.unwrap();
    let mut connection = Connection::open(server.listen).await.unwrap();
    let request = call(AGENT, "echo", json!({"text": "x"}));
    let mut served = 0;
    eventually(PATIENCE, async || {
        let is_over = Timestamp::now() >= ends;
        let found = connection.ask(&request).await.unwrap();
        match found.status {
            200 if !is_over => served += 1,
            200 => panic!("served after {ends}"),
            _ => {
                assert_eq!(whole(&found), answer(403, json!({"error": "Client not recognised"})));
                return Ok(());
            }
        }
        Err("not expired yet")
    })
    .await
    .unwrap();
    assert!(served > 0, "never served");
    let refused = server.log.event("client_refused", PATIENCE).await.unwrap();
    assert_eq!((&refused["clientId"], &refused["reason"]), (&json!("agent"), &json!("expired")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_down_is_told_by_health_and_only_a_critical_one_makes_it_a_503() {
    let status = async |policy: &Policy| {
        let server = Server::start(policy, &keys()).await.unwrap();
        let found = server.ask(&Request::get("/health")).await.unwrap();
        let body = found.json();
        let checks: Value = body["checks"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, check)| (name.clone(), check["status"].clone()))
            .collect();
        assert!(body["uptime"].is_u64() && body["checks"]["api"]["latencyMs"].is_number(), "{body}");
        json!([found.status, body["status"], checks])
    };
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let checks = |api: &str| json!({"api": api, "audit": "healthy", "fixed": "healthy", "policy": "healthy"});
    assert_eq!(status(&unlimited(&backend.url())).await, json!([200, "healthy", checks("healthy")]));
    assert_eq!(status(&unlimited(NOWHERE)).await, json!([200, "degraded", checks("unhealthy")]));
    let critical = policy_text(NOWHERE).replace("{name: api, ", "{name: api, critical: true, ");
    assert_eq!(status(&policy(&critical).unwrap()).await, json!([503, "unhealthy", checks("unhealthy")]));
}
