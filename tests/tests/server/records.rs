//! A client's maximum of records bounds what is asked of a backend and what is returned, whatever the backend responds.

use portcullis_tests::PATIENCE;
use portcullis_tests::backend::{Backend, Reply};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

/// A backend that responds with this many records, whatever limit it receives.
async fn backend(count: usize) -> Backend {
    let items: Vec<Value> = (0..count).map(record).collect();
    Backend::start(move |_| Reply::Json(200, json!({"items": items, "next": "page-2", "total": count}))).await.unwrap()
}

fn record(n: usize) -> Value {
    json!({"id": n, "name": format!("contact {n}")})
}

#[tokio::test]
async fn a_limit_is_added_if_absent_and_lowered_if_it_is_above_the_maximum() {
    let backend = backend(1).await;
    let server = start(&document(&backend.url())).await;
    for (key, limit, sent) in [
        (AGENT, None, 10),
        (AGENT, Some(json!(3)), 3),
        (AGENT, Some(json!(10)), 10),
        (AGENT, Some(json!(11)), 10),
        (AGENT, Some(json!(500)), 10),
        (AGENT, Some(json!(5e2)), 10),
        (AGENT, Some(json!(null)), 10),
        (READER, None, 100),
        (READER, Some(json!(99)), 99),
    ] {
        let mut arguments = json!({"query": "x"});
        if let Some(limit) = &limit {
            arguments["limit"] = limit.clone();
        }
        let found = server.call(key, "find", arguments).await.unwrap();
        assert_eq!(found.json()["result"]["isError"], false, "{limit:?}: {}", found.text());
        let targets: Vec<String> = backend.take().into_iter().map(|request| request.target).collect();
        assert_eq!(targets, [format!("/contacts?limit={sent}&q=x")], "{limit:?}");
    }
    for limit in [json!(0), json!(-1), json!("10"), json!("all"), json!(1.5), json!(501), json!(1e300), json!([10])] {
        let found = server.call(AGENT, "find", json!({"query": "x", "limit": limit})).await.unwrap();
        assert!(tool_text(&found).starts_with("Invalid arguments: `/limit` must"), "{limit}: {}", found.text());
    }
    assert_eq!(backend.received(), [], "a limit that the schema does not allow is refused");
}

#[tokio::test]
async fn a_response_with_too_many_records_is_truncated_and_says_so() {
    let backend = backend(25).await;
    let server = start(&document(&backend.url())).await;
    // Without the records over the maximum, and without the cursor that would skip them.
    let kept = json!({"items": (0..10).map(record).collect::<Vec<_>>(), "total": 25});
    let note = "Only the first 10 records are shown: this client may not be given more by one call.";
    let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
    let result = json!({
        "content": [{"type": "text", "text": kept.to_string()}, {"type": "text", "text": note}],
        "structuredContent": kept, "isError": false, "_meta": {"portcullis.dev/truncated": true},
    });
    assert_eq!(found.to_value(), response(200, rpc_result(result)));
    let end = server.log.event("tool_call_success", PATIENCE).await.unwrap();
    assert_eq!(end["recordsReturned"], 10, "{end}");

    let all = json!({"items": (0..25).map(record).collect::<Vec<_>>(), "next": "page-2", "total": 25});
    let found = server.call(READER, "find", json!({"query": "x"})).await.unwrap();
    let result = json!({"content": [{"type": "text", "text": all.to_string()}], "structuredContent": all,
        "isError": false});
    assert_eq!(found.to_value(), response(200, rpc_result(result)), "below the maximum nothing is left out");
}

#[tokio::test]
async fn a_limit_that_was_put_in_is_said_if_there_may_be_more() {
    let backend = backend(10).await;
    let server = start(&document(&backend.url())).await;
    let all = json!({"items": (0..10).map(record).collect::<Vec<_>>(), "next": "page-2", "total": 10});
    let text = json!({"type": "text", "text": all.to_string()});
    let note = "Only the first 10 records were asked for, by a limit of this server; there may be more.";
    let said = json!({"content": [text, {"type": "text", "text": note}], "structuredContent": all, "isError": false,
        "_meta": {"portcullis.dev/truncated": true}});
    let whole = json!({"content": [text], "structuredContent": all, "isError": false});
    for (key, arguments, expected) in [
        (AGENT, json!({"query": "x"}), &said),
        (AGENT, json!({"query": "x", "limit": 50}), &said),
        (AGENT, json!({"query": "x", "limit": 10}), &whole),
        (READER, json!({"query": "x"}), &whole),
    ] {
        let found = server.call(key, "find", arguments.clone()).await.unwrap();
        assert_eq!(found.to_value(), response(200, rpc_result(expected.clone())), "{arguments}");
    }
}

#[tokio::test]
async fn the_records_that_are_kept_keep_their_digits() {
    let body = r#"{"items": [{"n": 1.50}, {"n": 2e0}, {"n": 3}], "total": 3.0}"#;
    let backend = Backend::start(move |_| Reply::response(200, body)).await.unwrap();
    let mut document = document(&backend.url());
    client_of(&mut document, "agent")["maxRecordsPerQuery"] = json!(2);
    let server = start(&document).await;
    let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
    assert_eq!(tool_text(&found), r#"{"items":[{"n":1.50},{"n":2e0}],"total":3.0}"#);
    assert!(found.text().contains(r#""structuredContent":{"items":[{"n":1.50},{"n":2e0}],"total":3.0}"#));
}

#[tokio::test]
async fn the_records_of_a_static_tool_are_truncated_too() {
    let mut document = document(NOWHERE);
    let list = json!({"name": "list", "description": "Lists.", "backend": "fixed",
        "static": {"structuredContent": {"items": [1, 2, 3], "next": "c"}},
        "records": {"path": "/items", "cursorPath": "/next"}});
    document["spec"]["tools"].as_array_mut().unwrap().push(list);
    document["clients"] = json!([client("agent", &["list"], 2, false)]);
    let server = start(&document).await;
    let found = server.call(AGENT, "list", json!({})).await.unwrap();
    let note = "Only the first 2 records are shown: this client may not be given more by one call.";
    let result = json!({
        "content": [{"type": "text", "text": r#"{"items":[1,2]}"#}, {"type": "text", "text": note}],
        "structuredContent": {"items": [1, 2]}, "isError": false, "_meta": {"portcullis.dev/truncated": true},
    });
    assert_eq!(found.to_value(), response(200, rpc_result(result)));
}

#[tokio::test]
async fn a_response_without_its_list_of_records_is_a_tool_error_and_nothing_of_it_is_returned() {
    for body in [
        json!({"contacts": ["canary"]}),
        json!({"items": "canary"}),
        json!({"items": {"0": "canary"}}),
        json!(["canary"]),
        json!("canary"),
    ] {
        let shown = body.to_string();
        let backend = Backend::start(move |_| Reply::Json(200, body.clone())).await.unwrap();
        let server = start(&document(&backend.url())).await;
        let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
        let result = tool_error("Backend 'api' returned a response without the list of records.");
        assert_eq!(found.to_value(), response(200, rpc_result(result)), "{shown}");
        let end = server.log.event("tool_call_error", PATIENCE).await.unwrap();
        assert_eq!(end["error"], "records_missing", "{shown}");
    }
}
