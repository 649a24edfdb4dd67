//! The revisions of MCP: those with a handshake (up to 2025-11-25), and the stateless one (2026-07-28), whose headers and body
//! must agree.

use portcullis_tests::http::{Request, Response};
use portcullis_tests::server::{TestServer, post, rpc};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

const SUPPORTED: [&str; 4] = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"];

fn server_info() -> Value {
    json!({"name": "crm", "version": env!("CARGO_PKG_VERSION")})
}

#[tokio::test]
async fn a_revision_with_a_handshake_is_agreed_on_and_an_unknown_one_gets_the_newest_of_them() {
    let server = start(&document(NOWHERE)).await;
    for (asked, agreed) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
        ("2999-01-01", "2025-11-25"),
    ] {
        let found = server.send(&initialize(AGENT, asked)).await.unwrap();
        let session = session_of(&found);
        let result = json!({"protocolVersion": agreed, "capabilities": {"tools": {}}, "serverInfo": server_info()});
        let expected = response_with(200, "mcp-session-id", &session, rpc_result(result));
        assert_eq!(found.to_value(), expected, "{asked}");

        let in_session = |message: &Value| {
            post(AGENT, message).with("Mcp-Session-Id", &session).with("MCP-Protocol-Version", agreed)
        };
        let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let accepted = server.send(&in_session(&notification)).await.unwrap();
        assert_eq!((accepted.status, accepted.text()), (202, String::new()), "{asked}");
        let pong = server.send(&in_session(&rpc("ping", json!({})))).await.unwrap();
        assert_eq!(pong.to_value(), response(200, rpc_result(json!({}))), "{asked}");
        let listed = server.send(&in_session(&rpc("tools/list", json!({})))).await.unwrap();
        assert_eq!(tool_names(&listed), ["echo", "find", "note"], "{asked}");
    }
    let called = server.call(AGENT, "echo", json!({"text": "\"x\""})).await.unwrap();
    assert_eq!(called.to_value(), response(200, rpc_result(echoed("\"x\""))), "a call needs no session");
}

/// The request that begins a session.
pub fn initialize(key: &str, version: &str) -> Request {
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    post(key, &rpc("initialize", params))
}

/// The id of the session that this response begins.
pub fn session_of(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.header("mcp-session-id").unwrap_or_else(|| panic!("no session in {response:?}")).to_owned()
}

/// A request of the stateless revision.
pub fn stateless(method: &str, name: Option<&str>, mut params: Value) -> Request {
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let request =
        post(AGENT, &rpc(method, params)).with("MCP-Protocol-Version", "2026-07-28").with("Mcp-Method", method);
    match name {
        Some(name) => request.with("Mcp-Name", name),
        None => request,
    }
}

fn stateless_echo() -> Request {
    stateless("tools/call", Some("echo"), json!({"name": "echo", "arguments": {"text": "x"}}))
}

async fn result(server: &TestServer, request: &Request) -> Value {
    let found = server.send(request).await.unwrap();
    assert_eq!((found.status, found.header("mcp-session-id")), (200, None), "{}", found.text());
    found.json()["result"].clone()
}

#[tokio::test]
async fn a_stateless_client_discovers_lists_and_calls_without_a_session() {
    let mut document = document(NOWHERE);
    client_of(&mut document, "agent")["tools"] = json!(["echo"]);
    let server = start(&document).await;
    let meta = json!({"io.modelcontextprotocol/serverInfo": server_info()});
    let discovered = json!({"resultType": "complete", "supportedVersions": SUPPORTED, "capabilities": {"tools": {}},
        "ttlMs": 0, "cacheScope": "private", "_meta": meta});
    assert_eq!(result(&server, &stateless("server/discover", None, json!({}))).await, discovered);

    let echo = json!({"name": "echo", "description": "Repeats a text.",
        "inputSchema": document["spec"]["tools"][0]["inputSchema"], "annotations": {"readOnlyHint": true}});
    let listed = json!({"resultType": "complete", "tools": [echo], "ttlMs": 0, "cacheScope": "private", "_meta": meta});
    assert_eq!(result(&server, &stateless("tools/list", None, json!({}))).await, listed);

    let mut called = echoed("x");
    called["resultType"] = json!("complete");
    called["_meta"] = meta;
    assert_eq!(result(&server, &stateless_echo()).await, called);
}

