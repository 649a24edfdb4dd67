//! Callers that close their side of a connection while their call is made, or reset it, with and without bytes behind the call.

use portcullis_tests::backend::{Backend, Gate, Reply};
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{TestServer, call, post, rpc};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;
use crate::revisions::stateless;

/// A server whose backend replies once the gate is open.
async fn held() -> (TestServer, Backend, Gate) {
    let gate = Gate::closed();
    let script = gate.clone();
    let backend = Backend::start(move |_| Reply::Json(200, json!({"items": []})).held(&script)).await.unwrap();
    (start(&document(&backend.url())).await, backend, gate)
}

fn find() -> Value {
    json!({"name": "find", "arguments": {"query": "x"}})
}

/// Sends a call with something behind it, and waits until its backend has it.
async fn begin(server: &TestServer, backend: &Backend, call: &Request, behind: &[u8]) -> Connection {
    let before = backend.received().len();
    let mut connection = Connection::open(server.listen).await.unwrap();
    connection.write(&[&call.bytes(), behind].concat()).await.unwrap();
    until(PATIENCE, async || expect_eq(backend.received().len(), before + 1)).await;
    connection
}

#[tokio::test]
async fn a_caller_that_only_closes_its_side_keeps_its_answer() {
    let ping = post(AGENT, &rpc("ping", json!({})));
    for version in [None, Some("2025-03-26"), Some("2025-06-18"), Some("2025-11-25")] {
        for behind in [Vec::new(), ping.bytes()] {
            let (server, backend, gate) = held().await;
            let call = call(AGENT, "find", json!({"query": "x"}));
            let call = version.iter().fold(call, |it, version| it.with("MCP-Protocol-Version", version));
            let mut connection = begin(&server, &backend, &call, &behind).await;
            connection.finish().await.unwrap();
            // Time for the server to see it, and to answer others.
            for _ in 0..3 {
                assert_eq!(server.send(&ping).await.unwrap().status, 200);
            }
            gate.open();
            let found = connection.response().await.unwrap();
            assert_eq!((found.status, &found.json()["result"]["isError"]), (200, &json!(false)), "{version:?}");
            if !behind.is_empty() {
                assert_eq!(connection.response().await.unwrap().to_value(), response(200, rpc_result(json!({}))));
            }
            assert_eq!(connection.closed(PATIENCE).await.unwrap(), b"");
            let end = server.log.event("tool_call_success", PATIENCE).await.unwrap();
            assert_eq!(end["delivered"], Value::Null);
        }
    }
}

#[tokio::test]
async fn in_2026_07_28_a_caller_that_closes_its_side_or_resets_it_cancels_whatever_it_sent_behind() {
    let ping = post(AGENT, &rpc("ping", json!({}))).bytes();
    for behind in [&b""[..], &ping, b"garbage", b"\r\n"] {
        for how in ["finishes", "closes", "resets"] {
            let (server, backend, _gate) = held().await;
            let call = stateless("tools/call", Some("find"), find());
            let mut connection = begin(&server, &backend, &call, behind).await;
            match how {
                "finishes" => {
                    connection.finish().await.unwrap();
                    assert_eq!(connection.closed(PATIENCE).await.unwrap(), b"", "nothing is sent for it any more");
                }
                "closes" => drop(connection),
                _ => connection.reset().unwrap(),
            }
            let end = server.log.event("tool_call_error", PATIENCE).await.unwrap();
            assert_eq!(end["error"], "disconnected", "{how} {behind:?}");
            // Its place is free, and nothing of what was behind it is served.
            let page = server.admin("/metrics").await.unwrap().text();
            assert!(page.contains("portcullis_responses_total{status=\"200\"} 0\n"), "{page}");
        }
    }
}
