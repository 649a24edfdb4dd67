//! Every refusal of the table, as a caller sees it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use support::{Server, client, credentials, eventually, exchange, key, policy};

const JSON: (&str, &str) = ("content-type", "application/json");

fn server(clients: &[Value]) -> Server {
    let ids: Vec<_> = clients.iter().map(|client| client["id"].as_str().unwrap()).collect();
    Server::start(&policy("http://127.0.0.1:1", clients), &credentials(&[&ids[..], &["stranger"]].concat()))
}

#[test]
fn a_request_is_refused_before_its_body_is_looked_at() {
    let server = server(&[client("a", &["greet"])]);
    let (key, stranger) = (key("a"), key("stranger"));
    let key = ("x-api-key", key.as_str());
    for (headers, status, error) in [
        (&[JSON][..], 401, "API key required"),
        (&[JSON, ("x-api-key", "nobody's")], 401, "Invalid API key"),
        (&[JSON, key, key], 401, "Invalid API key"),
        (&[JSON, key, ("authorization", "Bearer t")], 401, "Invalid API key"),
        (&[JSON, ("x-api-key", stranger.as_str())], 403, "Client not recognised"),
        (&[JSON, ("origin", "https://evil.example")], 403, "Requests from web pages are not served"),
        (&[JSON, key, ("host", "evil.example")], 421, "This server is not addressed by that host"),
        (&[key, ("content-type", "text/plain")], 415, "The body must be application/json, without a content encoding"),
        (&[JSON, key, ("accept", "text/html")], 406, "The answer is application/json; Accept must admit it"),
    ] {
        let answer = server.send(headers, "{ no JSON");
        assert_eq!((answer.status, answer.json()), (status, json!({"error": error})), "{headers:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    for host in ["things.test.svc", "THINGS.test.svc:3000", "127.0.0.1:80", "[::1]:3000"] {
        assert_eq!(server.send(&[JSON, key, ("host", host)], "{ no JSON").verdict(), (400, Some(-32700)), "{host}");
    }
    assert_eq!(server.event("client_refused")["reason"], "not_recognised");
}

#[test]
fn what_is_not_mcp_is_refused_by_method_and_path() {
    let server = server(&[client("a", &["greet"])]);
    for (line, status) in [
        ("GET /mcp", 405),
        ("DELETE /mcp", 405),
        ("PUT /mcp", 405),
        ("POST /health", 405),
        ("GET /", 404),
        ("POST /mcp/", 404),
        ("GET /sse", 404),
    ] {
        let answer = exchange(server.main, &format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{line}");
    }
    let answer =
        exchange(server.main, "POST http://evil.example/mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(answer.status, 421);
}

#[test]
fn a_body_that_is_no_message_is_refused_with_400() {
    let server = server(&[client("a", &["greet"])]);
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}{}}}"#, "[".repeat(65), "]".repeat(65));
    for (body, code, id) in [
        ("", -32700, json!(null)),
        ("{", -32700, json!(null)),
        (r#"{"a":"\ud800"}"#, -32700, json!(null)),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600, json!(null)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":{"b":1,"\u0062":2}}}"#, -32600, json!(null)),
        (&deep, -32600, json!(null)),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, json!(null)),
        (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, -32600, json!(7)),
        (r#"{"id":"x","method":"ping"}"#, -32600, json!("x")),
    ] {
        let answer = server.post(&key("a"), body);
        assert_eq!((answer.verdict(), &answer.json()["id"]), ((400, Some(code)), &id), "{body}");
    }
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024));
    assert_eq!(server.post(&key("a"), &large).status, 413);
}

