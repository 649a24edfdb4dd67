//! The outcome of a call at its backend: a result, or a tool error with a sentence about what failed. The audit log has a word for
//! each kind of failure. Calls of a failing backend fail fast, and no client can take a backend away from the others.

use std::time::{Duration, Instant};

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::{Connection, send};
use portcullis_tests::server::{TestServer, call};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;

/// The document with a tool `read` whose result is whatever the backend responds.
pub fn with_read(api: &str) -> Value {
    let mut document = document(api);
    let read = json!({"name": "read", "description": "Reads.", "backend": "api", "timeout": "2m",
        "inputSchema": {"type": "object", "required": ["id"], "properties": {"id": {}}},
        "http": {"method": "GET", "path": "/things/{id}"}});
    document["spec"]["tools"].as_array_mut().unwrap().push(read);
    for client in document["clients"].as_array_mut().unwrap() {
        client["tools"].as_array_mut().unwrap().push(json!("read"));
    }
    document
}

/// The same with this timeout of the tool, for a backend that is silent.
fn impatient(api: &str, timeout: &str) -> Value {
    let mut document = with_read(api);
    tool_of(&mut document, "read")["timeout"] = json!(timeout);
    document
}

pub async fn read(server: &TestServer, key: &str) -> Value {
    server.call(key, "read", json!({"id": 1})).await.unwrap().to_value()
}

fn failed(text: &str) -> Value {
    response(200, rpc_result(tool_error(text)))
}

