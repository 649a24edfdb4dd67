//! JSON that can be read in two ways, or in none, is refused before anything acts on it.

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::Request;
use portcullis_tests::server::Server;
use serde_json::{Value, json};

use crate::common::*;

fn raw(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/mcp", body).with("x-api-key", AGENT)
}

/// A call of `note` with this text for its arguments.
fn note(arguments: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"note","arguments":{arguments}}}}}"#)
}

/// Asks with each body: none is served, each gets this code with a 400, and nothing reaches the backend.
async fn refused(bodies: &[Vec<u8>], code: i64) {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    for body in bodies {
        let shown = String::from_utf8_lossy(body);
        let shown = shown.chars().take(300).collect::<String>();
        let found = server.ask(&raw(body.clone())).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        let message = found.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        let id = found.json()["id"].clone();
        assert!(id == 1 || id.is_null(), "{shown}: {id}");
        let expected = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
        assert_eq!(whole(&found), answer(400, expected), "{shown}");
        assert!(!message.contains("canary"), "{message}");
    }
    assert_eq!(backend.received(), [], "nothing is asked of the backend");
    let served = server.ask(&raw(note(r#"{"id":"7","text":"x"}"#))).await.unwrap();
    assert_eq!(served.status, 200);
    assert_eq!(backend.received().len(), 1, "a good one is");
}

#[tokio::test]
async fn a_key_that_is_there_twice_is_refused_at_every_depth() {
    let mut bodies: Vec<Vec<u8>> = [
        r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"note","arguments":{"id":"1","text":"x"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","n\u0061me":"note","arguments":{"id":"1","text":"x"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"note","arguments":{"id":"1","text":"x"},"arguments":{}}}"#.to_owned(),
        note(r#"{"id":"1","id":"canary","text":"x"}"#),
        note(r#"{"id":"1","text":"x","other":{"a":[{"b":1,"b":2}]}}"#),
        note(r#"{"id":"1","text":"x","":1,"":2}"#),
        note(r#"{"id":"1","text":"x","\ud83d\ude00":1,"😀":2}"#),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"a":1,"a":1}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","unknown":{"a":1,"a":1}}"#.to_owned(),
    ]
    .map(String::into_bytes)
    .into();
    for depth in 1..=58 {
        let (open, close) = (r#"{"a":"#.repeat(depth), "}".repeat(depth));
        bodies.push(note(&format!(r#"{{"id":"1","text":"x","other":{open}{{"b":1,"b":2}}{close}}}"#)).into_bytes());
    }
    let many: Vec<String> = (0..1000).map(|n| format!(r#""k{n}":0"#)).collect();
    bodies.push(note(&format!(r#"{{"id":"1","text":"x",{},"k0":1}}"#, many.join(","))).into_bytes());
    refused(&bodies, -32600).await;
}

#[tokio::test]
async fn nesting_deeper_than_64_is_refused_and_64_is_served() {
    // The message, `params`, `arguments` and `other` are four levels already.
    let nested = |depth: usize, open: &str, close: &str| {
        let (open, close) = (open.repeat(depth - 3), close.repeat(depth - 3));
        note(&format!(r#"{{"id":"1","text":"x","other":{open}1{close}}}"#)).into_bytes()
    };
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let server = Server::start(&unlimited(&backend.url()), &keys()).await.unwrap();
    for body in [nested(64, "[", "]"), nested(64, r#"{"a":"#, "}")] {
        let found = server.ask(&raw(body)).await.unwrap();
        assert_eq!((found.status, found.json()["error"].clone()), (200, Value::Null), "{}", found.text());
    }
    assert_eq!(backend.received().len(), 2);
    drop(server);
    let deep = [
        nested(65, "[", "]"),
        nested(65, r#"{"a":"#, "}"),
        nested(10_000, "[", "]"),
        "[".repeat(500_000).into_bytes(),
        br#"{"a":"#.repeat(200_000),
    ];
    refused(&deep, -32600).await;
}

#[tokio::test]
async fn a_batch_and_what_else_is_no_message_are_refused() {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let bodies = [
        format!("[{ping}]"),
        format!("[{ping},{ping}]"),
        "[]".to_owned(),
        "1".to_owned(),
        "null".to_owned(),
        "\"ping\"".to_owned(),
        "{}".to_owned(),
        r#"{"id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#.to_owned(),
    ];
    refused(&bodies.map(String::into_bytes), -32600).await;
}

#[tokio::test]
async fn what_is_no_json_is_a_parse_error() {
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
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1.}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\x"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\nng\"}",
        "// a comment\n{}",
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        // Half of a surrogate pair, at either end, in keys and values.
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\udc00"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800\ud800"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800x"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"\udfff":1}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"] {
        bodies.push([br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":""#, bytes, br#""}}"#].concat());
    }
    bodies.push(vec![0; 10]);
    refused(&bodies, -32700).await;
}
