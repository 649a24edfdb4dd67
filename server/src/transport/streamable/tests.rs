use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    audit::Audit,
    config::fixtures::policy,
    config::{Store, StoreSettings},
    fingerprint::Fingerprint,
    guard::{self, Turns},
    health::Health,
    identity::fixtures::{client, credentials},
    mcp,
    metrics::Metrics,
    net::{Bounds, Connections, StreamBounds, serve},
    transport::{Endpoints, MainPort},
};

/// The main port of a server, with a method that streams.
async fn start(stream: StreamBounds) -> SocketAddr {
    start_reading(stream, Turns::default()).await
}

async fn start_reading(stream: StreamBounds, readings: Turns) -> SocketAddr {
    start_with(stream, readings, Bounds::default()).await.address
}

struct Started {
    address: SocketAddr,
    audit: Audit,
    log: guard::fixtures::Log,
    metrics: Metrics,
}

async fn start_with(stream: StreamBounds, readings: Turns, bounds: Bounds) -> Started {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("policy.yaml"), policy(&[client("a", &json!({}))]).to_string()).unwrap();
    fs::write(directory.path().join("credentials.yaml"), credentials(&["a"]).to_string()).unwrap();
    let store = std::sync::Arc::new(Store::new(StoreSettings::of(directory.path())));
    assert!(store.reload().swapped.is_some());
    let (mut guard, log) = guard::fixtures::guard();
    (guard.readings, guard.store) = (readings, store.clone());
    let health = Health { store, audit: guard.audit.clone(), started: Instant::now() };
    let (audit, metrics) = (guard.audit.clone(), Metrics::default());
    let mut endpoints = Endpoints::new(mcp::fixtures::mcp(guard), metrics.clone());
    (endpoints.stream, endpoints.streams) = (stream, stream.budget());
    let port = std::sync::Arc::new(MainPort { endpoints, health: health.into() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, port, bounds, Connections::default(), std::future::pending::<std::time::Duration>()));
    Started { address, audit, log, metrics }
}

/// Head and body of the answer to `test/count`.
async fn count(address: SocketAddr, accept: &str) -> (String, String) {
    post(address, accept, r#"{"jsonrpc":"2.0","id":"x","method":"test/count"}"#).await
}

async fn post(address: SocketAddr, accept: &str, body: &str) -> (String, String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-api-key: key-of-a\r\ncontent-type: application/json\r\n\
         accept: {accept}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

const BOTH: &str = "application/json, text/event-stream";
const RESULT: &str = r#"{"jsonrpc":"2.0","id":"x","result":{"count":3}}"#;

#[tokio::test]
async fn messages_are_streamed_as_events_and_the_result_is_the_last() {
    let address = start(StreamBounds::default()).await;
    let (head, body) = count(address, BOTH).await;
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-type: text/event-stream"), "{head}");
    let data: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let progress = |n: u32| {
        let params = json!({"progressToken": "t", "progress": n});
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).to_string()
    };
    assert_eq!(data, [&progress(1), &progress(2), &progress(3), RESULT]);

    let (head, body) = count(address, "application/json").await;
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(body, RESULT);
}

#[tokio::test]
async fn a_stream_over_its_bound_is_refused_with_the_id_of_its_request() {
    let address = start(StreamBounds { open_of_identity: 0, ..StreamBounds::default() }).await;
    let (head, body) = count(address, BOTH).await;
    assert!(head.starts_with("http/1.1 429 ") && head.contains("retry-after: 1"), "{head}");
    let message = "Rate limit exceeded. Retry after 1 seconds.";
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        json!({"jsonrpc": "2.0", "id": "x", "error": {"code": 429, "message": message}})
    );
}

#[tokio::test]
async fn a_large_request_waits_for_its_turn_and_a_small_one_does_not() {
    let readings = Turns::new(1);
    let address = start_reading(StreamBounds::default(), readings.clone()).await;
    let turn = readings.take(Fingerprint::of(&["other"])).await;
    let ping = |padding: usize| format!(r#"{{"jsonrpc":"2.0","id":"x","method":"ping"{}}}"#, " ".repeat(padding));
    let large = tokio::spawn(async move { post(address, "application/json", &ping(10_000)).await });
    let began = Instant::now();
    while readings.identities() < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not wait");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(post(address, "application/json", &ping(0)).await.0.starts_with("http/1.1 200"));
    assert!(!large.is_finished());
    drop(turn);
    assert!(large.await.unwrap().0.starts_with("http/1.1 200"));
    assert_eq!(readings.identities(), 0);
}

#[tokio::test]
async fn an_answer_for_which_there_is_no_room_once_it_is_sent_is_recorded_and_counted_as_a_refusal() {
    let bounds = Bounds { unread_of_one: 100, ..Bounds::default() };
    let server = start_with(StreamBounds::default(), Turns::default(), bounds).await;
    let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let mut send = async |body: &str| {
        let request = http::Request::post("http://localhost/mcp")
            .header("x-api-key", "key-of-a")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        client.send_request(request).await.unwrap().status().as_u16()
    };
    // Neither has a record of its own; a refusal keeps its status, and a call has its room.
    assert_eq!(send(r#"{"jsonrpc":"2.0","id":"x","method":"tools/list"}"#).await, 503);
    assert_eq!(send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await, 202);
    assert_eq!(send(r#"{"jsonrpc":"2.0","id":"x","method":"none"}"#).await, 404);
    assert_eq!(send(r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"greet"}}"#).await, 200);

    assert!(server.audit.stop(Duration::from_secs(60)));
    let records = server.log.records();
    let refused = records.iter().filter(|record| record["event"] == "request_refused");
    let refused: Vec<_> =
        refused.map(|it| json!([it["clientId"], it["keyId"].is_string(), it["status"], it["code"]])).collect();
    assert_eq!(refused, [json!(["a", true, 503, null]), json!(["a", true, 404, -32601])]);
    let page = server.metrics.render(Default::default());
    for status in [503, 202, 404, 200] {
        assert!(page.contains(&format!("portcullis_responses_total{{status=\"{status}\"}} 1")), "{page}");
    }
}
