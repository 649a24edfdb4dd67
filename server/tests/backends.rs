//! What reaches a backend, and what comes back of its answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by a panic")]

mod support;

use serde_json::{Value, json};
use support::{Answer, Backend, Server, client, credentials, eventually, key, policy, publish};

const TOOLS: [&str; 3] = ["find", "read", "note"];

fn start() -> (Server, Backend) {
    let backend = Backend::start();
    let server = Server::start(&policy(&backend.url, &[client("a", &TOOLS)]), &credentials(&["a"]));
    (server, backend)
}

fn call(server: &Server, tool: &str, arguments: Value) -> Answer {
    server.call(&key("a"), tool, &arguments)
}

#[test]
fn arguments_reach_the_backend_as_data_or_not_at_all() {
    let (server, backend) = start();
    let nested = (0..40).fold(json!(1), |inner, _| json!([inner]));
    for (value, path) in [
        (json!("a/b"), Some("a%2Fb")),
        (json!("%2e%2e"), Some("%252e%252e")),
        (
            json!("x\r\nX-Evil: 1\r\n\r\nGET /other HTTP/1.1"),
            Some("x%0D%0AX-Evil%3A%201%0D%0A%0D%0AGET%20%2Fother%20HTTP%2F1.1"),
        ),
        (json!("\u{0}\"'\\?#;{id}"), Some("%00%22%27%5C%3F%23%3B%7Bid%7D")),
        (json!("http://evil.example"), Some("http%3A%2F%2Fevil.example")),
        (json!("..."), Some("...")),
        (json!(".."), None),
        (json!("."), None),
        (json!(""), None),
    ] {
        let answer = call(&server, "note", json!({"id": value, "text": value}));
        let received = backend.received();
        let Some(path) = path else {
            assert_eq!((answer.verdict(), received.len()), ((200, Some(-32602)), 0), "{value}");
            continue;
        };
        assert_eq!(answer.json()["result"]["isError"], false, "{value}");
        let [request] = received.as_slice() else { panic!("one request: {received:?}") };
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some(format!("POST /things/{path}/notes HTTP/1.1").as_str()));
        let mut names: Vec<_> = lines.map(|line| line.split_once(": ").unwrap().0).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-length", "content-type", "host", "user-agent"]);
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({"text": value}));
    }
    assert_eq!(call(&server, "note", json!({"id": "x", "text": nested})).json()["result"]["isError"], false);
    assert!(backend.received()[0].ends_with(&format!("{{\"text\":{nested}}}")));
}

