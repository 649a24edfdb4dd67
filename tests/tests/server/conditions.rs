//! Conditions on arguments: a call that does not meet them is denied in the words of a tool that does not exist, and is recorded by the
//! name of the condition.

use std::time::Duration;

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::{PATIENCE, until};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

async fn backend() -> Backend {
    Backend::start(|_| Reply::Json(200, json!({"items": [{"id": 1}]}))).await.unwrap()
}

fn conditions() -> Value {
    json!([
        {"name": "own-tenant", "tool": "note", "argument": "/id", "prefix": "acme-"},
        {"name": "few", "tool": "find", "argument": "/limit", "maximum": 5},
        {"name": "own-words", "tool": "find", "argument": "/query", "in": ["canary-query", "another"]},
    ])
}

#[tokio::test]
async fn what_is_sent_to_the_backend_must_meet_them_and_a_refusal_says_nothing_of_them() {
    let backend = backend().await;
    let mut document = document(&backend.url());
    client_of(&mut document, "agent")["where"] = conditions();
    client_of(&mut document, "agent")["maxRecordsPerQuery"] = json!(5);
    let server = start(&document).await;
    let mut expected = Vec::new();
    for (tool, arguments, condition) in [
        // The limit that is put in for the caller counts, and so does one that is lowered.
        ("find", json!({"query": "another"}), None),
        ("find", json!({"query": "another", "limit": 400}), None),
        ("find", json!({"query": "other-canary"}), Some("own-words")),
        ("find", json!({"query": "Another"}), Some("own-words")),
        ("note", json!({"id": "acme-1", "text": "x"}), None),
        ("note", json!({"id": "zeta-1", "text": "x"}), Some("own-tenant")),
        ("note", json!({"id": "acme-%2e%2e", "text": "x"}), Some("own-tenant")),
        ("echo", json!({"text": "x"}), None),
    ] {
        let found = server.call(AGENT, tool, arguments.clone()).await.unwrap();
        match condition {
            None => assert_eq!(found.json()["result"]["isError"], false, "{tool} {arguments}: {}", found.text()),
            Some(condition) => {
                assert_eq!(found.to_value(), denied(tool), "{arguments}");
                expected.push(json!(["condition_not_met", tool, condition, "denied"]));
            }
        }
    }
    // Arguments that do not fit the tool at all are told first, as to everybody.
    let found = server.call(AGENT, "find", json!({"query": 7})).await.unwrap();
    assert_eq!(found.json()["result"]["isError"], true, "{}", found.text());
    // Nobody else has them.
    let found = server.call(READER, "find", json!({"query": "anything"})).await.unwrap();
    assert_eq!(found.json()["result"]["isError"], false);

    assert_eq!(backend.received().len(), 4);
    let records = server.log.at_least(expected.len(), "tool_access_denied", PATIENCE).await.unwrap();
    let found: Vec<_> =
        records.iter().map(|it| json!([it["reason"], it["toolName"], it["condition"], it["decision"]])).collect();
    assert_eq!(found, expected);
    assert!(!server.log.lines().join("\n").contains("canary"));
}

#[tokio::test]
async fn they_take_effect_on_a_reload_and_one_that_cannot_be_read_denies_its_client_alone() {
    let backend = backend().await;
    let mut document = document(&backend.url());
    let server = start(&document).await;
    let call = async |key| server.call(key, "find", json!({"query": "x"})).await.unwrap().status;
    let answer =
        async |key| server.call(key, "find", json!({"query": "x"})).await.unwrap().json()["error"]["code"].clone();
    assert_eq!((call(AGENT).await, answer(AGENT).await), (200, Value::Null));

    client_of(&mut document, "agent")["where"] = conditions();
    server.config.write_text(Some(&document.to_string()), None).unwrap();
    until(PATIENCE, async || match answer(AGENT).await {
        code if code == -32602 => Ok(()),
        code => Err(code),
    })
    .await;
    assert_eq!(answer(READER).await, Value::Null);

    for broken in [
        json!([{"name": "a", "tool": "find", "argument": "/query"}]),
        json!("none"),
        json!([{"name": "a", "tool": "find", "argument": "/q", "in": [1], "unless": 1}]),
    ] {
        client_of(&mut document, "agent")["where"] = broken.clone();
        server.config.write_text(Some(&document.to_string()), None).unwrap();
        until(PATIENCE, async || match call(AGENT).await {
            403 => Ok(()),
            status => Err(format!("{broken}: {status}")),
        })
        .await;
        assert_eq!(answer(READER).await, Value::Null);
        client_of(&mut document, "agent")["where"] = json!([]);
        server.config.write_text(Some(&document.to_string()), None).unwrap();
        until(PATIENCE, async || if call(AGENT).await == 200 { Ok(()) } else { Err("still refused") }).await;
    }
}

/// Many values cost little, and never more than a bounded number of steps.
#[tokio::test]
async fn a_long_list_is_decided_quickly() {
    let mut document = document(NOWHERE);
    document["spec"]["tools"][0]["inputSchema"] =
        json!({"type": "object", "properties": {"text": {"type": "string"}, "ids": {"type": "array"}}});
    let listed: Vec<Value> = (0..256).map(|n| json!(format!("id-{n}"))).collect();
    let all: Vec<Value> =
        (0..32).map(|n| json!({"name": format!("c{n}"), "tool": "echo", "argument": "/ids", "in": listed})).collect();
    client_of(&mut document, "agent")["where"] = json!(all);
    let server = start(&document).await;
    let ids: Vec<Value> = (0..6000).map(|n| json!(format!("id-{}", n % 256))).collect();
    let began = std::time::Instant::now();
    let found = server.call(AGENT, "echo", json!({"text": "x", "ids": ids})).await.unwrap();
    assert_eq!(found.to_value(), denied("echo"), "32 conditions on 6,000 values are more than are looked at");
    let few: Vec<Value> = (0..500).map(|n| json!(format!("id-{}", n % 256))).collect();
    let found = server.call(AGENT, "echo", json!({"text": "x", "ids": few})).await.unwrap();
    assert_eq!(found.json()["result"]["isError"], false, "{}", found.text());
    println!("both calls took {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(30));
}
