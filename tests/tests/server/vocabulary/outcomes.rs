//! Scenarios in which a call has an outcome, and those that are not about a request.

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::Connection;
use portcullis_tests::server::{TestServer, call, post};
use portcullis_tests::{PATIENCE, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::send_all;
use crate::audit_blocked::three_writes_that_cannot_be_recorded;
use crate::backends::with_read;
use crate::connections::stalled;
use crate::fixtures::*;
use crate::revisions::stateless;

pub async fn secret_missing() -> TestServer {
    let mut document = document(NOWHERE);
    let credentials = json!({"bearerSecretRef": {"name": "crm-token", "key": "token"}});
    document["spec"]["backends"][0]["credentials"] = credentials;
    let server = start(&document).await;
    send_all(&server, [call(AGENT, "find", json!({"query": "x"}))]).await;
    server
}

pub async fn served() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    send_all(&server, [call(AGENT, "echo", json!({"text": "x"})), post(AGENT, &notification)]).await;
    send_all(&server, [call(AGENT, "note", json!({"id": "7", "text": "x", "more": 1}))]).await;
    server
}

pub async fn failed_calls() -> TestServer {
    let backend = Backend::start(|request| match request.target.trim_start_matches("/things/") {
        "status" => Reply::Json(500, json!({})),
        "malformed" => Reply::response(200, "{"),
        "large" => Reply::response(200, format!("[{}1]", "1,".repeat(3 * 1024 * 1024))),
        "unexpected" => Reply::Json(200, json!({"n": "canary"})),
        "silent" => Reply::Silence,
        _ => Reply::Json(200, json!({"no": "list"})),
    })
    .await
    .unwrap();
    let mut document = with_read(&backend.url());
    tool_of(&mut document, "read")["timeout"] = json!("5s");
    tool_of(&mut document, "read")["outputSchema"] =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let server = start(&document).await;
    let read = |id: &str| call(AGENT, "read", json!({"id": id}));
    send_all(&server, ["status", "malformed", "large", "unexpected", "silent"].map(read)).await;
    send_all(&server, [call(AGENT, "find", json!({"query": "x"}))]).await;
    let calls = server.log.at_least(6, "tool_call_start", PATIENCE).await.unwrap().len();
    let mut connection = Connection::open(server.listen).await.unwrap();
    let disconnecting = stateless("tools/call", Some("read"), json!({"name": "read", "arguments": {"id": "silent"}}));
    connection.write(&disconnecting.bytes()).await.unwrap();
    server.log.at_least(calls + 1, "tool_call_start", PATIENCE).await.unwrap();
    server
}

pub async fn held_bytes() -> TestServer {
    let backend = Backend::start(|request| match request.target.trim_start_matches("/things/") {
        "large" => Reply::Json(200, json!(["x".repeat(3_000_000)])),
        _ => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n";
            Reply::Unfinished([head.as_slice(), &[b' '; 200_000]].concat())
        }
    })
    .await
    .unwrap();
    let mut document = with_read(&backend.url());
    tool_of(&mut document, "read")["timeout"] = json!("60s");
    let server = start(&document).await;
    let mut connections = Vec::new();
    for id in ["large", "unfinished"] {
        let mut connection = Connection::open(server.listen).await.unwrap();
        connection.write(&call(AGENT, "read", json!({"id": id})).bytes()).await.unwrap();
        connections.push(connection);
    }
    connections.push(stalled(&server, AGENT).await);
    // They are not read while the server runs.
    tokio::spawn(async move {
        let _held = (backend, connections);
        std::future::pending::<()>().await;
    });
    server
}

pub async fn backend_down() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    send_all(&server, vec![call(AGENT, "find", json!({"query": "x"})); 6]).await;
    server
}

pub async fn blocked_log() -> TestServer {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let server = start(&document(&backend.url())).await;
    three_writes_that_cannot_be_recorded(&server).await;
    server
}

/// Fills the 32 MiB that may wait for the log with the records of calls whose arguments have long names.
pub async fn dropped_records() -> TestServer {
    let names: Vec<String> = (0..16).map(|n| format!("{n}{}", "x".repeat(90))).collect();
    let arguments: Value = names.iter().map(|name| (name.clone(), json!(1))).collect();
    let properties: Value = names.iter().map(|name| (name.clone(), json!({}))).collect();
    let mut document = document(NOWHERE);
    document["spec"]["audit"] = json!({"onOverflow": "Drop"});
    tool_of(&mut document, "echo")["inputSchema"] = json!({"type": "object", "properties": properties});
    tool_of(&mut document, "echo")["static"] = json!({"text": "x"});
    let server = start(&document).await;
    server.log.pause().await.unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (address, request) = (server.listen, call(AGENT, "echo", arguments.clone()));
        callers.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            loop {
                connection.send(&request).await.unwrap();
            }
        });
    }
    let is_dropped = |page: &str| !page.contains("portcullis_audit_records_dropped_total 0\n");
    until(PATIENCE, async || {
        let page = server.admin("/metrics").await.map_err(|error| error.to_string())?.text();
        if is_dropped(&page) { Ok(()) } else { Err(format!("no record is dropped:\n{page}")) }
    })
    .await;
    callers.shutdown().await;
    server.log.resume();
    server
}

pub async fn refused_documents() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    server.config.write_text(Some("contract: 2"), Some("contract: 2")).unwrap();
    server
}

pub async fn stopped() -> TestServer {
    let mut server = start(&document(NOWHERE)).await;
    server.signal(Signal::TERM).unwrap();
    server.ended(PATIENCE).await.unwrap();
    server
}
