//! Scenarios in which a request is refused.

use portcullis_tests::PATIENCE;
use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::{Connection, Request, send};
use portcullis_tests::server::{TestServer, call, post, rpc};
use serde_json::json;
use tokio::task::JoinSet;

use super::send_all;
use crate::fixtures::*;

fn ping(key: &str) -> Request {
    post(key, &rpc("ping", json!({})))
}

pub async fn unauthenticated() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    let missing = ping("").without("x-api-key");
    send_all(&server, [missing, ping("unknown"), ping(AGENT).with("x-api-key", AGENT)]).await;
    server
}

pub async fn clients_without_access() -> TestServer {
    let mut document = document(NOWHERE);
    client_of(&mut document, "agent")["suspended"] = json!(true);
    client_of(&mut document, "reader")["expiresAt"] = json!("2020-01-01T00:00:00Z");
    let ids = ["agent", "reader", "removed"];
    let server = start_for(&document, &ids).await;
    send_all(&server, ids.map(|id| ping(&key_of(id)))).await;
    server
}

pub async fn malformed_requests() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    let requests = [
        Request::post("/mcp", "{").with("x-api-key", AGENT),
        post(AGENT, &rpc("unknown/method", json!({}))),
        ping(AGENT).method("PUT"),
        ping(AGENT).replacing("Accept", "text/html"),
        ping(AGENT).replacing("Content-Type", "text/plain"),
        ping(AGENT).replacing("Host", "evil.example"),
        Request::post("/mcp", " ".repeat(1024 * 1024 + 1)).with("x-api-key", AGENT),
    ];
    send_all(&server, requests).await;
    let mut slow = Connection::open(server.listen).await.unwrap();
    let head = Request::post("/mcp", "").with("x-api-key", AGENT).with("Content-Length", "1000");
    slow.write(&head.bytes()).await.unwrap();
    slow.response().await.unwrap();
    server
}

pub async fn refused_calls() -> TestServer {
    let mut document = document(NOWHERE);
    client_of(&mut document, "reader")["tools"] = json!(["note"]);
    client_of(&mut document, "agent")["where"] =
        json!([{"name": "short", "tool": "find", "argument": "/query", "in": ["x"]}]);
    let server = start(&document).await;
    let calls = [
        call(READER, "echo", json!({"text": "x"})),
        call(AGENT, "find", json!({"query": "y"})),
        call(READER, "note", json!({"id": "7", "text": "x"})),
        call(READER, "unknown", json!({})),
        call(AGENT, "echo", json!({"text": 5})),
        call(AGENT, "echo", json!({"text": "x".repeat(65 * 1024)})),
        call(AGENT, "note", json!({"id": "7/8", "text": "x"})),
    ];
    send_all(&server, calls).await;
    server
}

pub async fn calls_over_limits() -> TestServer {
    let an_hour = |requests: u32| json!({"requests": requests, "per": "1h"});
    let mut document = document(NOWHERE);
    tool_of(&mut document, "find")["expensive"] = json!(true);
    document["spec"]["limits"]["expensiveTools"] = an_hour(1);
    document["spec"]["limits"]["global"] = json!({"requests": 10, "per": "1h", "maxShare": 30});
    let ids = ["a", "b", "c", "d", "e"];
    let clients = ids.map(|id| client(id, &["echo", "find"], 10, false));
    document["clients"] = clients.into();
    client_of(&mut document, "a")["limits"] = json!([an_hour(1)]);
    let server = start_for(&document, &ids).await;
    let echo = |id: &str| call(&key_of(id), "echo", json!({"text": "x"}));
    let find = |id: &str| call(&key_of(id), "find", json!({"query": "x"}));
    // `a` may make one call, so that its allowance for other requests is ten.
    send_all(&server, [echo("a"), echo("a")]).await;
    send_all(&server, vec![ping(&key_of("a")); 11]).await;
    // `b` may call the expensive tool once, and has a share of three calls of all.
    send_all(&server, [find("b"), find("b"), echo("b"), echo("b"), echo("b")]).await;
    // With the shares of `c` and `d`, all ten calls are used.
    send_all(&server, vec![echo("c"); 3]).await;
    send_all(&server, vec![echo("d"); 3]).await;
    send_all(&server, [echo("e")]).await;
    server
}

pub async fn calls_in_flight() -> TestServer {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    let server = start(&document(&backend.url())).await;
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let address = server.listen;
        calls.spawn(async move {
            let request = call(AGENT, "find", json!({"query": "x"}));
            send(address, &request).await
        });
    }
    server.log.at_least(32, "tool_call_start", PATIENCE).await.unwrap();
    send_all(&server, [call(AGENT, "echo", json!({"text": "x"}))]).await;
    server
}