#[test]
fn a_tool_that_is_denied_and_one_that_is_unknown_are_refused_in_the_same_words() {
    let mut reader = client("reader", &["greet", "note"]);
    reader["allowWrite"] = json!(false);
    let server = server(&[reader]);
    for tool in ["note", "find", "nothing", "a\"b"] {
        let answer = server.call(&key("reader"), tool, &json!({"id": "canary"}));
        let message = format!("Tool '{tool}' is not permitted for this client");
        let expected = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": message}});
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
    let denials: Vec<_> = support::eventually("four denials", || {
        let events = server.events("tool_access_denied");
        (events.len() == 4).then_some(events)
    });
    let denials: Vec<_> = denials.iter().map(|event| (event["reason"].clone(), event["toolName"].clone())).collect();
    assert_eq!(
        denials,
        [
            (json!("write_not_allowed"), json!("note")),
            (json!("not_granted"), json!("find")),
            (json!("unknown"), json!(null)),
            (json!("unknown"), json!(null)),
        ]
    );
    let list = server.ask(&key("reader"), "tools/list", &json!({})).json();
    let names: Vec<_> = list["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["greet"]);
}

#[test]
fn arguments_that_do_not_fit_are_refused_without_their_value() {
    let server = server(&[client("a", &["greet"])]);
    let large = "x".repeat(65 * 1024);
    for (arguments, part) in [
        (json!({"name": "canary canary canary"}), None),
        (json!({"name": "canary canary canary!"}), Some("`maxLength` refuses what is at `/name`")),
        (json!({}), Some("`required`")),
        (json!({"name": "a", "canary": 1}), Some("`additionalProperties`")),
        (json!({"name": {"canary": 1}}), Some("`type`")),
        (json!(["canary"]), Some("must be an object")),
        (json!({"name": large}), Some("64 KiB")),
    ] {
        let answer = server.call(&key("a"), "greet", &arguments);
        let body = answer.json();
        let Some(part) = part else {
            assert_eq!(body["result"]["content"][0]["text"], "Hello canary canary canary");
            continue;
        };
        assert_eq!(answer.verdict(), (200, Some(-32602)), "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(part) && !message.contains("canary"), "{message}");
    }
    assert_eq!(server.ask(&key("a"), "tools/call", &json!({"name": 5})).verdict(), (200, Some(-32602)));
    assert!(!format!("{:?}", server.log()).contains("canary"));
}

#[test]
fn over_a_limit_a_call_gets_429_and_uses_up_nothing() {
    let mut few = client("few", &["greet", "list"]);
    few["limits"] = json!([{"requests": 4, "per": "1m"}]);
    let server = server(&[few]);
    let key = key("few");
    for _ in 0..2 {
        assert_eq!(server.call(&key, "list", &json!({})).status, 200);
    }
    let over = server.call(&key, "list", &json!({}));
    let seconds: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let message = format!("Rate limit exceeded. Retry after {seconds} seconds.");
    let expected = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 429, "message": message}});
    assert_eq!((over.status, over.json()), (429, expected));
    let statuses = || server.call(&key, "greet", &json!({"name": "x"})).status;
    assert_eq!([statuses(), statuses(), statuses()], [200, 200, 429], "the refused call took none of the client's own");
    let record = server.event("rate_limit_exceeded");
    assert_eq!((&record["limit"], &record["toolName"]), (&json!("tool"), &json!("list")));
    // Other requests have an allowance of ten times as many.
    let others: Vec<_> = (0..41).map(|_| server.ask(&key, "ping", &json!({})).status).collect();
    assert_eq!((others[39], others[40]), (200, 429));
}

#[test]
fn a_client_that_is_suspended_or_expired_is_refused() {
    let mut suspended = client("suspended", &["greet"]);
    suspended["suspended"] = json!(true);
    let mut expired = client("expired", &["greet"]);
    expired["expiresAt"] = json!("2020-01-01T00:00:00Z");
    let server = server(&[suspended, expired]);
    for id in ["suspended", "expired"] {
        let answer = server.call(&key(id), "greet", &json!({"name": "x"}));
        assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"error":"Client not recognised"}"#));
    }
}

#[test]
fn methods_and_versions_that_are_not_served_are_refused() {
    let server = server(&[client("a", &["greet"])]);
    assert_eq!(server.ask(&key("a"), "prompts/list", &json!({})).verdict(), (404, Some(-32601)));
    assert_eq!(server.ask(&key("a"), "tools/list", &json!({"cursor": "x"})).verdict(), (200, Some(-32602)));
    assert_eq!(server.ask(&key("a"), "initialize", &json!({})).verdict(), (200, Some(-32602)));
    let key = key("a");
    let headers = |version| [JSON, ("x-api-key", key.as_str()), ("mcp-protocol-version", version)];
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let refused = server.send(&headers("1900-01-01"), body);
    assert_eq!(refused.verdict(), (400, Some(-32022)));
    assert_eq!(
        refused.json()["error"]["data"],
        json!({"supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"], "requested": "1900-01-01"})
    );
    assert_eq!(server.send(&headers("2026-07-28"), body).verdict(), (400, Some(-32602)));
    assert_eq!(server.send(&headers("2025-06-18"), body).status, 200);
}

#[test]
fn bodies_that_stall_are_refused_once_a_client_has_as_many_as_it_may() {
    let server = server(&[client("a", &["greet"]), client("b", &["greet"])]);
    let stall = |id: &str| {
        let mut stream = TcpStream::connect(server.main).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-api-key: {}\r\ncontent-length: 1000000\r\n\r\n",
            key(id)
        );
        // A server that refuses early does not read the rest.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&[b' '; 900_000]));
        let mut answer = [0; 12];
        let _ = stream.read(&mut answer);
        (String::from_utf8(answer.to_vec()).unwrap(), stream)
    };
    let held: Vec<_> = (0..6).map(|_| stall("a")).collect();
    let answers: Vec<_> = held.iter().map(|(answer, _)| answer.trim_end_matches('\0')).collect();
    let refused = "HTTP/1.1 429";
    assert_eq!(answers, ["", "", "", "", refused, refused]);
    assert_eq!(stall("b").0.trim_end_matches('\0'), "", "another client has its own share");
    assert_eq!(server.call(&key("a"), "greet", &json!({"name": "x"})).status, 200);
    drop(held);
    eventually("the share", || stall("a").0.starts_with('\0').then_some(()));
}
