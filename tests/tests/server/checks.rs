//! What a check of arguments may cost: nothing for others, whatever the schema and the arguments are.

use std::time::Duration;

use futures::future::join_all;
use portcullis_tests::PATIENCE;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

/// A filter language as people write it, which refers to itself.
fn filter() -> Value {
    let branch = |kind: &str| {
        json!({"type": "object", "required": ["args", "op"],
            "properties": {"args": {"type": "array", "items": {"$ref": "#/$defs/node"}}, "op": {"const": kind}}})
    };
    let leaf = json!({"type": "object", "required": ["field"], "properties": {"field": {"type": "string"}}});
    json!({"type": "object", "required": ["where"], "properties": {"where": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"oneOf": [branch("and"), branch("or"), branch("not"), leaf]}}})
}

/// A filter that is nested this deep around a leaf.
fn nested(depth: usize, leaf: &Value) -> Value {
    (0..depth).fold(leaf.clone(), |inner, _| json!({"op": "and", "args": [inner]}))
}

#[tokio::test]
async fn a_recursive_filter_is_judged_at_any_depth() {
    let mut document = document(NOWHERE);
    tool_of(&mut document, "echo")["inputSchema"] = filter();
    tool_of(&mut document, "echo")["static"] = json!({"text": "found"});
    let server = start(&document).await;
    for depth in [0, 8, 25] {
        let valid =
            server.call(AGENT, "echo", json!({"where": nested(depth, &json!({"field": "name"}))})).await.unwrap();
        assert_eq!(valid.json()["result"]["content"][0]["text"], "found", "{depth}");
        let invalid = server.call(AGENT, "echo", json!({"where": nested(depth, &json!({"field": 5}))})).await.unwrap();
        let place = format!("/where{}/field", "/args/0".repeat(depth));
        let what = format!("`{place}` must be a string, to fit the nearest of 4 alternatives of the schema (`oneOf`)");
        assert_eq!(invalid.to_value(), invalid_arguments(&what), "{depth}");
    }
}

/// The pattern has 1,000 states, each of which is entered at each of 60,000 characters.
#[tokio::test]
async fn checks_that_take_too_long_are_refused_and_others_are_served_meanwhile() {
    let mut document = document(NOWHERE);
    tool_of(&mut document, "echo")["inputSchema"] =
        json!({"type": "object", "properties": {"text": {"type": "string", "pattern": "(a?){500}b"}}});
    let mut server = start(&document).await;
    let long = json!({"text": "a".repeat(60_000)});
    let heavy = join_all((0..3).map(|_| server.call(AGENT, "echo", long.clone())));
    let others = async {
        for _ in 0..50 {
            let found = server.call(READER, "echo", json!({"text": "b"})).await.unwrap();
            assert_eq!(found.json()["result"]["content"][0]["text"], "you said b");
        }
        assert_eq!(server.admin("/livez").await.unwrap().status, 200);
    };
    let (heavy, ()) = tokio::join!(heavy, others);
    for refused in heavy {
        let what = "checking them against the tool's schema takes too long; send fewer or less nested values";
        assert_eq!(refused.unwrap().to_value(), invalid_arguments(what));
    }
    let record = server.log.event("arguments_refused", PATIENCE).await.unwrap();
    assert_eq!((&record["keyword"], &record["clientId"]), (&json!("complexity"), &json!("agent")), "{record}");

    // A check that is in progress does not hold up the end of the server.
    let last = server.call(AGENT, "echo", long);
    let stopped = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        server.signal(Signal::TERM).unwrap();
    };
    let (_, ()) = tokio::join!(last, stopped);
    assert!(server.ended(PATIENCE).await.unwrap().success());
}