#[tokio::test]
async fn any_json_of_a_backend_is_a_result_and_numbers_keep_their_digits() {
    for (body, text, structured) in [
        (r#"{"a": 1.0}"#, r#"{"a":1.0}"#, json!({"a": 1.0})),
        ("[1, 2]", "[1,2]", json!({"result": [1, 2]})),
        ("\"x\"", "\"x\"", json!({"result": "x"})),
        ("", "null", json!({"result": null})),
        ("12345678901234567890123", "12345678901234567890123", json!({"result": 1.234_567_890_123_456_8e22})),
    ] {
        let backend = Backend::start(move |_| Reply::response(200, body)).await.unwrap();
        let server = start(&with_read(&backend.url())).await;
        let result =
            json!({"content": [{"type": "text", "text": text}], "structuredContent": structured, "isError": false});
        assert_eq!(read(&server, AGENT).await, response(200, rpc_result(result)), "{body}");
    }
}

#[tokio::test]
async fn each_failure_of_a_backend_has_its_sentence_for_the_caller_and_its_word_in_the_log() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let many = format!("[{}1]", "1,".repeat(3 * 1024 * 1024));
    let raw = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    let malformed = ("Backend 'api' returned a response that is not valid JSON.", json!({"error": "answer_malformed"}));
    let too_large = ("Backend 'api' returned a response that is too large.", json!({"error": "answer_too_large"}));
    let broken = (
        "Backend 'api' closed the connection before its response was complete.",
        json!({"error": "backend_unreachable"}),
    );
    let status = |status: u16| json!({"error": "backend_status", "status": status});
    for (what, reply, (sentence, record)) in [
        ("half a JSON", Reply::response(200, "{"), malformed.clone()),
        ("a web page", Reply::response(200, "<html>canary"), malformed.clone()),
        ("not UTF-8", Reply::response(200, b"\xff"), malformed.clone()),
        ("deep nesting", Reply::response(200, deep), malformed),
        ("many values", Reply::response(200, many), too_large),
        ("half a body", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), broken.clone()),
        ("not HTTP", raw("nonsense\r\n\r\n"), broken.clone()),
        ("nothing", Reply::Close, broken),
        (
            "a redirect",
            raw("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
            ("Backend 'api' responded with status 302.", status(302)),
        ),
        (
            "a status with a text",
            Reply::response(404, "canary: no such thing"),
            ("Backend 'api' responded with status 404: canary: no such thing", status(404)),
        ),
        (
            "a status of its own making",
            raw("HTTP/1.1 500 canary\r\nContent-Length: 0\r\n\r\n"),
            ("Backend 'api' responded with status 500.", status(500)),
        ),
        (
            "silence",
            Reply::Silence,
            ("Backend 'api' did not respond within 500 ms.", json!({"error": "backend_timeout", "timeoutMs": 500.0})),
        ),
    ] {
        let backend = Backend::start(move |_| reply.clone()).await.unwrap();
        let server = start(&impatient(&backend.url(), if what.ends_with("silence") { "500ms" } else { "2m" })).await;
        assert_eq!(read(&server, AGENT).await, failed(sentence), "{what}");
        assert_eq!(backend.received().len(), 1, "{what}: a call is sent once");
        let end = server.log.event("tool_call_error", PATIENCE).await.unwrap();
        let mut found = json!({"error": end["error"]});
        for field in ["status", "timeoutMs"] {
            if let Some(value) = end.get(field) {
                found[field] = value.clone();
            }
        }
        assert_eq!((&found, &end["backend"]), (&record, &json!("api")), "{what}");
        assert!(!server.log.lines().join("\n").contains("canary"), "{what}: the log repeats the backend's text");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_respond_costs_a_call_the_timeout_of_its_tool() {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    let server = start(&impatient(&backend.url(), "500ms")).await;
    assert_eq!(read(&server, AGENT).await, failed("Backend 'api' did not respond within 500 ms."));
    let end = server.log.event("tool_call_error", PATIENCE).await.unwrap();
    assert!(end["durationMs"].as_f64().unwrap() >= 499.0, "{end}");
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200, "other tools are served");
}

#[tokio::test]
async fn after_five_failed_connections_a_backend_is_not_tried_for_a_moment() {
    /// How long a backend is suspended.
    const MOMENT: Duration = Duration::from_secs(2);
    let unreachable = failed("Backend 'api' could not be reached.");
    let suspended = failed("Backend 'api' failed repeatedly and is suspended for a moment. Try again.");
    let server = loop {
        let server = start(&with_read(NOWHERE)).await;
        let mut fifth = Instant::now();
        for n in 1..=5 {
            fifth = Instant::now();
            assert_eq!(read(&server, AGENT).await, unreachable, "call {n}");
        }
        let sixth = read(&server, AGENT).await;
        if fifth.elapsed() < MOMENT || sixth == suspended {
            assert_eq!(sixth, suspended);
            break server;
        }
        // On a busy machine the moment was over: once more.
    };
    let ends = server.log.at_least(6, "tool_call_error", PATIENCE).await.unwrap();
    let words: Vec<&Value> = ends.iter().map(|end| &end["error"]).collect();
    assert_eq!(words[4..], ["backend_unreachable", "backend_suspended"]);
}

#[tokio::test]
async fn a_backend_that_closes_each_connection_receives_no_call_twice() {
    // A response that announces a connection that stays open, which is then closed.
    let kept = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let backend = Backend::start(|_| Reply::Bytes(kept.to_vec())).await.unwrap();
    let server = start(&document(&backend.url())).await;
    for n in 0..30 {
        let arguments = json!({"id": "7", "text": n.to_string()});
        // A call that is sent while the connection is closed fails, because it may have been received. The next one is served.
        until(PATIENCE, async || {
            let found = server.call(AGENT, "note", arguments.clone()).await.unwrap();
            let received = backend.take().len();
            assert!(received <= 1, "call {n} was received {received} times");
            if found.json()["result"]["isError"] == false { Ok(()) } else { Err(found.text()) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_takes_no_connection_is_given_up_whatever_the_timeout_of_its_tool() {
    // A listener whose queue is full drops further SYNs.
    let hole = TcpSocket::new_v4().unwrap();
    hole.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let hole = hole.listen(1).unwrap();
    let address = hole.local_addr().unwrap();
    let mut filling = JoinSet::new();
    for _ in 0..8 {
        filling.spawn(tokio::net::TcpStream::connect(address));
    }
    // Shorter than any attempt to connect.
    let server = start(&impatient(&format!("http://{address}"), "100ms")).await;
    let suspended = failed("Backend 'api' failed repeatedly and is suspended for a moment. Try again.");
    until(PATIENCE, async || {
        let found = read(&server, AGENT).await;
        // While it is suspended its check does not try to connect either.
        let health = server.admin("/health").await.unwrap().json();
        expect_eq(
            (found, &health["checks"]["api"]),
            (suspended.clone(), &json!({"status": "unhealthy", "latencyMs": 0})),
        )
    })
    .await;
}

#[tokio::test]
async fn without_the_flag_no_backend_on_this_machine_is_called() {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let document = with_read(&backend.url().replace("127.0.0.1", host));
        let server = TestServer::start_with(&parsed(&document), &keys(), &[]).await.unwrap();
        assert_eq!(read(&server, AGENT).await, failed("Backend 'api' could not be reached."), "{host}");
        let health = server.admin("/health").await.unwrap().json();
        assert_eq!(health["checks"]["api"]["status"], "unhealthy", "{host}");
        assert_eq!(backend.received(), [], "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_calls_fail_takes_no_backend_from_the_others() {
    let backend = Backend::start(|request| match request.target.as_str() {
        "/things/slow" => Reply::Silence,
        "/things/failing" => Reply::Json(503, json!({})),
        _ => Reply::Json(200, json!({})),
    })
    .await
    .unwrap();
    let server = start(&impatient(&backend.url(), "5s")).await;
    for id in ["slow", "failing"] {
        let mut calls = JoinSet::new();
        for _ in 0..8 {
            let request = call(AGENT, "read", json!({"id": id}));
            let address = server.listen;
            calls.spawn(async move { send(address, &request).await.unwrap().json() });
        }
        let failed = calls.join_all().await.iter().filter(|body| body["result"]["isError"] == true).count();
        assert_eq!(failed, 8, "{id}");
    }
    assert_eq!(read(&server, READER).await["body"]["result"]["isError"], false);
}

/// A server with one call more than its backend may have. The backend responds to none of them.
pub async fn server_with_busy_backend() -> TestServer {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    // Eight clients, because each may have 32 calls in flight, and one more.
    let ids: Vec<String> = (0..9).map(|n| format!("c{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut document = with_read(&backend.url());
    document["clients"] = ids.iter().map(|id| client(id, &["read"], 10, false)).collect();
    tool_of(&mut document, "read")["timeout"] = json!("5m");
    let server = start_for(&document, &ids).await;
    let mut calls = JoinSet::new();
    for id in &ids[..8] {
        for _ in 0..32 {
            let (address, request) = (server.listen, call(&key_of(id), "read", json!({"id": 1})));
            calls.spawn(async move { send(address, &request).await });
        }
    }
    until(PATIENCE, async || match backend.received().len() {
        256 => Ok(()),
        count => Err(format!("the backend received {count} of 256 calls")),
    })
    .await;
    // From another address, because one has at most 256 connections.
    let mut connection = Connection::open_from([127, 0, 0, 2].into(), server.listen).await.unwrap();
    let found = connection.send(&call(&key_of(ids[8]), "read", json!({"id": 1}))).await.unwrap();
    assert_eq!(found.to_value(), failed("Backend 'api' is busy. Try again."));
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_has_at_most_256_calls_at_once_and_the_next_one_fails() {
    let server = server_with_busy_backend().await;
    let end = server.log.event("tool_call_error", PATIENCE).await.unwrap();
    assert_eq!((&end["clientId"], &end["error"]), (&json!("c8"), &json!("backend_busy")));
}

#[tokio::test]
async fn a_write_that_succeeded_is_never_said_to_have_failed() {
    let many = format!("[{}1]", "1,".repeat(3 * 1024 * 1024));
    let raw = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    let succeeded = |why: &str, error: &str| {
        let text = format!("The call succeeded. Its content is left out: {why}");
        (text, false, json!(["tool_call_success", error, null]))
    };
    let unknown = |why: &str, error: &str| {
        let text = format!("{why} Whether the call had an effect is not known.");
        (text, true, json!(["tool_call_error", error, null]))
    };
    let refused = |why: &str| (why.to_owned(), true, json!(["tool_call_error", "backend_status", null]));
    let malformed = succeeded("Backend 'api' returned a response that is not valid JSON.", "answer_malformed");
    let too_large = succeeded("Backend 'api' returned a response that is too large.", "answer_too_large");
    let broken = "Backend 'api' closed the connection before its response was complete.";
    for (what, reply, (text, is_error, record)) in [
        ("half a JSON", Reply::response(200, "{"), malformed.clone()),
        ("a web page", Reply::response(201, "<html>"), malformed.clone()),
        ("not UTF-8", Reply::response(200, b"\xff"), malformed),
        ("many values", Reply::response(200, many), too_large.clone()),
        ("a large body", raw("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n{"), too_large),
        (
            "half a body",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
            succeeded(broken, "backend_unreachable"),
        ),
        (
            "no list of records",
            Reply::response(200, "{}"),
            succeeded("Backend 'api' returned a response without the list of records.", "records_missing"),
        ),
        (
            "half a body, then silence",
            Reply::Unfinished(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()),
            succeeded("Backend 'api' did not respond completely within 500 ms.", "backend_timeout"),
        ),
        (
            "half a refusal, then silence",
            Reply::Unfinished(b"HTTP/1.1 409 Conflict\r\nContent-Length: 100\r\n\r\n{".to_vec()),
            refused("Backend 'api' responded with status 409."),
        ),
        ("nothing", Reply::Close, unknown(broken, "backend_unreachable")),
        ("silence", Reply::Silence, unknown("Backend 'api' did not respond within 500 ms.", "backend_timeout")),
        ("a refusal", Reply::response(409, "no"), refused("Backend 'api' responded with status 409: no")),
        (
            "a redirect to what was created",
            raw("HTTP/1.1 303 See Other\r\nLocation: /items/1\r\nContent-Length: 0\r\n\r\n"),
            unknown("Backend 'api' responded with status 303.", "backend_status"),
        ),
        (
            "a request that timed out",
            Reply::response(408, ""),
            unknown("Backend 'api' responded with status 408.", "backend_status"),
        ),
        (
            "a gateway that gave up",
            Reply::response(504, "upstream timeout"),
            unknown("Backend 'api' responded with status 504: upstream timeout.", "backend_status"),
        ),
    ] {
        let backend = Backend::start(move |_| reply.clone()).await.unwrap();
        let mut document = impatient(&backend.url(), if what.ends_with("silence") { "500ms" } else { "2m" });
        let tool = document["spec"]["tools"].as_array_mut().unwrap().last_mut().unwrap();
        tool["http"]["method"] = json!("POST");
        if what == "no list of records" {
            tool["records"] = json!({"path": "/items"});
        }
        let server = start(&document).await;
        let result = json!({"content": [{"type": "text", "text": text}], "isError": is_error});
        assert_eq!(read(&server, AGENT).await, response(200, rpc_result(result)), "{what}");
        let end = server.log.event(record[0].as_str().unwrap(), PATIENCE).await.unwrap();
        let found = json!([end["event"], end["error"], end["recordsReturned"]]);
        assert_eq!((&found, &end["backend"]), (&record, &json!("api")), "{what}");
    }
}
