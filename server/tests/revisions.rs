//! The revisions of MCP, from the first message to a call.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by a panic")]

mod support;

use serde_json::{Value, json};
use support::{Answer, Server, client, credentials, key, policy};

fn server() -> Server {
    Server::start(
        &policy("http://127.0.0.1:1", &[client("a", &["greet", "list"]), client("b", &["greet"])]),
        &credentials(&["a", "b"]),
    )
}

fn in_session(server: &Server, key: &str, session: &str, method: &str) -> Answer {
    let headers = [("x-api-key", key), ("content-type", "application/json"), ("mcp-session-id", session)];
    server.send(&headers, &json!({"jsonrpc": "2.0", "id": 2, "method": method}).to_string())
}

#[test]
fn an_older_client_initializes_lists_and_calls() {
    let server = server();
    let key = key("a");
    for (asked, given) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
    ] {
        let answer = server.ask(&key, "initialize", &json!({"protocolVersion": asked, "capabilities": {}}));
        let expected = json!({"protocolVersion": given, "capabilities": {"tools": {}},
            "serverInfo": {"name": "things", "version": env!("CARGO_PKG_VERSION")}});
        assert_eq!((answer.status, &answer.json()["result"]), (200, &expected));
        let session = answer.header("mcp-session-id").unwrap();
        let headers = [("x-api-key", key.as_str()), ("content-type", "application/json"), ("mcp-session-id", session)];
        let noted = server.send(&headers, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!((noted.status, noted.body.as_str()), (202, ""));
        assert_eq!(in_session(&server, &key, session, "ping").json()["result"], json!({}));
        assert_eq!(in_session(&server, &key, session, "tools/list").json()["result"]["tools"][0]["name"], "greet");
    }
    let called = server.call(&key, "greet", &json!({"name": "\"x\""})).json();
    assert_eq!(called["result"], json!({"content": [{"type": "text", "text": "Hello \"x\""}], "isError": false}));
}

#[test]
fn a_session_is_its_identitys_only() {
    let server = server();
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let session = server.ask(&key("a"), "initialize", &params).header("mcp-session-id").unwrap().to_owned();
    assert_eq!(in_session(&server, &key("a"), &session, "ping").status, 200);
    assert_eq!(in_session(&server, &key("b"), &session, "ping").verdict(), (404, Some(-32600)));
    assert_eq!(in_session(&server, &key("a"), "made-up", "ping").verdict(), (404, Some(-32600)));
    // Within a session a 404 would say that it is gone.
    assert_eq!(in_session(&server, &key("a"), &session, "prompts/list").verdict(), (200, Some(-32601)));
}

#[test]
fn a_session_of_one_replica_serves_on_another_with_the_same_keys() {
    let policy = policy("http://127.0.0.1:1", &[client("a", &["greet"])]);
    let mut credentials = credentials(&["a"]);
    let secret = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    credentials["keys"] = json!({"sessions": secret, "arguments": secret});
    let (one, other) = (Server::start(&policy, &credentials), Server::start(&policy, &credentials));
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let session = one.ask(&key("a"), "initialize", &params).header("mcp-session-id").unwrap().to_owned();
    assert_eq!(in_session(&other, &key("a"), &session, "ping").status, 200);
}

fn stateless(server: &Server, method: &str, name: Option<&str>, mut params: Value) -> Answer {
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let key = key("a");
    let mut headers = vec![
        ("x-api-key", key.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
    ];
    headers.extend(name.map(|name| ("mcp-name", name)));
    server.send(&headers, &json!({"jsonrpc": "2.0", "id": "s", "method": method, "params": params}).to_string())
}

#[test]
fn a_stateless_client_discovers_lists_and_calls() {
    let server = server();
    let meta = json!({"io.modelcontextprotocol/serverInfo": {"name": "things", "version": env!("CARGO_PKG_VERSION")}});
    let discovered = stateless(&server, "server/discover", None, json!({}));
    assert_eq!(
        discovered.json()["result"],
        json!({"resultType": "complete", "supportedVersions": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"],
            "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private", "_meta": meta})
    );
    assert_eq!(discovered.header("mcp-session-id"), None);
    let listed = stateless(&server, "tools/list", None, json!({})).json()["result"].clone();
    assert_eq!(
        (&listed["resultType"], &listed["ttlMs"], &listed["cacheScope"], &listed["_meta"]),
        (&json!("complete"), &json!(0), &json!("private"), &meta)
    );
    assert_eq!(
        listed["tools"][1],
        json!({"name": "list", "description": "Lists.", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}})
    );
    let called = stateless(&server, "tools/call", Some("list"), json!({"name": "list"})).json();
    let note = "Only the first 2 records are shown: this client may not be given more by one call.";
    let mut truncated = meta.clone();
    truncated["portcullis.dev/truncated"] = json!(true);
    assert_eq!(
        called["result"],
        json!({"resultType": "complete", "content": [{"type": "text", "text": "{\"items\":[1,2]}"}, {"type": "text", "text": note}],
            "structuredContent": {"items": [1, 2]}, "isError": false, "_meta": truncated})
    );
    assert_eq!(stateless(&server, "ping", None, json!({})).verdict(), (404, Some(-32601)));
    assert_eq!(stateless(&server, "tools/call", Some("greet"), json!({"name": "list"})).verdict(), (400, Some(-32020)));
}
