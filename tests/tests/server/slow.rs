//! Slow senders are cut off at the bound, and nobody else notices them.

use std::time::{Duration, Instant};

use portcullis_tests::eventually;
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{Server, call, post, rpc};
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::*;

/// The bound of headers and of a body, as the server has it by default.
const BOUND: Duration = Duration::from_secs(10);
/// How much later than the bound it may be on a busy machine. Without a bound it would be never.
const GRACE: Duration = Duration::from_secs(20);

/// Sends a byte every half second until the other side has had enough; how long that took, and what it said.
async fn drip(server: std::net::SocketAddr, bytes: Vec<u8>, at_once: usize) -> (Duration, String) {
    let mut connection = Connection::open(server).await.unwrap();
    connection.send(&bytes[..at_once]).await.unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    for byte in bytes[at_once..].chunks(1) {
        if connection.send(byte).await.is_err() {
            break;
        }
        match connection.closed(Duration::from_millis(500)).await {
            Ok(last) => {
                said = last;
                break;
            }
            Err(_) if began.elapsed() > BOUND + GRACE => break,
            Err(_) => {}
        }
    }
    (began.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_at_a_time_is_cut_off_at_the_bound_while_others_are_served() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let address = server.listen;
    let request = post(AGENT, &rpc("tools/list", json!({"filler": "x".repeat(2000)})));
    let (head, bytes) = (request.head().len(), request.bytes());
    let chunked = Request::post("/mcp", "").with("x-api-key", AGENT).with("Transfer-Encoding", "chunked");
    let chunks = [chunked.bytes(), b"1\r\n \r\n".repeat(1000)].concat();
    let mut slow = JoinSet::new();
    for (what, bytes, at_once) in [
        ("headers", bytes.clone(), 0),
        ("half of the headers", bytes.clone(), head / 2),
        ("a body", bytes.clone(), head),
        ("half of a body", bytes, head + 100),
        ("a body in chunks", chunks, chunked.head().len()),
    ] {
        slow.spawn(async move { (what, drip(address, bytes, at_once).await) });
    }
    let mut served = 0;
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    while !slow.is_empty() {
        while let Some(ended) = slow.try_join_next() {
            let (what, (took, said)) = ended.unwrap();
            assert!(took < BOUND + GRACE, "{what} took {took:?}");
            // Headers that never came may be answered or not; a body that never came is a 408.
            let is_body = what.contains("body");
            assert!(said.starts_with("HTTP/1.1 408") || (!is_body && said.is_empty()), "{what}: {said}");
        }
        let asked = Instant::now();
        assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200);
        longest = longest.max(asked.elapsed());
        served += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() > Duration::from_millis(900), "they were slow for a while");
    assert!(served > 10, "{served}");
    assert!(longest < BOUND / 2, "others waited {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_has_at_most_256_connections_and_gets_one_more_when_one_ends() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let request = call(AGENT, "echo", json!({"text": "x"}));
    // A probe's connection may still be counted; it ends by itself.
    let mut held = eventually(PATIENCE, async || {
        let mut held = Vec::new();
        for _ in 0..256 {
            let mut connection = Connection::open(server.listen).await.map_err(|error| error.to_string())?;
            let answer = connection.ask(&request).await.map_err(|error| format!("{} held: {error}", held.len()))?;
            assert_eq!(answer.status, 200);
            held.push(connection);
        }
        Ok::<_, String>(held)
    })
    .await
    .unwrap();
    let mut one_more = Connection::open(server.listen).await.unwrap();
    let _ = one_more.send(&request.bytes()).await;
    assert_eq!(one_more.closed(PATIENCE).await.unwrap(), Vec::<u8>::new(), "closed without a word");
    for connection in &mut held {
        assert_eq!(connection.ask(&request).await.unwrap().status, 200, "those that were there first are served");
    }
    assert_eq!(server.admin("/livez").await.unwrap().status, 200, "probes have a door of their own");
    held.pop();
    eventually(PATIENCE, async || server.ask(&request).await.map_err(|error| error.to_string())).await.unwrap();
}
