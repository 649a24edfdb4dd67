//! What is checked before the body is read, in this order: host, origin, method, credentials, media types. Each failure has its
//! status and its words.

use portcullis_crds::contract::KeyDigest;
use portcullis_tests::PATIENCE;
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{TestServer, post, rpc};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

/// A request whose body must not matter: it is not JSON.
fn request(key: &str) -> Request {
    anonymous().with("x-api-key", key)
}

fn anonymous() -> Request {
    Request::post("/mcp", "{ not JSON")
}

async fn check(server: &TestServer, cases: impl IntoIterator<Item = (&str, Request, Value)>) {
    for (what, request, expected) in cases {
        let found = server.send(&request).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.to_value(), expected, "{what}");
    }
}

#[tokio::test]
async fn a_caller_that_is_not_authenticated_gets_a_401_that_names_its_mistake() {
    let server = start(&document(NOWHERE)).await;
    let required = || plain_refusal(401, "API key required");
    let invalid = || plain_refusal(401, "Invalid API key");
    let digest = KeyDigest::of(AGENT.as_bytes()).key_id();
    let (bearer, basic) = (format!("Bearer {AGENT}x"), format!("Basic {AGENT}"));
    check(
        &server,
        [
            ("no key", anonymous(), required()),
            ("an empty key", request(""), required()),
            (
                "a token of another kind",
                anonymous().with("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),
                required(),
            ),
            ("a key in another scheme", anonymous().with("Authorization", &basic), required()),
            ("an unknown key as a token", anonymous().with("Authorization", &bearer), invalid()),
            ("an unknown key", request("wrong"), invalid()),
            ("a key and more", request(&format!("{AGENT}x")), invalid()),
            ("a key and less", request(&AGENT[1..]), invalid()),
            ("the digest of a key", request(&digest), invalid()),
            ("a key twice", request(AGENT).with("x-api-key", AGENT), invalid()),
            ("two keys", request(AGENT).with("x-api-key", READER), invalid()),
            ("a key and a token", request(AGENT).with("Authorization", "Bearer x"), invalid()),
            ("a key as both", request(AGENT).with("Authorization", &format!("Bearer {AGENT}")), invalid()),
        ],
    )
    .await;
    // Ten equal records are written one by one in each second, so each of these is.
    let failed = server.log.at_least(13, "auth_failed", PATIENCE).await.unwrap();
    let reasons: Vec<&Value> = failed.iter().map(|record| &record["reason"]).collect();
    let expected = [["missing"; 4].as_slice(), &["unknown_key"; 5], &["ambiguous"; 4]].concat();
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_key_may_come_as_a_bearer_token_and_the_server_may_want_one_header_only() {
    let ping = |name: &str, value: String| post("", &rpc("ping", json!({}))).without("x-api-key").with(name, &value);
    let (key, bearer) = (|| ping("x-api-key", AGENT.into()), || ping("Authorization", format!("bearer {AGENT}")));
    for (header, is_key_taken, is_bearer_taken) in
        [("Any", true, true), ("XApiKey", true, false), ("Bearer", false, true)]
    {
        let mut document = document(NOWHERE);
        document["spec"]["authentication"] = json!({"apiKey": {"header": header}});
        let server = start(&document).await;
        for (request, is_taken) in [(key(), is_key_taken), (bearer(), is_bearer_taken)] {
            let found = server.send(&request).await.unwrap();
            assert_eq!(found.status, if is_taken { 200 } else { 401 }, "{header}: {found:?}");
            let challenged = if header == "Bearer" { "authorization" } else { "x-api-key" };
            let challenge = format!(r#"ApiKey realm="crm", header="{challenged}""#);
            assert!(is_taken || found.to_value()["headers"]["www-authenticate"] == challenge, "{header}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_key_whose_client_has_no_access_gets_a_403() {
    let mut document = document(NOWHERE);
    let mut suspended = client("suspended", &["echo"], 10, false);
    suspended["suspended"] = json!(true);
    let mut expired = client("expired", &["echo"], 10, false);
    expired["expiresAt"] = json!("2020-01-01T00:00:00Z");
    document["clients"] = json!([suspended, expired, client("active", &["echo"], 10, false)]);
    let server = start_for(&document, &["suspended", "expired", "removed", "active"]).await;
    let mut expected = Vec::new();
    for (id, reason) in [("suspended", "suspended"), ("expired", "expired"), ("removed", "not_recognised")] {
        let found = server.send(&request(&key_of(id))).await.unwrap();
        assert_eq!(found.to_value(), plain_refusal(403, "Client not recognised"), "{id}");
        expected.push((json!(id), json!(reason)));
    }
    let refused = server.log.at_least(expected.len(), "client_refused", PATIENCE).await.unwrap();
    let refused: Vec<_> = refused.iter().map(|record| (record["clientId"].clone(), record["reason"].clone())).collect();
    assert_eq!(refused, expected);
    let active = server.call(&key_of("active"), "echo", json!({"text": "x"})).await.unwrap();
    assert_eq!(active.to_value(), response(200, rpc_result(echoed("x"))), "others are served");
}

#[tokio::test]
async fn a_wrong_request_line_or_header_has_a_status_of_its_own() {
    let server = start(&document(NOWHERE)).await;
    let good = || request(AGENT);
    let not_allowed = || response_with(405, "allow", "POST", json!({"error": "Method not allowed; use POST"}));
    let not_found = || plain_refusal(404, "Not found; MCP is served at /mcp with an API key and without OAuth");
    let misdirected = || plain_refusal(421, "The Host header does not name this server");
    let foreign = || plain_refusal(403, "Requests from web pages are not served");
    let not_acceptable = || plain_refusal(406, "The response is application/json; the Accept header must allow it");
    let unsupported = || plain_refusal(415, "The body must be application/json, without a content encoding");
    let own_origin = format!("http://{}", server.listen);
    check(
        &server,
        [
            ("PUT", good().method("PUT"), not_allowed()),
            ("DELETE", good().method("DELETE"), not_allowed()),
            ("an unknown method", good().method("BREW"), not_allowed()),
            ("GET of a stream", Request::get("/mcp").with("Accept", "text/event-stream"), not_allowed()),
            ("the root", good().target("/"), not_found()),
            (
                "a slash behind the path",
                good().target("/mcp/"),
                response(
                    400,
                    json!({"jsonrpc": "2.0", "error": {"code": -32700, "message": "Invalid JSON: the body must be one JSON value (RFC 8259)"}}),
                ),
            ),
            ("a path below", good().target("/mcp/x"), not_found()),
            ("a path in other letters", good().target("/MCP"), not_found()),
            ("another transport's path", Request::get("/sse"), not_found()),
            ("a foreign host", good().replacing("Host", "evil.example"), misdirected()),
            ("a host that begins well", good().replacing("Host", "localhost.evil.example"), misdirected()),
            ("a foreign host in the target", good().target("http://evil.example/mcp"), misdirected()),
            ("a foreign origin", good().with("Origin", "https://evil.example"), foreign()),
            ("its own origin", good().with("Origin", &own_origin), foreign()),
            ("an opaque origin", good().with("Origin", "null"), foreign()),
            ("an origin without a key", anonymous().with("Origin", "https://evil.example"), foreign()),
            ("only text accepted", good().replacing("Accept", "text/html"), not_acceptable()),
            ("text sent", good().replacing("Content-Type", "text/plain"), unsupported()),
            ("a form sent", good().replacing("Content-Type", "application/x-www-form-urlencoded"), unsupported()),
            ("compressed", good().with("Content-Encoding", "gzip"), unsupported()),
        ],
    )
    .await;
}

#[tokio::test]
async fn every_host_of_the_server_and_every_accept_that_admits_json_is_served() {
    let server = start(&document(NOWHERE)).await;
    let good = post(AGENT, &rpc("ping", json!({})));
    let pong = response(200, rpc_result(json!({})));
    let hosts = ["crm.sales.svc", "crm.sales.svc:3000", "CRM.sales.svc", "127.0.0.1:1", "[::1]:3000", "localhost:3000"];
    for host in hosts {
        assert_eq!(server.send(&good.clone().replacing("Host", host)).await.unwrap().to_value(), pong, "{host}");
    }
    for accept in ["application/json", "*/*", "application/*", "text/event-stream;q=0.5, application/json"] {
        assert_eq!(server.send(&good.clone().replacing("Accept", accept)).await.unwrap().to_value(), pong, "{accept}");
    }
}

#[tokio::test]
async fn a_body_over_1_mib_is_a_413_and_a_head_over_16_kib_is_a_431() {
    let server = start(&document(NOWHERE)).await;
    let limit = 1024 * 1024;
    let mut ping = rpc("ping", json!({})).to_string();
    ping.push_str(&" ".repeat(limit - ping.len()));
    let at_the_limit = server.send(&Request::post("/mcp", ping).with("x-api-key", AGENT)).await.unwrap();
    assert_eq!(at_the_limit.to_value(), response(200, rpc_result(json!({}))));

    let too_large = plain_refusal(413, "The body is too large");
    let mut declared = Connection::open(server.listen).await.unwrap();
    let head = Request::post("/mcp", "").with("x-api-key", AGENT).with("Content-Length", &(limit + 1).to_string());
    declared.write(&head.bytes()).await.unwrap();
    assert_eq!(declared.response().await.unwrap().to_value()["body"], too_large["body"], "before the body is sent");

    let mut chunked = Connection::open(server.listen).await.unwrap();
    let head = Request::post("/mcp", "").with("x-api-key", AGENT).with("Transfer-Encoding", "chunked");
    chunked.write(&head.bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", limit + 1, " ".repeat(limit + 1));
    // The server may respond and close the connection before all of it is sent.
    let _ = chunked.write(chunk.as_bytes()).await;
    assert_eq!(chunked.response().await.unwrap().to_value()["body"], too_large["body"]);

    let ping = post(AGENT, &rpc("ping", json!({})));
    let header = ping.clone().with("x-large", &"x".repeat(16 * 1024));
    assert_eq!(server.send(&header).await.unwrap().status, 431);
    let target = ping.clone().target(&format!("/{}", "x".repeat(17 * 1024)));
    assert_eq!(server.send(&target).await.unwrap().status, 431);
    assert_eq!(server.send(&ping).await.unwrap().status, 200, "others are served");
}

#[tokio::test]
async fn a_body_with_broken_chunks_is_a_400() {
    let server = start(&document(NOWHERE)).await;
    let request = Request::post("/mcp", "zz\r\n{}\r\n0\r\n\r\n").with("Transfer-Encoding", "chunked");
    let found = server.send(&request.with("x-api-key", AGENT)).await.unwrap();
    assert_eq!((found.status, found.json()), (400, json!({"error": "The body is malformed or incomplete"})));
}
