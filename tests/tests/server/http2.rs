//! HTTP/2 without TLS, by prior knowledge: the responses of HTTP/1.1, and bounds of its own.

use portcullis_tests::http::foreseen;
use portcullis_tests::server::{TestServer, rpc};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;

fn client() -> Client {
    Client::builder().http2_prior_knowledge().no_proxy().build().unwrap()
}

fn post(client: &Client, server: &TestServer, key: &str, message: &Value) -> reqwest::RequestBuilder {
    client
        .post(server.url())
        .header("x-api-key", key)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(message.to_string())
}

fn echo(text: &str) -> Value {
    rpc("tools/call", json!({"name": "echo", "arguments": {"text": text}}))
}

async fn status_and_body(response: Response) -> (u16, Value) {
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    (response.status().as_u16(), foreseen(response.json().await.unwrap_or(Value::Null)))
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_and_refusals_are_those_of_http_1() {
    let server = start(&document(NOWHERE)).await;
    let client = client();
    let request = |key| post(&client, &server, key, &echo("x"));
    let refusal = |message: &str| json!({"error": message});
    for (what, request, expected) in [
        ("a call", request(AGENT), (200, rpc_result(echoed("x")))),
        ("an unknown key", request("wrong"), (401, refusal("Invalid API key"))),
        ("a key twice", request(AGENT).header("x-api-key", AGENT), (401, refusal("Invalid API key"))),
        (
            "an origin",
            request(AGENT).header("origin", "http://x"),
            (403, refusal("Requests from web pages are not served")),
        ),
        (
            "another host beside its own",
            request(AGENT).header("host", "evil.example"),
            (421, refusal("The Host header does not name this server")),
        ),
        (
            "a body over 1 MiB",
            request(AGENT).body(" ".repeat(1024 * 1024 + 1)),
            (413, refusal("The body is too large")),
        ),
    ] {
        assert_eq!(status_and_body(request.send().await.unwrap()).await, expected, "{what}");
    }
    let large_head = request(AGENT).header("x-large", "x".repeat(20 * 1024)).send().await.unwrap();
    assert_eq!(large_head.status(), 431);
    assert_eq!(request(AGENT).send().await.unwrap().status(), 200, "the connection is not closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_one_connection() {
    let server = start(&document(NOWHERE)).await;
    let client = client();
    let mut calls = JoinSet::new();
    // More than a connection may have streams.
    for n in 0..300 {
        let text = n.to_string();
        let request = post(&client, &server, AGENT, &echo(&text));
        calls.spawn(async move {
            // A client has 32 calls in flight, each until its response was written.
            let found = loop {
                match status_and_body(request.try_clone().unwrap().send().await.unwrap()).await {
                    (429, _) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                    found => break found,
                }
            };
            assert_eq!(found, (200, rpc_result(echoed(&text))));
        });
    }
    calls.join_all().await;
    let metrics = server.admin("/metrics").await.unwrap().text();
    assert!(metrics.contains("portcullis_connections 1\n"), "{metrics}");
}
