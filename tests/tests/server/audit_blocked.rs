//! A call that cannot be recorded does not happen: while the log is blocked, calls are refused before any effect, and what was
//! admitted before is recorded later.

use std::time::{Duration, Instant};

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::{Connection, Request, send};
use portcullis_tests::server::{TestServer, call};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::audit::assert_gapless;
use crate::expected::*;
use crate::fixtures::*;

/// How long one write of the log takes before the server considers the log blocked.
const BLOCKED_AFTER: Duration = Duration::from_secs(1);

async fn backend() -> Backend {
    Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap()
}

/// A refusal because the log is blocked.
fn blocked() -> Value {
    response_with(503, "retry-after", "1", rpc_error(503, "The audit log cannot be written; nothing was done"))
}

/// Calls `find` until the server considers the log blocked. Returns how many calls were served before.
async fn served_until_blocked(server: &TestServer) -> usize {
    let mut served = 0;
    until(PATIENCE, async || {
        // The pause of `until` between two calls lets the blocked write stop them, and not the room for their records.
        let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
        if found.status == 503 {
            assert_eq!(found.to_value(), blocked());
            return Ok(());
        }
        assert_eq!((found.status, &found.json()["result"]["isError"]), (200, &json!(false)), "{}", found.text());
        served += 1;
        Err(format!("still served after {served} calls"))
    })
    .await;
    served
}