#[test]
fn the_limit_is_set_and_the_answer_bounded() {
    let (server, backend) = start();
    backend.answer(200, r#"{"items": [{"n": 1.50}, {"n": 2}, {"n": 3}], "total": 3}"#);
    for (limit, sent) in [(json!(null), "2"), (json!(1), "1"), (json!(2), "2"), (json!(9), "2"), (json!(1e300), "2")] {
        let mut arguments = json!({"q": ["a", "b"]});
        if !limit.is_null() {
            arguments["limit"] = limit;
        }
        let answer = call(&server, "find", arguments);
        let line = backend.received()[0].lines().next().unwrap().to_owned();
        assert_eq!(line, format!("GET /things?limit={sent}&q=a&q=b HTTP/1.1"));
        let body = answer.json();
        assert_eq!(body["result"]["content"][0]["text"], r#"{"items":[{"n":1.50},{"n":2}],"total":3}"#);
        assert_eq!(body["result"]["_meta"], json!({"portcullis.dev/truncated": true}));
    }
    assert_eq!(server.event("tool_call_success")["recordsReturned"], 2);
    assert_eq!(call(&server, "find", json!({"limit": "all"})).verdict(), (200, Some(-32602)));
    assert_eq!(call(&server, "find", json!({"limit": 0})).verdict(), (200, Some(-32602)));
}

#[test]
fn other_answers_are_wrapped_and_numbers_keep_their_digits() {
    let (server, backend) = start();
    for (body, text, structured) in [
        ("{\"a\": 1.0}", "{\"a\":1.0}", json!({"a": 1.0})),
        ("[1, 2]", "[1,2]", json!({"result": [1, 2]})),
        ("\"x\"", "\"x\"", json!({"result": "x"})),
        ("", "null", json!({"result": null})),
        ("12345678901234567890123", "12345678901234567890123", json!({"result": 1.234_567_890_123_456_8e22})),
    ] {
        backend.answer(200, body);
        let result = call(&server, "read", json!({"id": 7})).json()["result"].clone();
        let expected =
            json!({"content": [{"type": "text", "text": text}], "structuredContent": structured, "isError": false});
        assert_eq!(result, expected, "{body}");
    }
}

#[test]
fn a_backend_that_fails_is_a_tool_error() {
    let (server, backend) = start();
    let text = |answer: Answer| {
        let result = answer.json()["result"].clone();
        assert_eq!((answer.status, &result["isError"]), (200, &json!(true)));
        result["content"][0]["text"].as_str().unwrap().to_owned()
    };
    for (status, body, expected) in [
        (404, "canary: no such thing", "Backend 'api' answered with status 404: canary: no such thing"),
        (302, "", "Backend 'api' answered with status 302."),
        (200, "<html>", "Backend 'api' gave an answer that is no valid JSON."),
        (200, r#"{"a":1,"a":2}"#, "Backend 'api' gave an answer that is no valid JSON."),
    ] {
        backend.answer(status, body);
        assert_eq!(text(call(&server, "read", json!({"id": "canary"}))), expected);
    }
    backend.answer(200, r#"{"other": []}"#);
    assert_eq!(text(call(&server, "find", json!({}))), "Backend 'api' gave an answer without the list of records.");
    backend.answer(200, &format!("[{}]", "1,".repeat(3 * 1024 * 1024)));
    assert_eq!(text(call(&server, "read", json!({"id": 1}))), "Backend 'api' gave an answer that is too large.");
    let errors = eventually("six errors", || {
        let events = server.events("tool_call_error");
        (events.len() == 6).then_some(events)
    });
    assert!(errors.iter().all(|event| event["durationMs"].is_number() && event["backend"] == "api"));
    assert!(!format!("{:?}", server.log()).contains("canary"));
}

#[test]
fn a_backend_that_is_down_or_silent_fails_fast_and_shows_in_health() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::start(&policy(&url, &[client("a", &TOOLS)]), &credentials(&["a"]));
    // It accepts and says nothing.
    let from = std::time::Instant::now();
    let answer = call(&server, "read", json!({"id": 1})).json();
    assert_eq!(answer["result"]["content"][0]["text"], "Backend 'api' did not answer within 500 ms.");
    assert!(from.elapsed().as_millis() < 1500);
    drop(listener);
    let texts: Vec<_> = (0..6)
        .map(|_| {
            call(&server, "read", json!({"id": 1})).json()["result"]["content"][0]["text"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(texts[0], "Backend 'api' could not be reached.");
    assert_eq!(texts[5], "Backend 'api' failed repeatedly and is not asked for a moment. Try again.");
    let health = eventually("a look at it", || {
        let health = server.get(server.main, "/health");
        (health.json()["checks"]["api"]["status"] == "unhealthy").then_some(health)
    });
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("degraded")));
}

#[test]
fn a_caller_that_goes_away_leaves_an_end_in_the_log() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::start(&policy(&url, &[client("a", &TOOLS)]), &credentials(&["a"]));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "note", "arguments": {"id": "x"}}});
    let body = body.to_string();
    let mut stream = std::net::TcpStream::connect(server.main).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        key("a"),
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    server.event("tool_call_start");
    drop(stream);
    assert_eq!(server.event("tool_call_error")["error"], "disconnected");
}

#[test]
fn a_backend_that_closes_its_connections_gets_no_call_twice() {
    let (server, backend) = start();
    backend.close_after_each();
    let mut failed = 0;
    for n in 0..30 {
        let result = call(&server, "note", json!({"id": "x", "text": n})).json()["result"].clone();
        assert!(backend.received().len() <= 1);
        // A request that crosses the close on its way is lost, and nobody knows how far it came.
        failed += usize::from(result["isError"] == true);
    }
    assert!(failed < 10, "{failed} of 30 were lost");
}

#[test]
fn a_backend_on_this_machine_is_not_dialled_in_a_cluster() {
    let backend = Backend::start();
    for url in [
        backend.url.clone(),
        backend.url.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
        backend.url.replace("127.0.0.1", "localhost"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        publish(directory.path(), &policy(&url, &[client("a", &TOOLS)]), &credentials(&["a"]));
        let server = Server::start_with(directory, &[]);
        let result = call(&server, "read", json!({"id": 1})).json()["result"].clone();
        assert_eq!(result["content"][0]["text"], "Backend 'api' could not be reached.", "{url}");
        assert_eq!(server.get(server.main, "/health").json()["checks"]["api"]["status"], "unhealthy");
        assert!(backend.received().is_empty());
    }
}
