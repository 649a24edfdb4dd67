//! From the log alone one can say who called what, when, for how long and with what outcome; and nothing in it was written by
//! a caller or a backend.

use std::collections::BTreeMap;

use portcullis_crds::credentials::KeyDigest;
use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::Request;
use portcullis_tests::server::{Server, call, policy, post, rpc};
use serde_json::{Value, json};

use crate::common::*;

/// Part of everything that a caller or a backend says in these tests.
const CANARY: &str = "canary-51c6";

/// A backend that works, fails or dawdles, as the query says, and talks about itself in each case.
async fn talkative() -> Backend {
    Backend::start(|request| {
        let canary = json!({"items": [{"canary-51c6": "canary-51c6"}], "error": "canary-51c6"});
        match request.target.as_str() {
            target if target.contains("fails") => Reply::Json(500, canary),
            target if target.contains("missing") => Reply::Json(404, canary),
            target if target.contains("garbage") => Reply::Bytes(
                b"HTTP/1.1 200 OK\r\nX-Canary: canary-51c6\r\nContent-Length: 12\r\n\r\n{canary-51c6".to_vec(),
            ),
            target if target.contains("hangs") => Reply::Silence,
            target if target.contains("closes") => Reply::Close,
            _ => Reply::Json(200, canary),
        }
    })
    .await
    .unwrap()
}

