//! A call that cannot be written down does not happen: while nobody reads the log, calls are refused before any effect, and
//! what was admitted is written later.

use std::time::{Duration, Instant};

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::eventually;
use portcullis_tests::http::Connection;
use portcullis_tests::server::{Server, call};
use serde_json::{Value, json};

use crate::common::*;

/// Calls until one is refused; how many were served before.
async fn until_refused(server: &Server, tool: &str, arguments: &Value) -> usize {
    let mut served = 0;
    let began = Instant::now();
    loop {
        let found = server.call(AGENT, tool, arguments.clone()).await.unwrap();
        match found.status {
            200 if found.json()["result"]["isError"] != true => served += 1,
            503 => {
                let body = error(503, "The audit log cannot be written; nothing was done");
                assert_eq!(whole(&found), answer_with(503, "retry-after", "1", body));
                return served;
            }
            _ => panic!("{found:?}"),
        }
        assert!(began.elapsed() < PATIENCE, "still served after {served} calls");
        // Slowly: it is the sink that is to stop them, not the room that they take.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every record's number, of one instance, in order: no gap means that nothing was lost.
fn assert_gapless(records: &[Value]) {
    let numbers: Vec<u64> = records.iter().filter_map(|record| record["seq"].as_u64()).collect();
    let first = numbers.first().copied().unwrap();
    let expected: Vec<u64> = (first..first + numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_reads_the_log_calls_are_refused_before_any_effect_and_nothing_is_lost() {
    let backend = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    let (note, find) = (json!({"id": "7", "text": "x"}), json!({"query": "x"}));
    assert_eq!(server.call(AGENT, "find", find.clone()).await.unwrap().status, 200);
    server.log.count("tool_call_success", 1, PATIENCE).await.unwrap();

    server.log.pause().await.unwrap();
    let paused = Instant::now();
    // The pipe still takes a little: what is admitted until it is full happens, and is written down later.
    let served = 1 + until_refused(&server, "find", &find).await;
    let reached = backend.received().len();
    println!("refused {:?} after nobody read the log", paused.elapsed());
    assert_eq!(reached, served, "each served call reached the backend once, no refused one did");

    // Now nothing gets through, of any tool, for as long as it lasts; refusals come at once.
    for _ in 0..50 {
        for (tool, arguments) in [("find", &find), ("note", &note), ("echo", &json!({"text": "x"}))] {
            let asked = Instant::now();
            let found = server.call(AGENT, tool, arguments.clone()).await.unwrap();
            assert_eq!(found.status, 503, "{tool}: {}", found.text());
            assert!(asked.elapsed() < Duration::from_secs(10), "{tool} waited {:?}", asked.elapsed());
        }
    }
    assert_eq!(backend.received().len(), reached, "nothing reached the backend");
    let health = server.ask(&portcullis_tests::http::Request::get("/health")).await.unwrap();
    assert_eq!(health.json()["status"], "degraded", "{}", health.text());

    server.log.resume();
    let more = eventually(PATIENCE, async || {
        let found = server.call(AGENT, "note", note.clone()).await.map_err(|error| error.to_string())?;
        if found.status == 200 { Ok(1) } else { Err(found.text()) }
    })
    .await
    .unwrap();
    let successes = server.log.count("tool_call_success", served + more, PATIENCE).await.unwrap();
    assert_eq!(successes.len(), served + more);
    assert_eq!(server.log.events("tool_call_start").unwrap().len(), served + more);
    assert_eq!(backend.received().len(), served + more);
    assert_gapless(&server.log.records().unwrap());
    assert_eq!(server.log.events("records_dropped").unwrap(), [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_its_record_before_the_backend_is_asked() {
    let backend = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    let mut connection = Connection::open(server.listen).await.unwrap();
    server.log.pause().await.unwrap();
    // Reads, until their records fill the pipe twice over. Nobody knows yet that the sink is blocked: that takes a second.
    let mut reads = 0;
    while reads < 40 {
        let found = connection.ask(&call(AGENT, "find", json!({"query": "x"}))).await.unwrap();
        if found.status == 503 {
            break;
        }
        reads += 1;
    }
    let found = connection.ask(&call(AGENT, "note", json!({"id": "7", "text": "x"}))).await.unwrap();
    assert_eq!(found.status, 503, "{}", found.text());
    let methods: Vec<String> = backend.received().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, vec!["GET"; reads], "the write did not happen");
    server.log.resume();
    let ends = eventually(PATIENCE, async || {
        let (starts, ends) = (server.log.events("tool_call_start").unwrap(), ends(&server));
        let is_complete = starts.len() == ends.len() && ends.len() >= reads;
        if is_complete { Ok(ends) } else { Err(format!("{} of {}", ends.len(), starts.len())) }
    })
    .await
    .unwrap();
    let succeeded = ends.iter().filter(|record| record["event"] == "tool_call_success").count();
    assert_eq!(succeeded, reads, "each start has its end, and a success is a call that the backend saw");
}

fn ends(server: &Server) -> Vec<Value> {
    let mut ends = server.log.events("tool_call_success").unwrap();
    ends.extend(server.log.events("tool_call_error").unwrap());
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_cause_a_503() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = server.listen;
        floods.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            for n in 0..500 {
                let found = connection.ask(&call(&format!("wrong-{n}"), "echo", json!({}))).await.unwrap();
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
    // 4000 in all, told in few lines: those that are not written one by one are counted.
    let told = eventually(PATIENCE, async || {
        let failed = server.log.events("auth_failed").unwrap();
        let told: u64 = failed.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum();
        if told == 4000 { Ok(failed.len()) } else { Err(format!("{told} told in {} lines", failed.len())) }
    })
    .await
    .unwrap();
    assert!(told < 2000, "{told} lines");
}
