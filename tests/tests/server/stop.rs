//! A stop finishes every call that has begun, waits for nothing else, and loses no record.

use portcullis_tests::PATIENCE;
use portcullis_tests::backend::{Backend, Gate, Reply};
use portcullis_tests::http::{Connection, send};
use portcullis_tests::server::{LOOPBACK, TestServer, call, post, rpc};
use portcullis_tests::until;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::audit::assert_gapless;
use crate::fixtures::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_every_call_that_has_begun_and_exits_with_0() {
    let gate = Gate::closed();
    let script = gate.clone();
    let backend = Backend::start(move |_| Reply::Json(200, json!({"items": []})).held(&script)).await.unwrap();
    let mut server = start(&document(&backend.url())).await;
    let address = server.listen;
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let (tool, arguments) =
            if n % 2 == 0 { ("find", json!({"query": "x"})) } else { ("note", json!({"id": "7", "text": "x"})) };
        calls.spawn(async move { send(address, &call(AGENT, tool, arguments)).await });
    }
    until(PATIENCE, async || match backend.received().len() {
        20 => Ok(()),
        count => Err(format!("{count} of 20 calls reached the backend")),
    })
    .await;
    server.signal(Signal::TERM).unwrap();
    server.log.event("server_stopping", PATIENCE).await.unwrap();
    gate.open();
    for ended in calls.join_all().await {
        let found = ended.expect("a call in flight is finished");
        assert_eq!((found.status, &found.json()["result"]["isError"]), (200, &json!(false)), "{}", found.text());
    }
    assert!(server.ended(PATIENCE).await.unwrap().success());
    let events = |event: &str| server.log.events(event).unwrap().len();
    assert_eq!((events("tool_call_start"), events("tool_call_success"), events("server_stopping")), (20, 20, 1));
    assert_gapless(&server.log.records().unwrap());
    assert!(Connection::open(address).await.is_err(), "nothing listens any more");
    assert_eq!(server.log.stderr(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_connection_without_a_call() {
    // A drain of 0 s and a call that never ends would take as long as the longest drain: 30 s.
    let policy = parsed(&document(NOWHERE));
    let mut server = TestServer::start_with(&policy, &keys(), &[LOOPBACK, "--drain", "0"]).await.unwrap();
    let mut idle = Connection::open(server.listen).await.unwrap();
    assert_eq!(idle.send(&post(AGENT, &rpc("ping", json!({})))).await.unwrap().status, 200);
    let mut half = Connection::open(server.listen).await.unwrap();
    half.write(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    let _silent = Connection::open(server.listen).await.unwrap();
    server.signal(Signal::TERM).unwrap();
    let drain = std::time::Duration::from_secs(30);
    assert!(server.ended(drain).await.unwrap().success());
}

#[tokio::test]
async fn with_the_flag_the_end_of_standard_input_stops_the_server_and_its_log_is_complete() {
    let policy = parsed(&document(NOWHERE));
    let mut server = TestServer::start_with(&policy, &keys(), &["--stop-with-stdin"]).await.unwrap();
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200);
    server.close_stdin();
    assert!(server.ended(PATIENCE).await.unwrap().success());
    let events = |event: &str| server.log.events(event).unwrap().len();
    assert_eq!((events("tool_call_success"), events("server_stopping")), (1, 1));
    assert_gapless(&server.log.records().unwrap());
}