#[tokio::test]
async fn headers_and_body_of_the_stateless_revision_must_agree() {
    let server = start(&document(NOWHERE)).await;
    let good = stateless_echo;
    let (version, method, name) = ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name");
    for (what, request, message) in [
        (
            "another version",
            good().replacing(version, "2025-11-25"),
            "MCP-Protocol-Version is not the version in _meta",
        ),
        ("no version", good().without(version), "MCP-Protocol-Version is missing"),
        ("another method", good().replacing(method, "tools/list"), "Mcp-Method is not the method in the body"),
        (
            "a method in other letters",
            good().replacing(method, "Tools/Call"),
            "Mcp-Method is not the method in the body",
        ),
        ("no method", good().without(method), "Mcp-Method is missing"),
        ("another name", good().replacing(name, "find"), "Mcp-Name is not the name in the body"),
        ("no name", good().without(name), "Mcp-Name is missing"),
        ("a name twice", good().with(name, "echo"), "a header of MCP appears twice"),
    ] {
        let found = server.send(&request).await.unwrap();
        let expected = rpc_error(-32020, &format!("Header mismatch: {message}"));
        assert_eq!(found.to_value(), response(400, expected), "{what}");
    }
    let without_envelope = post(AGENT, &rpc("ping", json!({}))).with("MCP-Protocol-Version", "2026-07-28");
    let found = server.send(&without_envelope).await.unwrap();
    let message = "Invalid params: _meta must have io.modelcontextprotocol/protocolVersion and \
        io.modelcontextprotocol/clientCapabilities";
    assert_eq!(found.to_value(), response(400, rpc_error(-32602, message)));
}

#[tokio::test]
async fn a_version_that_is_not_supported_is_refused_with_those_that_are() {
    let server = start(&document(NOWHERE)).await;
    let request = post(AGENT, &rpc("tools/list", json!({}))).with("MCP-Protocol-Version", "1999-01-01");
    let mut expected = rpc_error(-32022, "Unsupported protocol version");
    expected["error"]["data"] = json!({"supported": SUPPORTED, "requested": "1999-01-01"});
    assert_eq!(server.send(&request).await.unwrap().to_value(), response(400, expected));
}

#[tokio::test]
async fn a_method_that_is_not_served_and_parameters_that_are_not_known_are_refused() {
    let server = start(&document(NOWHERE)).await;
    let not_found = || response(404, rpc_error(-32601, "Method not found"));
    let invalid = |message: &str| response(200, rpc_error(-32602, message));
    let session = session_of(&server.send(&initialize(AGENT, "2025-11-25")).await.unwrap());
    let prompts = post(AGENT, &rpc("prompts/list", json!({})));
    for (what, request, expected) in [
        ("prompts", prompts.clone(), not_found()),
        // There, a 404 would say that the session has ended.
        (
            "prompts in a session",
            prompts.with("Mcp-Session-Id", &session),
            response(200, rpc_error(-32601, "Method not found")),
        ),
        ("a method of no revision", post(AGENT, &rpc("tools/delete", json!({}))), not_found()),
        ("ping, which the stateless revision does not have", stateless("ping", None, json!({})), not_found()),
        (
            "a page that was never announced",
            post(AGENT, &rpc("tools/list", json!({"cursor": "x"}))),
            invalid("Invalid params: unknown `cursor`"),
        ),
        (
            "a handshake without a version",
            post(AGENT, &rpc("initialize", json!({}))),
            invalid("Invalid params: `protocolVersion` must be a string"),
        ),
    ] {
        assert_eq!(server.send(&request).await.unwrap().to_value(), expected, "{what}");
    }
}
