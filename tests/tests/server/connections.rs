//! Bounds of connections and bodies: a peer that sends slowly, holds many connections or stalls is cut off, and no other caller
//! notices it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use portcullis_tests::backend::{Backend, Gate, Reply};
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{TestServer, call, post, rpc};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::json;
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;

/// The time that headers, and a body, may take by default.
const BOUND: Duration = Duration::from_secs(10);

/// Sends a byte every half second until the server closes the connection. Returns how long that took, and what the server sent.
async fn drip(address: SocketAddr, bytes: Vec<u8>, at_once: usize) -> (Duration, String) {
    let mut connection = Connection::open(address).await.unwrap();
    let began = Instant::now();
    connection.write(&bytes[..at_once]).await.unwrap();
    for byte in bytes[at_once..].chunks(1) {
        // An error means that the connection is closed, which `closed` reports with what was sent before.
        let _ = connection.write(byte).await;
        if let Ok(sent) = connection.closed(Duration::from_millis(500)).await {
            return (began.elapsed(), String::from_utf8_lossy(&sent).into_owned());
        }
        assert!(began.elapsed() < BOUND + PATIENCE, "never cut off");
    }
    panic!("everything was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_a_byte_at_a_time_is_cut_off_at_the_bound_while_others_are_served() {
    let server = start(&document(NOWHERE)).await;
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
    let mut longest = Duration::ZERO;
    let mut served = 0;
    while !slow.is_empty() {
        while let Some(ended) = slow.try_join_next() {
            let (what, (took, sent)) = ended.unwrap();
            let expected = if what.contains("body") { "HTTP/1.1 408" } else { "" };
            assert!(sent.starts_with(expected) && sent.is_empty() == expected.is_empty(), "{what}: {sent}");
            // A body below the least rate is cut off before the bound.
            assert!(took > Duration::from_millis(900), "{what} took {took:?}");
        }
        let began = Instant::now();
        let found = server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap();
        assert_eq!(found.to_value(), response(200, rpc_result(echoed("x"))));
        longest = longest.max(began.elapsed());
        served += 1;
        // The pace of the caller.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(served > 10, "{served} calls were served meanwhile");
    // A caller that had to wait for a slow one would wait until the bound.
    assert!(longest < BOUND / 2, "one of {served} calls took {longest:?}");
}

/// An address of this machine that no other caller in these tests has.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_at_most_256_connections_and_gets_another_when_one_ends() {
    let gate = Gate::closed();
    let script = gate.clone();
    let backend = Backend::start(move |_| Reply::Json(200, json!({"items": []})).held(&script)).await.unwrap();
    let ids: Vec<String> = (0..16).map(|n| format!("c{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut document = document(&backend.url());
    document["clients"] = ids.iter().map(|id| client(id, &["echo", "find"], 10, false)).collect();
    tool_of(&mut document, "find")["timeout"] = json!("5m");
    let server = start_for(&document, &ids).await;
    // All of them are busy: one that is idle would make room for the next.
    let mut held = Vec::new();
    for n in 0..256 {
        let mut connection = Connection::open_from(PEER, server.listen).await.unwrap();
        connection.write(&call(&key_of(ids[n % 16]), "find", json!({"query": "x"})).bytes()).await.unwrap();
        held.push(connection);
    }
    until(PATIENCE, async || expect_eq(backend.received().len(), 256)).await;
    let request = call(&key_of(ids[0]), "echo", json!({"text": "x"}));
    let mut over = Connection::open_from(PEER, server.listen).await.unwrap();
    assert!(over.send(&request).await.is_err(), "one more than 256");
    assert_eq!(server.send(&request).await.unwrap().status, 200, "other peers are served");
    let mut probe = Connection::open_from(PEER, server.admin).await.unwrap();
    assert_eq!(probe.send(&Request::get("/livez")).await.unwrap().status, 200, "the admin port has a bound of its own");
    held.pop().unwrap().reset().unwrap();
    until(PATIENCE, async || {
        let mut connection = Connection::open_from(PEER, server.listen).await.unwrap();
        connection.send(&request).await
    })
    .await;
    gate.open();
    for mut connection in held {
        assert_eq!(connection.response().await.unwrap().status, 200, "those that are open are served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_connects_again_and_again_has_few_connections_to_the_admin_port_and_makes_no_probe_fail() {
    const MOST: usize = 16;
    let server = start(&document(NOWHERE)).await;
    let mut held = Vec::new();
    for _ in 0..3 * MOST {
        // It has the room of the one that has been idle for longest, once that has been idle for a moment.
        held.push(
            until(PATIENCE, async || {
                let mut connection = Connection::open_from(PEER, server.admin).await.unwrap();
                let status = connection.send(&Request::get("/livez")).await.map_err(|error| error.to_string())?.status;
                expect_eq(status, 200).map(|()| connection)
            })
            .await,
        );
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.admin(path).await.unwrap().status, 200, "{path}");
    }
    // Sooner than it closes them because they are idle.
    until(Duration::from_secs(4), async || {
        let mut open = Vec::new();
        for mut connection in held.drain(..) {
            if connection.closed(Duration::from_millis(1)).await.is_err() {
                open.push(connection);
            }
        }
        held = open;
        if held.len() <= MOST { Ok(()) } else { Err(format!("{} are open", held.len())) }
    })
    .await;
    for connection in &mut held {
        assert_eq!(connection.closed(PATIENCE).await.unwrap(), b"", "an idle connection is closed");
    }
}

/// Length of the bodies that stall, of which four fit into the 4 MiB of one client.
const STALLED: usize = 1_000_000;

/// Begins a request, and stops shortly before the end of its body.
pub async fn stalled(server: &TestServer, key: &str) -> Connection {
    let mut connection = Connection::open(server.listen).await.unwrap();
    let head = Request::post("/mcp", "").with("x-api-key", key).with("Content-Length", &STALLED.to_string());
    // A server that refuses the request does not read the rest of it.
    let _ = connection.write(&head.bytes()).await;
    let _ = connection.write(&vec![b' '; STALLED - 1]).await;
    connection
}

/// Sends the rest of a body that stalled. It is blank, which is not JSON.
async fn finished(mut connection: Connection) -> u16 {
    connection.write(b" ").await.unwrap();
    connection.response().await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_stall_are_refused_once_a_client_has_4_mib_of_them() {
    let server = start(&document(NOWHERE)).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(stalled(&server, AGENT).await);
    }
    let mut refused = Vec::new();
    until(PATIENCE, async || {
        for at in (0..held.len()).rev() {
            if let Some(status) = held[at].status(Duration::ZERO).await {
                refused.push(status);
                held.remove(at);
            }
        }
        if refused.len() == 2 { Ok(()) } else { Err(format!("refused: {refused:?}")) }
    })
    .await;
    assert_eq!(refused, [429, 429]);
    let other = stalled(&server, READER).await;
    assert_eq!(finished(other).await, 400, "another client has a share of its own");
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200, "small bodies are served");
    let last = held.pop().unwrap();
    assert_eq!(finished(last).await, 400, "those that were not refused are read to their end");
    drop(held);
    until(PATIENCE, async || {
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(stalled(&server, AGENT).await);
        }
        for connection in all {
            match finished(connection).await {
                400 => {}
                status => return Err(format!("{status}: the share is still in use")),
            }
        }
        Ok(())
    })
    .await;
}