/// The records of how calls ended.
fn ends(server: &TestServer) -> Vec<Value> {
    let mut ends = server.log.events("tool_call_success").unwrap();
    ends.extend(server.log.events("tool_call_error").unwrap());
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_is_blocked_calls_are_refused_before_any_effect_and_no_record_is_lost() {
    let backend = backend().await;
    let server = start(&document(&backend.url())).await;
    server.log.pause().await.unwrap();
    // What is admitted until the pipe is full happens, and is recorded later.
    let served = served_until_blocked(&server).await;
    assert_eq!(backend.received().len(), served, "each call that was served reached the backend once");

    let began = Instant::now();
    let mut refused = 0;
    for _ in 0..50 {
        let note = json!({"id": "7", "text": "x"});
        for (tool, arguments) in [("find", json!({"query": "x"})), ("note", note), ("echo", json!({"text": "x"}))] {
            assert_eq!(server.call(AGENT, tool, arguments).await.unwrap().to_value(), blocked(), "{tool}");
            refused += 1;
        }
    }
    // Far less than if each of them had waited for the log.
    assert!(began.elapsed() < BLOCKED_AFTER * refused / 2, "{:?} for {refused} refusals", began.elapsed());
    assert_eq!(backend.received().len(), served, "no call that was refused reached the backend");
    let health = server.send(&Request::get("/health")).await.unwrap().json();
    assert_eq!((&health["status"], &health["checks"]["audit"]["status"]), (&json!("degraded"), &json!("degraded")));

    server.log.resume();
    until(PATIENCE, async || {
        let found = server.call(AGENT, "note", json!({"id": "7", "text": "x"})).await.unwrap();
        if found.status == 200 { Ok(()) } else { Err(found.text()) }
    })
    .await;
    server.log.at_least(served + 1, "tool_call_success", PATIENCE).await.unwrap();
    let events = |event: &str| server.log.events(event).unwrap().len();
    assert_eq!(
        (events("tool_call_start"), events("tool_call_success"), events("tool_call_error"), events("records_dropped")),
        (served + 1, served + 1, 0, 0)
    );
    assert_eq!(backend.received().len(), served + 1);
    assert_gapless(&server.log.records().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_its_record_before_the_backend_is_called() {
    let backend = backend().await;
    let server = start(&document(&backend.url())).await;
    let mut connection = Connection::open(server.listen).await.unwrap();
    server.log.pause().await.unwrap();
    // The records of 40 reads fill the pipe twice over. It takes the server a second to consider the log blocked.
    let mut reads = 0;
    while reads < 40 && connection.send(&call(AGENT, "find", json!({"query": "x"}))).await.unwrap().status == 200 {
        reads += 1;
    }
    let found = connection.send(&call(AGENT, "note", json!({"id": "7", "text": "x"}))).await.unwrap();
    assert_eq!(found.to_value(), blocked());
    let methods: Vec<String> = backend.received().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, vec!["GET"; reads], "the write did not happen");
    server.log.resume();
    let ends = until(PATIENCE, async || {
        let (starts, ends) = (server.log.events("tool_call_start").unwrap(), ends(&server));
        let is_complete = starts.len() == ends.len() && ends.len() >= reads;
        if is_complete { Ok(ends) } else { Err(format!("{} ends for {} starts", ends.len(), starts.len())) }
    })
    .await;
    let succeeded = ends.iter().filter(|record| record["event"] == "tool_call_success").count();
    assert_eq!(succeeded, reads, "the calls that succeeded are those that the backend received");
}

/// Sends requests on connections of their own, all at once.
async fn send_together(server: &TestServer, requests: impl IntoIterator<Item = Request>) -> Vec<Value> {
    let mut sent = JoinSet::new();
    for request in requests {
        let address = server.listen;
        sent.spawn(async move { send(address, &request).await.unwrap().to_value() });
    }
    sent.join_all().await
}

/// Makes three writes of `agent` that are admitted and cannot be recorded, so that each is refused after its start.
pub async fn three_writes_that_cannot_be_recorded(server: &TestServer) {
    until(PATIENCE, async || {
        server.log.pause().await.unwrap();
        // The records of another client's calls fill the pipe.
        send_together(server, vec![call(READER, "echo", json!({"text": "x"})); 20]).await;
        let note = call(AGENT, "note", json!({"id": "7", "text": "x"}));
        assert_eq!(send_together(server, vec![note; 3]).await, vec![blocked(); 3]);
        server.log.resume();
        until(PATIENCE, async || {
            let found = server.call(READER, "echo", json!({"text": "x"})).await.unwrap();
            expect_eq(found.status, 200)
        })
        .await;
        // On a slow machine the log may count as blocked before they are admitted.
        let ends = server.log.events("tool_call_error").unwrap();
        let of_writes = ends.iter().filter(|end| end["error"] == "audit_blocked" && end["toolName"] == "note").count();
        if of_writes >= 3 { Ok(()) } else { Err(format!("{of_writes} of 3 ends in {ends:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_could_not_be_recorded_uses_up_no_call_of_its_limit() {
    let backend = backend().await;
    let mut document = document(&backend.url());
    client_of(&mut document, "agent")["limits"] = json!([{"requests": 3, "per": "1h"}]);
    let server = start(&document).await;
    three_writes_that_cannot_be_recorded(&server).await;
    assert_eq!(backend.received(), []);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let found = server.call(AGENT, "note", json!({"id": "7", "text": "x"})).await.unwrap();
        statuses.push(found.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_callers_cannot_block_the_log_and_are_recorded_in_few_lines() {
    let server = start(&document(NOWHERE)).await;
    let address = server.listen;
    let mut floods = JoinSet::new();
    for _ in 0..8 {
        floods.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            for n in 0..500 {
                let found = connection.send(&call(&format!("wrong-{n}"), "echo", json!({}))).await.unwrap();
                assert_eq!(found.status, 401);
            }
        });
    }
    while !floods.is_empty() {
        while let Some(ended) = floods.try_join_next() {
            ended.unwrap();
        }
        assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200);
    }
    let lines = until(PATIENCE, async || {
        let failed = server.log.events("auth_failed").unwrap();
        let counted: u64 = failed.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum();
        if counted == 4000 { Ok(failed.len()) } else { Err(format!("{counted} of 4000 in {} lines", failed.len())) }
    })
    .await;
    // At most ten lines and one count each second; half is reached only if most are recorded one by one.
    assert!(lines < 2000, "{lines} lines");
}
