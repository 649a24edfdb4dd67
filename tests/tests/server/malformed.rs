//! JSON that can be read in two ways, or in none, is refused before anything acts on it.

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::Request;
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

fn raw(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/mcp", body).with("x-api-key", AGENT)
}

/// A call of `note` with this text as its arguments.
fn note(arguments: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"note","arguments":{arguments}}}}}"#)
}

/// A `ping` with this text as its parameters.
fn ping(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{params}}}"#)
}

/// A body, and the id that its refusal has.
type Case = (Vec<u8>, Value);

/// Cases of bodies whose id is not read, because what they are is not clear.
fn without_id(bodies: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Vec<Case> {
    bodies.into_iter().map(|body| (body.into(), Value::Null)).collect()
}

/// Sends each body. Each is refused with a 400 and this code, and nothing reaches the backend.
async fn are_refused(cases: Vec<Case>, code: i64) {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let server = start(&document(&backend.url())).await;
    for (body, id) in cases {
        let shown: String = String::from_utf8_lossy(&body).chars().take(300).collect();
        let found = server.send(&raw(body)).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!((status_and_code(&found), &found.json()["id"]), ((400, Some(code)), &id), "{shown}");
        assert!(!found.text().contains("canary"), "{shown}: {}", found.text());
    }
    assert_eq!(backend.received(), []);
    let served = server.send(&raw(note(r#"{"id":"7","text":"x"}"#))).await.unwrap();
    assert_eq!((status_and_code(&served), backend.received().len()), ((200, None), 1), "a valid one is served");
}

#[tokio::test]
async fn a_key_that_appears_twice_is_refused_at_every_depth() {
    let mut bodies = vec![
        r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"note","arguments":{"id":"1","text":"x"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","n\u0061me":"note","arguments":{"id":"1","text":"x"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"note","arguments":{"id":"1","text":"x"},"arguments":{}}}"#.to_owned(),
        note(r#"{"id":"1","id":"canary","text":"x"}"#),
        note(r#"{"id":"1","text":"x","other":{"a":[{"b":1,"b":2}]}}"#),
        note(r#"{"id":"1","text":"x","":1,"":2}"#),
        note(r#"{"id":"1","text":"x","\ud83d\ude00":1,"😀":2}"#),
        ping(r#"{"_meta":{"a":1,"a":1}}"#),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","unknown":{"a":1,"a":1}}"#.to_owned(),
    ];
    for depth in 1..=58 {
        let (open, close) = (r#"{"a":"#.repeat(depth), "}".repeat(depth));
        bodies.push(note(&format!(r#"{{"id":"1","text":"x","other":{open}{{"b":1,"b":2}}{close}}}"#)));
    }
    let many: Vec<String> = (0..1000).map(|n| format!(r#""k{n}":0"#)).collect();
    bodies.push(note(&format!(r#"{{"id":"1","text":"x",{},"k0":1}}"#, many.join(","))));
    are_refused(without_id(bodies), -32600).await;
}

/// A call of `note` that is nested this deep: the message, `params`, `arguments` and `other` are four levels.
fn nested(depth: usize, open: &str, close: &str) -> String {
    let (open, close) = (open.repeat(depth - 3), close.repeat(depth - 3));
    note(&format!(r#"{{"id":"1","text":"x","other":{open}1{close}}}"#))
}

#[tokio::test]
async fn nesting_of_64_levels_is_served_and_deeper_nesting_is_refused() {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let server = start(&document(&backend.url())).await;
    for body in [nested(64, "[", "]"), nested(64, r#"{"a":"#, "}")] {
        let found = server.send(&raw(body)).await.unwrap();
        assert_eq!(status_and_code(&found), (200, None), "{}", found.text());
    }
    assert_eq!(backend.received().len(), 2);
    let deep = [
        nested(65, "[", "]"),
        nested(65, r#"{"a":"#, "}"),
        nested(10_000, "[", "]"),
        "[".repeat(500_000),
        r#"{"a":"#.repeat(200_000),
    ];
    are_refused(without_id(deep), -32600).await;
}

#[tokio::test]
async fn a_batch_is_refused() {
    let ping = ping("{}");
    are_refused(without_id([format!("[{ping}]"), format!("[{ping},{ping}]"), "[]".to_owned()]), -32600).await;
}

#[tokio::test]
async fn json_that_is_not_a_request_is_refused_with_the_id_that_it_has() {
    let cases = [
        ("1", json!(null)),
        ("null", json!(null)),
        ("\"ping\"", json!(null)),
        ("{}", json!(null)),
        (r#"{"id":1,"method":"ping"}"#, json!(1)),
        (r#"{"id":"x","method":"ping"}"#, json!("x")),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, json!(1)),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, json!(1)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, json!(null)),
        (r#"{"jsonrpc":"2.0","id":1}"#, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#, json!(1)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#, json!(1)),
        (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, json!(7)),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#, json!(1)),
    ];
    are_refused(cases.map(|(body, id)| (body.into(), id)).into(), -32600).await;
}

#[tokio::test]
async fn text_that_is_not_json_is_a_parse_error() {
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "}",
        "nul",
        "'x'",
        "{'jsonrpc':'2.0'}",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{}"#,
        r#"{"jsonrpc":"2.0","id":01,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":+1,"method":"ping"}"#,
        &ping(r#"{"a":NaN}"#),
        &ping(r#"{"a":1.}"#),
        &ping(r#"{"a":"\x"}"#),
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\nng\"}",
        "// a comment\n{}",
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        // One half of a surrogate pair, in values and keys.
        &ping(r#"{"a":"\ud800"}"#),
        &ping(r#"{"a":"\udc00"}"#),
        &ping(r#"{"a":"\ud800\ud800"}"#),
        &ping(r#"{"a":"\ud800x"}"#),
        &ping(r#"{"\udfff":1}"#),
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"] {
        bodies.push([br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":""#, bytes, br#""}}"#].concat());
    }
    bodies.push(vec![0; 10]);
    are_refused(without_id(bodies), -32700).await;
}
