//! The audit log alone shows who called what, when, for how long and with what outcome, and it has no text of a caller or a
//! backend.

use std::collections::BTreeMap;

use portcullis_crds::contract::KeyDigest;
use portcullis_tests::PATIENCE;
use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{TestServer, call, post, rpc};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fixtures::*;
use crate::revisions::stateless;

/// A part of every text that a caller or a backend sends in these tests.
const CANARY: &str = "canary-51c6";

/// A backend that succeeds or fails depending on the query, with the canary in everything that it sends.
async fn backend() -> Backend {
    Backend::start(|request| {
        let canary = json!({"items": [{CANARY: CANARY}], "error": CANARY});
        match request.target.as_str() {
            target if target.contains("fails") => Reply::Json(500, canary),
            target if target.contains("missing") => Reply::Json(404, canary),
            target if target.contains("garbage") => Reply::Bytes(
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Canary: {CANARY}\r\nConnection: close\r\n\
                     Content-Length: 12\r\n\r\n{{{CANARY}"
                )
                .into_bytes(),
            ),
            target if target.contains("hangs") => Reply::Silence,
            target if target.contains("closes") => Reply::Close,
            _ => Reply::Json(200, canary),
        }
    })
    .await
    .unwrap()
}

/// The log as one line for each call and refusal: the client, the tool, the outcome.
fn story(records: &[Value]) -> Vec<Value> {
    let mut running: BTreeMap<&str, [&Value; 2]> = BTreeMap::new();
    let mut story = Vec::new();
    for record in records {
        let refusal = |reason: &str| json!([record["clientId"], record["toolName"], record[reason]]);
        match record["event"].as_str().unwrap_or_default() {
            "tool_call_start" => {
                let call = [&record["clientId"], &record["toolName"]];
                let before = running.insert(record["executionId"].as_str().unwrap(), call);
                assert_eq!(before, None, "two calls with one id: {record}");
            }
            end @ ("tool_call_success" | "tool_call_error") => {
                let started = running.remove(record["executionId"].as_str().unwrap());
                let [client, tool] = started.unwrap_or_else(|| panic!("an end without a start: {record}"));
                assert!(record["durationMs"].as_f64().is_some_and(|ms| ms >= 0.0), "{record}");
                let outcome = if end == "tool_call_success" { "recordsReturned" } else { "error" };
                story.push(json!([client, tool, record[outcome]]));
            }
            "tool_access_denied" | "client_refused" => story.push(refusal("reason")),
            "rate_limit_exceeded" => story.push(refusal("limit")),
            "arguments_refused" => story.push(refusal("keyword")),
            "auth_failed" => story.push(json!([record["ip"], record["route"], record["reason"]])),
            _ => {}
        }
    }
    assert_eq!(running, BTreeMap::new(), "a start without an end");
    story
}

/// Requests, each with the line of the story that it becomes.
fn script() -> Vec<(Request, Value)> {
    let find = |query: &str| call(AGENT, "find", json!({"query": format!("{CANARY} {query}")}));
    let note = json!({"id": CANARY, "text": CANARY, CANARY: CANARY});
    vec![
        (find("works"), json!(["agent", "find", 1])),
        (find("fails"), json!(["agent", "find", "backend_status"])),
        (find("missing"), json!(["agent", "find", "backend_status"])),
        (find("garbage"), json!(["agent", "find", "answer_malformed"])),
        (find("hangs"), json!(["agent", "find", "backend_timeout"])),
        (find("closes"), json!(["agent", "find", "backend_unreachable"])),
        (call(AGENT, "note", note.clone()), json!(["agent", "note", 1])),
        (call(READER, "echo", json!({"text": CANARY})), json!(["reader", "echo", 1])),
        (call(READER, "note", note), json!(["reader", "note", "write_not_allowed"])),
        (call(AGENT, CANARY, json!({CANARY: CANARY})), json!(["agent", null, "unknown"])),
        (call(AGENT, "echo", json!({CANARY: CANARY, "text": "x"})), json!(["agent", "echo", "additionalProperties"])),
        (call(AGENT, "echo", json!({"text": [CANARY]})), json!(["agent", "echo", "type"])),
        (call(&wrong_key(), "echo", json!({"text": CANARY})), json!(["127.0.0.1", "/mcp", "unknown_key"])),
        (Request::post("/mcp", CANARY), json!(["127.0.0.1", "/mcp", "missing"])),
        // The last two of the eight calls that the limit of an expensive tool admits, and one more.
        (find("works"), json!(["agent", "find", 1])),
        (find("works"), json!(["agent", "find", 1])),
        (find("limited"), json!(["agent", "find", "tool"])),
    ]
}

fn wrong_key() -> String {
    format!("{CANARY}-{}", "x".repeat(40))
}

/// Requests that are not calls, with the canary wherever a caller can put a text.
fn other_requests() -> Vec<Request> {
    let text = |text: String| Request::post("/mcp", text).with("x-api-key", AGENT);
    let list = || post(AGENT, &rpc("tools/list", json!({})));
    let info = json!({"name": CANARY, "version": CANARY});
    vec![
        text(format!(r#"{{"{CANARY}":"#)),
        text(format!(
            r#"{{"jsonrpc":"2.0","id":"{CANARY}","method":"{CANARY}","params":{{"{CANARY}":1,"{CANARY}":1}}}}"#
        )),
        post(AGENT, &rpc(CANARY, json!({CANARY: CANARY}))),
        post(AGENT, &rpc("tools/list", json!({"cursor": CANARY}))),
        list().with("MCP-Protocol-Version", CANARY),
        list().with("Mcp-Session-Id", CANARY).with("User-Agent", CANARY),
        list().with("Origin", CANARY).target(&format!("/{CANARY}?{CANARY}={CANARY}")),
        post(AGENT, &rpc("initialize", json!({"protocolVersion": CANARY, "capabilities": {}, "clientInfo": info}))),
        Request::get(&format!("/{CANARY}")).with("Host", CANARY),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_scripted_run_tells_the_whole_story_and_repeats_no_text() {
    let backend = backend().await;
    let mut document = document(&backend.url());
    document["spec"]["limits"]["expensiveTools"] = json!({"requests": 8, "per": "1h"});
    tool_of(&mut document, "find")["expensive"] = json!(true);
    tool_of(&mut document, "find")["timeout"] = json!("2s");
    let mut server = start(&document).await;

    let (requests, expected): (Vec<_>, Vec<_>) = script().into_iter().unzip();
    for request in requests.into_iter().chain(other_requests()) {
        server.send(&request).await.unwrap();
    }
    let broken = format!("contract: 1\nclients: [{{id: {CANARY}, uid: {CANARY}, apiKeys: {CANARY}}}]");
    server.config.write_text(None, Some(&broken)).unwrap();
    server.log.event("policy_refused", PATIENCE).await.unwrap();
    let mut pages = String::new();
    for target in ["/metrics", "/policy", "/health", "/readyz", "/livez"] {
        pages.push_str(&server.admin(target).await.unwrap().text());
    }
    server.signal(Signal::TERM).unwrap();
    assert!(server.ended(PATIENCE).await.unwrap().success());

    let records = server.log.records().unwrap();
    assert_eq!(story(&records), expected);
    assert_gapless(&records);
    for record in &records {
        let [time, level] = ["time", "level"].map(|field| record[field].as_str().unwrap_or_default());
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{record}");
        assert!(["info", "warn", "error"].contains(&level), "{record}");
    }
    let printed = [server.log.lines(), server.log.stderr(), vec![pages]].concat();
    for secret in [CANARY, AGENT, READER, &wrong_key()] {
        let digest: String = KeyDigest::of(secret.as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect();
        let repeats = |line: &&String| line.contains(secret) || line.contains(&digest);
        assert_eq!(printed.iter().find(repeats), None);
    }
}

/// Checks that the numbers of the records have no gap, which proves that none was lost.
pub fn assert_gapless(records: &[Value]) {
    let numbers: Vec<u64> = records.iter().filter_map(|record| record["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

/// A record without these fields, which it must have.
fn without(record: &Value, fields: &[&str]) -> Value {
    let mut record = record.clone();
    for field in fields {
        assert!(record.as_object_mut().unwrap().remove(*field).is_some(), "no `{field}` in {record}");
    }
    record
}

#[tokio::test]
async fn a_record_has_every_documented_field() {
    let backend = backend().await;
    let policy = parsed(&document(&backend.url()));
    let server = TestServer::start(&policy, &keys()).await.unwrap();
    let found = server.call(AGENT, "find", json!({"query": "works", "limit": 3})).await.unwrap();
    let start = server.log.event("tool_call_start", PATIENCE).await.unwrap();
    let end = server.log.event("tool_call_success", PATIENCE).await.unwrap();
    let success = server.log.event("auth_success", PATIENCE).await.unwrap();
    let key_id = KeyDigest::of(AGENT.as_bytes()).key_id();
    assert_eq!(
        without(&start, &["time", "seq", "instance", "executionId", "traceId", "argsDigest"]),
        json!({"level": "info", "event": "tool_call_start", "revision": policy.revision(), "clientId": "agent",
            "keyId": key_id, "decision": "allowed", "toolName": "find", "effect": "Read",
            "args": {"query": "string(5)", "limit": "integer"}})
    );
    assert_eq!(
        without(&end, &["time", "seq", "instance", "executionId", "traceId", "durationMs", "bytes"]),
        json!({"level": "info", "event": "tool_call_success", "revision": policy.revision(), "clientId": "agent",
            "keyId": key_id, "toolName": "find", "recordsReturned": 1})
    );
    assert_eq!((&start["executionId"], &start["traceId"]), (&end["executionId"], &end["traceId"]));
    let found: Value = serde_json::from_slice(&found.body).unwrap();
    assert_eq!(found["result"]["_meta"]["portcullis.dev/executionId"], start["executionId"]);
    assert_eq!(start["argsDigest"].as_str().map(str::len), Some(64));
    assert_eq!(
        without(&success, &["time", "seq", "instance"]),
        json!({"level": "info", "event": "auth_success", "revision": policy.revision(), "clientId": "agent",
            "keyId": key_id})
    );
}

#[tokio::test]
async fn equal_arguments_have_equal_digests_in_every_replica() {
    let document = document(NOWHERE);
    let mut digests = Vec::new();
    for text in ["x", "x", "y"] {
        let replica = start(&document).await;
        replica.call(AGENT, "echo", json!({"text": text})).await.unwrap();
        digests.push(replica.log.event("tool_call_start", PATIENCE).await.unwrap()["argsDigest"].clone());
    }
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

#[tokio::test]
async fn a_caller_that_disconnects_leaves_the_end_of_its_call_in_the_log() {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    let server = start(&document(&backend.url())).await;
    for (tool, arguments) in [("find", json!({"query": "x"})), ("note", json!({"id": "7", "text": "x"}))] {
        let calls = server.log.events("tool_call_start").unwrap().len() + 1;
        let mut connection = Connection::open(server.listen).await.unwrap();
        let request = stateless("tools/call", Some(tool), json!({"name": tool, "arguments": arguments}));
        connection.write(&request.bytes()).await.unwrap();
        let starts = server.log.at_least(calls, "tool_call_start", PATIENCE).await.unwrap();
        drop(connection);
        let ends = server.log.at_least(calls, "tool_call_error", PATIENCE).await.unwrap();
        let (start, end) = (&starts[calls - 1], &ends[calls - 1]);
        assert_eq!((&end["executionId"], &end["error"]), (&start["executionId"], &json!("disconnected")), "{tool}");
    }
}
