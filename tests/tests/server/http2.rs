//! HTTP/2 without TLS, by prior knowledge: the same answers as over HTTP/1.1, and the bounds of its own.

use portcullis_tests::server::{Server, rpc};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::common::*;

fn client() -> Client {
    Client::builder().http2_prior_knowledge().no_proxy().build().unwrap()
}

fn post(client: &Client, server: &Server, key: &str, message: &Value) -> reqwest::RequestBuilder {
    client
        .post(format!("http://{}/mcp", server.listen))
        .header("x-api-key", key)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(message.to_string())
}

async fn shown(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    (status, answer.json().await.unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_refusals_are_those_of_http_1() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let client = client();
    let echo = rpc("tools/call", json!({"name": "echo", "arguments": {"text": "x"}}));
    let request = |key| post(&client, &server, key, &echo);
    let (status, body) = shown(request(AGENT).send().await.unwrap()).await;
    assert_eq!((status, &body["result"]["content"][0]["text"]), (200, &json!("you said x")));
    for (what, request, expected) in [
        ("a wrong key", request("wrong"), (401, json!({"error": "Invalid API key"}))),
        ("a key twice", request(AGENT).header("x-api-key", AGENT), (401, json!({"error": "Invalid API key"}))),
        (
            "an origin",
            request(AGENT).header("origin", "http://x"),
            (403, json!({"error": "Requests from web pages are not served"})),
        ),
        (
            "another host beside its own",
            request(AGENT).header("host", "evil.example"),
            (421, json!({"error": "This server is not addressed by that host"})),
        ),
    ] {
        assert_eq!(shown(request.send().await.unwrap()).await, expected, "{what}");
    }
    let too_large = post(&client, &server, AGENT, &json!({"filler": "x".repeat(1024 * 1024)})).send().await.unwrap();
    assert_eq!(too_large.status(), 413);
    let header = request(AGENT).header("x-large", "x".repeat(20 * 1024)).send().await.unwrap();
    assert_eq!(header.status(), 431);
    assert_eq!(request(AGENT).send().await.unwrap().status(), 200, "the connection serves on");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_one_connection() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let client = client();
    let mut calls = JoinSet::new();
    for n in 0..300 {
        let message = rpc("tools/call", json!({"name": "echo", "arguments": {"text": n.to_string()}}));
        let request = post(&client, &server, AGENT, &message);
        calls.spawn(async move { (n, shown(request.send().await.unwrap()).await) });
    }
    while let Some(ended) = calls.join_next().await {
        let (n, (status, body)) = ended.unwrap();
        assert_eq!((status, &body["result"]["content"][0]["text"]), (200, &json!(format!("you said {n}"))));
    }
}
