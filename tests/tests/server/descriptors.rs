//! The descriptors of a process are divided: neither strangers nor backends take those that a reload, a probe or a caller needs.

use portcullis_tests::backend::{Backend, Gate, Reply};
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{TestServer, call};
use portcullis_tests::{PATIENCE, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;

/// Open files of a process whose limit nobody can raise: 46 connections of callers, 5 of each address, 40 to backends and 10 of the
/// admin port.
const OPEN_FILES: usize = 160;

/// A connection from one of twelve addresses, which together may have all.
async fn open(server: &TestServer, n: usize) -> Connection {
    Connection::open_from([127, 0, 0, 2 + (n % 12) as u8].into(), server.listen).await.unwrap()
}

async fn start_limited(document: &Value) -> TestServer {
    TestServer::start_limited(&parsed(document), &keys(), OPEN_FILES).await.unwrap()
}

/// The value of a metric without labels.
async fn metric(server: &TestServer, name: &str) -> Option<u64> {
    let page = server.admin("/metrics").await.unwrap();
    let page = String::from_utf8(page.body).unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_that_use_up_the_descriptors_hold_back_no_revocation_no_probe_and_no_caller() {
    let mut document = document(NOWHERE);
    let server = start_limited(&document).await;
    let request = call(AGENT, "echo", json!({"text": "x"}));
    let mut known = Connection::open(server.listen).await.unwrap();
    assert_eq!(known.send(&request).await.unwrap().status, 200);
    let mut strangers = Vec::new();
    for n in 0..3 * OPEN_FILES {
        // One that is not accepted waits in the backlog, or is closed.
        strangers.push(open(&server, n).await);
    }
    until(PATIENCE, async || server.send(&request).await).await;
    assert_eq!(known.send(&request).await.unwrap().status, 200, "a caller that is idle keeps its connection");
    assert_eq!(server.admin("/livez").await.unwrap().status, 200);

    client_of(&mut document, "agent")["suspended"] = json!(true);
    server.reconfigure(&parsed(&document), &keys()).await.unwrap();
    assert_eq!(known.send(&request).await.unwrap().status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_descriptor_for_its_backend_is_refused_and_shows_nothing_about_the_backend() {
    let gate = Gate::closed();
    let script = gate.clone();
    let backend = Backend::start(move |_| Reply::Json(200, json!({"items": []})).held(&script)).await.unwrap();
    let server = start_limited(&document(&backend.url())).await;
    let (mut calls, mut begun) = (JoinSet::new(), 0);
    for key in [AGENT, READER] {
        // As many as a client may have in flight; so many connections of callers are there as well.
        for _ in 0..22 {
            let mut connection = open(&server, begun).await;
            connection.write(&call(key, "find", json!({"query": "x"})).bytes()).await.unwrap();
            calls.spawn(async move { connection.response().await.unwrap().json()["result"].clone() });
            // One without a request would make room for the next.
            begun += 1;
            server.log.at_least(begun, "tool_call_start", PATIENCE).await.unwrap();
        }
    }
    let busy = tool_error("Backend 'api' is busy. Try again.");
    // One backend has half of the connections.
    for _ in 0..24 {
        assert_eq!(calls.join_next().await.unwrap().unwrap(), rpc_result(busy.clone())["result"]);
    }
    assert_eq!(metric(&server, "portcullis_backend_connections").await, Some(20));
    assert_eq!(server.admin("/livez").await.unwrap().status, 200);
    gate.open();
    for result in calls.join_all().await {
        assert_eq!(result["isError"], false);
    }
    assert_eq!(server.call(AGENT, "find", json!({"query": "x"})).await.unwrap().json()["result"]["isError"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_room_for_each_other_and_the_longest_idle_one_goes_first() {
    let server = start_limited(&document(NOWHERE)).await;
    let stranger = Request::get("/mcp");
    let mut first = Connection::open(server.listen).await.unwrap();
    first.send(&stranger).await.unwrap();
    let mut others = Vec::new();
    until(PATIENCE, async || {
        others.push(open(&server, others.len()).await);
        // The first one is closed while there is no request on it.
        first.closed(std::time::Duration::from_millis(20)).await
    })
    .await;
    let mut last = Connection::open(server.listen).await.unwrap();
    assert_eq!(last.send(&stranger).await.unwrap().status, 405);
}
