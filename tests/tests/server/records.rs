//! A client's maximum of records bounds what is asked of the backend and what is returned, whatever the backend does.

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::server::Server;
use serde_json::{Value, json};

use crate::common::*;

/// A backend that answers with this many records whatever is asked.
async fn generous(count: usize) -> Backend {
    let items: Vec<Value> = (0..count).map(|n| json!({"id": n, "name": format!("contact {n}")})).collect();
    Backend::start(move |_| Reply::Json(200, json!({"items": items, "next": "page-2", "total": count}))).await.unwrap()
}

#[tokio::test]
async fn the_limit_is_injected_clamped_or_left() {
    let backend = generous(1).await;
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    for (key, arguments, target) in [
        (AGENT, json!({"query": "x"}), "/contacts?limit=10&q=x"),
        (AGENT, json!({"query": "x", "limit": 10}), "/contacts?limit=10&q=x"),
        (AGENT, json!({"query": "x", "limit": 11}), "/contacts?limit=10&q=x"),
        (AGENT, json!({"query": "x", "limit": 500}), "/contacts?limit=10&q=x"),
        // Clamped before it is validated, so that one more than the schema's maximum is no error either.
        (AGENT, json!({"query": "x", "limit": 100_000}), "/contacts?limit=10&q=x"),
        (AGENT, json!({"query": "x", "limit": 3}), "/contacts?limit=3&q=x"),
        (READER, json!({"query": "x"}), "/contacts?limit=100&q=x"),
        (READER, json!({"query": "x", "limit": 99}), "/contacts?limit=99&q=x"),
    ] {
        let found = server.call(key, "find", arguments.clone()).await.unwrap();
        assert_eq!(found.status, 200, "{arguments}: {}", found.text());
        let received = backend.take();
        assert_eq!(received.iter().map(|request| request.target.as_str()).collect::<Vec<_>>(), [target], "{arguments}");
    }
    for limit in [json!(0), json!(-1), json!("10"), json!(1.5), json!(null), json!([10])] {
        let found = server.call(AGENT, "find", json!({"query": "x", "limit": limit})).await.unwrap();
        assert_eq!(found.json()["error"]["code"], -32602, "{limit}: {}", found.text());
    }
    assert_eq!(backend.received(), [], "what does not fit the schema is refused");
}

#[tokio::test]
async fn an_answer_with_too_many_records_is_trimmed_and_says_so_to_model_and_client() {
    let backend = generous(25).await;
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
    let result = &found.json()["result"];
    let structured = &result["structuredContent"];
    let kept: Vec<Value> = (0..10).map(|n| json!({"id": n, "name": format!("contact {n}")})).collect();
    assert_eq!(structured["items"], Value::from(kept));
    assert_eq!(structured.get("next"), None, "no way to the next page past what was left out");
    assert!(result["_meta"].get("portcullis.dev/truncated").is_some(), "{result}");
    let blocks = result["content"].as_array().unwrap();
    let texts: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    assert!(texts.contains("contact 9") && !texts.contains("contact 10") && !texts.contains("page-2"), "{texts}");
    assert!(texts.contains("10"), "a sentence says how many there are: {texts}");
    let record = server.log.event("tool_call_success", PATIENCE).await.unwrap();
    assert_eq!(record["recordsReturned"], 10, "{record}");

    let all = server.call(READER, "find", json!({"query": "x"})).await.unwrap().json();
    assert_eq!(all["result"]["structuredContent"]["items"].as_array().unwrap().len(), 25);
    assert_eq!(all["result"]["structuredContent"]["next"], "page-2", "nothing was left out");
    assert_eq!(all["result"].get("_meta").and_then(|meta| meta.get("portcullis.dev/truncated")), None);
}

#[tokio::test]
async fn an_answer_without_its_list_is_a_tool_error_and_none_of_it_is_passed_on() {
    for body in [
        json!({"contacts": ["canary"]}),
        json!({"items": "canary"}),
        json!({"items": {"0": "canary"}}),
        json!({"items": null, "x": "canary"}),
        json!(["canary"]),
        json!("canary"),
    ] {
        let shown = body.to_string();
        let backend = Backend::start(move |_| Reply::Json(200, body.clone())).await.unwrap();
        let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
        let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
        assert_eq!(
            (found.status, found.json()["result"]["isError"].clone()),
            (200, json!(true)),
            "{shown}: {}",
            found.text()
        );
        assert!(!found.text().contains("canary"), "{shown}: {}", found.text());
    }
}

#[tokio::test]
async fn an_answer_that_is_no_good_json_is_a_tool_error() {
    let http = |body: &[u8]| {
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len())
                .into_bytes();
        bytes.extend_from_slice(body);
        bytes
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for bytes in [
        http(b""),
        http(b"{"),
        http(b"<html>"),
        http(b"\xff\xfe"),
        http(br#"{"items":[],"items":[1]}"#),
        http(deep.as_bytes()),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\nbroken".to_vec(),
        b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        Vec::new(),
    ] {
        let shown: String = String::from_utf8_lossy(&bytes).chars().take(120).collect();
        let backend = Backend::start(move |_| Reply::Bytes(bytes.clone())).await.unwrap();
        let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
        let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
        assert_eq!(
            (found.status, found.json()["result"]["isError"].clone()),
            (200, json!(true)),
            "{shown}: {}",
            found.text()
        );
        assert_eq!(backend.received().len(), 1, "{shown}: a call is never sent twice");
    }
}

#[tokio::test]
async fn a_backend_that_never_answers_is_a_tool_error_within_the_tools_timeout() {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    let text = policy_text(&backend.url())
        .replace("description: Finds contacts.", "description: Finds contacts.\n      timeout: 200ms");
    let server = Server::start(&portcullis_tests::server::policy(&text).unwrap(), &keys()).await.unwrap();
    let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
    assert_eq!((found.status, found.json()["result"]["isError"].clone()), (200, json!(true)), "{}", found.text());
    let record = server.log.event("tool_call_error", PATIENCE).await.unwrap();
    assert!(record["durationMs"].as_f64().unwrap() >= 199.0, "{record}");
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200);
}
