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
async fn callers_that_keep_their_connections_and_go_on_asking_lose_no_request() {
    let policy = parsed(&document(NOWHERE));
    let mut server = TestServer::start_with(&policy, &keys(), &[LOOPBACK, "--drain", "60"]).await.unwrap();
    let address = server.listen;
    let mut callers = JoinSet::new();
    for n in 0..8 {
        callers.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut answers = 0;
            loop {
                let found = connection.send(&call(AGENT, "echo", json!({"text": "x"}))).await.expect("an answer");
                assert_eq!(found.status, 200, "{}", found.text());
                answers += 1;
                if found.header("connection") == Some("close") {
                    assert_eq!(connection.closed(PATIENCE).await.unwrap(), b"");
                    return answers;
                }
                // Some ask again at once, and some are idle when the stop begins.
                tokio::time::sleep(std::time::Duration::from_millis(n * 100)).await;
            }
        });
    }
    until(PATIENCE, async || match server.log.events("tool_call_success").unwrap().len() {
        0..50 => Err("too few calls"),
        _ => Ok(()),
    })
    .await;
    server.signal(Signal::TERM).unwrap();
    server.log.event("server_stopping", PATIENCE).await.unwrap();
    let ready = server.admin("/readyz").await.unwrap();
    assert_eq!((ready.status, ready.text().as_str()), (503, "stopping"));
    let late = server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap();
    assert_eq!((late.status, late.header("connection")), (200, Some("close")), "endpoints may still name the server");
    let answers: u64 = callers.join_all().await.into_iter().sum();
    // Otherwise it would drain for a minute.
    server.signal(Signal::TERM).unwrap();
    assert!(server.ended(PATIENCE).await.unwrap().success());
    let recorded = server.log.events("tool_call_success").unwrap().len();
    assert_eq!(u64::try_from(recorded).unwrap(), answers + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_off_what_the_stop_waits_for_and_loses_no_record() {
    let gate = Gate::closed();
    let script = gate.clone();
    let backend = Backend::start(move |_| Reply::Json(200, json!({"items": []})).held(&script)).await.unwrap();
    let mut document = document(&backend.url());
    tool_of(&mut document, "find")["timeout"] = json!("5m");
    let mut server = start(&document).await;
    let address = server.listen;
    let held = tokio::spawn(async move { send(address, &call(AGENT, "find", json!({"query": "x"}))).await });
    until(PATIENCE, async || if backend.received().is_empty() { Err("not called") } else { Ok(()) }).await;
    server.signal(Signal::TERM).unwrap();
    server.log.event("server_stopping", PATIENCE).await.unwrap();
    server.signal(Signal::TERM).unwrap();
    // Far less than the tool's timeout.
    assert!(server.ended(PATIENCE).await.unwrap().success());
    assert!(held.await.unwrap().is_err(), "the call is cut off");
    assert_eq!(server.log.events("tool_call_error").unwrap()[0]["error"], "disconnected");
    assert_gapless(&server.log.records().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_last_records_cannot_be_written_says_so_with_its_exit_code() {
    let policy = parsed(&document(NOWHERE));
    let mut server = TestServer::start_with(&policy, &keys(), &[LOOPBACK, "--drain", "0"]).await.unwrap();
    server.log.pause().await.unwrap();
    until(PATIENCE, async || {
        let found = server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap();
        if found.status == 503 { Ok(()) } else { Err("the log is not blocked") }
    })
    .await;
    server.signal(Signal::TERM).unwrap();
    until(PATIENCE, async || if server.is_running() { Err("it still runs") } else { Ok(()) }).await;
    server.log.resume();
    assert_eq!(server.ended(PATIENCE).await.unwrap().code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_connection_without_a_call() {
    // With a call in flight it would wait for as long as the longest timeout of a tool, and these connections may idle for 75 s.
    let policy = parsed(&document(NOWHERE));
    let mut server = TestServer::start_with(&policy, &keys(), &[LOOPBACK, "--drain", "0"]).await.unwrap();
    let mut idle = Connection::open(server.listen).await.unwrap();
    assert_eq!(idle.send(&post(AGENT, &rpc("ping", json!({})))).await.unwrap().status, 200);
    let mut half = Connection::open(server.listen).await.unwrap();
    half.write(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    let _silent = Connection::open(server.listen).await.unwrap();
    server.signal(Signal::TERM).unwrap();
    assert!(server.ended(PATIENCE).await.unwrap().success());
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