/// What happened, as the log tells it: per call the client, the tool, the outcome.
fn told(records: &[Value]) -> Vec<Value> {
    let mut calls: BTreeMap<String, Value> = BTreeMap::new();
    let mut story = Vec::new();
    for record in records {
        let field = |name: &str| record.get(name).cloned().unwrap_or(Value::Null);
        match record["event"].as_str().unwrap_or_default() {
            "tool_call_start" => {
                let call = json!([field("clientId"), field("toolName")]);
                assert!(calls.insert(record["executionId"].as_str().unwrap().into(), call).is_none(), "{record}");
            }
            end @ ("tool_call_success" | "tool_call_error") => {
                let call = calls.remove(record["executionId"].as_str().unwrap());
                let mut call = call.unwrap_or_else(|| panic!("an end without a start: {record}"));
                assert!(record["durationMs"].as_f64().is_some_and(|ms| ms >= 0.0), "{record}");
                let outcome = if end == "tool_call_success" { field("recordsReturned") } else { field("error") };
                call.as_array_mut().unwrap().push(outcome);
                story.push(call);
            }
            "tool_access_denied" => story.push(json!([field("clientId"), field("toolName"), field("reason")])),
            "rate_limit_exceeded" => story.push(json!([field("clientId"), field("toolName"), field("limit")])),
            "arguments_refused" => story.push(json!([field("clientId"), field("toolName"), field("keyword")])),
            "auth_failed" => story.push(json!([field("ip"), field("route"), field("reason")])),
            "client_refused" => story.push(json!([field("clientId"), null, field("reason")])),
            _ => {}
        }
    }
    assert_eq!(calls, BTreeMap::new(), "a start without an end");
    story
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_scripted_run_tells_the_whole_story_and_repeats_nobody() {
    let backend = talkative().await;
    let text = policy_text(&backend.url())
        .replace(
            "description: Finds contacts.",
            "description: Finds contacts.\n      timeout: 300ms\n      expensive: true",
        )
        .replacen("\nclients:", "\n  limits:\n    expensiveTools: {requests: 8, per: 1h}\nclients:", 1);
    let mut server = Server::start(&policy(&text).unwrap(), &keys()).await.unwrap();
    let wrong_key = format!("{CANARY}-{}", "x".repeat(40));
    let find = |query: &str| json!({"query": format!("{CANARY} {query}")});
    let mut expected = Vec::new();
    let script: Vec<(Request, Value)> = vec![
        (call(AGENT, "find", find("works")), json!(["agent", "find", 1])),
        (call(AGENT, "find", find("fails")), json!(["agent", "find", "backend_status"])),
        (call(AGENT, "find", find("missing")), json!(["agent", "find", "backend_status"])),
        (call(AGENT, "find", find("garbage")), json!(["agent", "find", "answer_malformed"])),
        (call(AGENT, "find", find("hangs")), json!(["agent", "find", "backend_timeout"])),
        (call(AGENT, "find", find("closes")), json!(["agent", "find", "backend_unreachable"])),
        (call(AGENT, "note", json!({"id": CANARY, "text": CANARY, CANARY: CANARY})), json!(["agent", "note", 1])),
        (call(READER, "echo", json!({"text": CANARY})), json!(["reader", "echo", 1])),
        (call(READER, "note", json!({"id": CANARY, "text": CANARY})), json!(["reader", "note", "write_not_allowed"])),
        (call(AGENT, CANARY, json!({CANARY: CANARY})), json!(["agent", null, "unknown"])),
        (call(AGENT, "echo", json!({CANARY: CANARY, "text": "x"})), json!(["agent", "echo", "additionalProperties"])),
        (call(AGENT, "echo", json!({"text": [CANARY]})), json!(["agent", "echo", "type"])),
        (call(&wrong_key, "echo", json!({"text": CANARY})), json!(["127.0.0.1", "/mcp", "unknown_key"])),
        (Request::post("/mcp", CANARY), json!(["127.0.0.1", "/mcp", "missing"])),
    ];
    for (request, story) in script {
        server.ask(&request).await.unwrap();
        expected.push(story);
    }
    // The rest of the expensive tool's limit, and one more.
    for _ in 0..2 {
        server.call(AGENT, "find", find("works")).await.unwrap();
        expected.push(json!(["agent", "find", 1]));
    }
    assert_eq!(server.call(AGENT, "find", find("limited")).await.unwrap().status, 429);
    expected.push(json!(["agent", "find", "tool"]));
    // What is no call says nothing of itself either.
    let post_text = |text: &str| Request::post("/mcp", text).with("x-api-key", AGENT);
    for request in [
        post_text(&format!(r#"{{"{CANARY}":"#)),
        post_text(&format!(
            r#"{{"jsonrpc":"2.0","id":"{CANARY}","method":"{CANARY}","params":{{"{CANARY}":1,"{CANARY}":1}}}}"#
        )),
        post(AGENT, &rpc(CANARY, json!({CANARY: CANARY}))),
        post(AGENT, &rpc("tools/list", json!({"cursor": CANARY}))),
        post(AGENT, &rpc("tools/list", json!({}))).with("MCP-Protocol-Version", CANARY),
        post(AGENT, &rpc("tools/list", json!({}))).with("Mcp-Session-Id", CANARY).with("User-Agent", CANARY),
        post(AGENT, &rpc("tools/list", json!({})))
            .with("Origin", CANARY)
            .target(&format!("/{CANARY}?{CANARY}={CANARY}")),
        post(
            AGENT,
            &rpc(
                "initialize",
                json!({"protocolVersion": CANARY, "capabilities": {}, "clientInfo": {"name": CANARY, "version": CANARY}}),
            ),
        ),
        Request::get(&format!("/{CANARY}")).with("Host", CANARY),
    ] {
        server.ask(&request).await.unwrap();
    }
    // A secret document that is refused: the findings name its fields, and repeat no value.
    let broken = format!("contract: 1\nclients: [{{id: {CANARY}, uid: {CANARY}, apiKeys: {CANARY}}}]");
    server.config.write_text(None, Some(&broken)).unwrap();
    server.log.event("policy_refused", PATIENCE).await.unwrap();

    let mut told_elsewhere = String::new();
    for target in ["/metrics", "/policy", "/health", "/readyz", "/livez"] {
        told_elsewhere.push_str(&server.admin(target).await.unwrap().text());
    }
    server.signal(rustix::process::Signal::TERM).unwrap();
    assert!(server.ended(PATIENCE).await.unwrap().success());
    let records = server.log.records().unwrap();
    assert_eq!(told(&records), expected);

    let printed = [server.log.lines(), server.log.stderr(), vec![told_elsewhere]].concat().join("\n");
    for secret in [CANARY, AGENT, READER, &wrong_key] {
        let digest = hex(&KeyDigest::of(secret.as_bytes()).0);
        for form in [secret, &digest] {
            assert!(!printed.contains(form), "{form} is in the log:\n{}", line_with(&printed, form));
        }
    }
    for record in &records {
        let [time, level] = ["time", "level"].map(|field| record[field].as_str().unwrap_or_default());
        assert!(time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{record}");
        assert!(["info", "warn", "error"].contains(&level), "{record}");
    }
    let numbers: Vec<u64> = records.iter().filter_map(|record| record["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "no gap");
}

#[tokio::test]
async fn a_record_has_every_field_that_it_promises() {
    let backend = talkative().await;
    let policy = unlimited(&backend.url());
    let server = Server::start(&policy, &keys()).await.unwrap();
    server.call(AGENT, "find", json!({"query": "works", "limit": 3})).await.unwrap();
    let start = server.log.event("tool_call_start", PATIENCE).await.unwrap();
    let end = server.log.event("tool_call_success", PATIENCE).await.unwrap();
    let key_id = KeyDigest::of(AGENT.as_bytes()).key_id();
    let shown = |record: &Value, changing: &[&str]| {
        let mut record = record.clone();
        for field in ["time", "seq", "instance"].iter().chain(changing) {
            assert!(record.as_object_mut().unwrap().remove(*field).is_some(), "no `{field}` in {record}");
        }
        record
    };
    assert_eq!(
        shown(&start, &["executionId", "argsDigest"]),
        json!({"level": "info", "event": "tool_call_start", "revision": policy.revision(), "clientId": "agent", "keyId": key_id,
            "decision": "allowed", "toolName": "find", "effect": "Read", "args": {"query": "string(5)", "limit": "integer"}})
    );
    assert_eq!(
        shown(&end, &["executionId", "durationMs", "bytes"]),
        json!({"level": "info", "event": "tool_call_success", "revision": policy.revision(), "clientId": "agent", "keyId": key_id,
            "toolName": "find", "recordsReturned": 1})
    );
    assert_eq!(start["executionId"], end["executionId"]);
    assert_eq!(start["argsDigest"].as_str().map(str::len), Some(64));
    let success = server.log.event("auth_success", PATIENCE).await.unwrap();
    assert_eq!(
        shown(&success, &[]),
        json!({"level": "info", "event": "auth_success", "revision": policy.revision(), "clientId": "agent", "keyId": key_id})
    );
}

#[tokio::test]
async fn equal_arguments_have_equal_digests_on_every_replica() {
    let (policy, keys) = (unlimited(NOWHERE), keys());
    let mut digests = Vec::new();
    for (text, _) in [("x", 1), ("x", 2), ("y", 1)] {
        let server = Server::start(&policy, &keys).await.unwrap();
        server.call(AGENT, "echo", json!({"text": text})).await.unwrap();
        digests.push(server.log.event("tool_call_start", PATIENCE).await.unwrap()["argsDigest"].clone());
    }
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_an_end_in_the_log() {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    let mut connection = portcullis_tests::http::Connection::open(server.listen).await.unwrap();
    connection.send(&call(AGENT, "find", json!({"query": "x"})).bytes()).await.unwrap();
    let start = server.log.event("tool_call_start", PATIENCE).await.unwrap();
    drop(connection);
    let end = server.log.event("tool_call_error", PATIENCE).await.unwrap();
    assert_eq!((&end["executionId"], &end["error"]), (&start["executionId"], &json!("disconnected")));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn line_with<'a>(printed: &'a str, form: &str) -> &'a str {
    printed.lines().find(|line| line.contains(form)).unwrap_or_default()
}
