//! What one caller or one backend can make the server keep in memory is bounded.

use std::time::Duration;

use portcullis_tests::backend::{Backend, Gate, Reply};
use portcullis_tests::http::{Connection, Request, send};
use portcullis_tests::server::{TestServer, call, post, rpc};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;

const MIB: u64 = 1024 * 1024;

/// Resident memory of the server in bytes.
fn resident(server: &TestServer) -> u64 {
    server.usage().unwrap().resident
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_of_any_size_costs_bounded_memory_and_is_a_tool_error() {
    const SIZE: u64 = 200 * MIB;
    let backend = Backend::start(|_| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"items\":[\"".to_vec();
        bytes.resize(SIZE as usize, b'x');
        Reply::Bytes(bytes)
    })
    .await
    .unwrap();
    let server = start(&document(&backend.url())).await;
    let before = server.usage().unwrap().peak;
    for _ in 0..3 {
        let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
        let result = tool_error("Backend 'api' returned a response that is too large.");
        assert_eq!(found.to_value(), response(200, rpc_result(result)));
    }
    let grown = server.usage().unwrap().peak - before;
    // Several times what the server may keep of a response, for what an allocator holds back.
    assert!(grown < SIZE / 2, "{} MiB more", grown / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_any_shape_costs_what_its_bytes_do() {
    let list = |item: &str, count: usize| format!("{{\"items\":[{}{item}]}}", format!("{item},").repeat(count - 1));
    let keys = |count: usize| (0..count).map(|n| format!("\"{n:x}\":0")).collect::<Vec<_>>().join(",");
    let shapes = [
        ("one string", list(&format!("\"{}\"", "x".repeat(3_900_000)), 1)),
        ("quotation marks", list(&format!("\"{}\"", "\\\"".repeat(1_900_000)), 1)),
        ("empty lists", list("[]", 500_000)),
        ("lists in lists", list(&format!("{}{}", "[".repeat(60), "]".repeat(60)), 8_000)),
        ("objects of one member", list("{\"a\":1}", 250_000)),
        ("numbers", list("1", 500_000)),
        ("escaped strings", list("\"\\n\"", 500_000)),
        ("one object", list(&format!("{{{}}}", keys(380_000)), 1)),
        ("white space", list(&" ".repeat(3_900_000).replacen(' ', "1", 1), 1)),
        ("too many values", list("1", 1_900_000)),
    ];
    let bodies: Vec<String> = shapes.iter().map(|(_, body)| body.clone()).collect();
    let backend = Backend::start(move |request| {
        let (_, shape) = request.target.split_once("q=").unwrap();
        let body = &bodies[shape.split('&').next().unwrap().parse::<usize>().unwrap()];
        Reply::response(200, body)
    })
    .await
    .unwrap();
    let mut document = document(&backend.url());
    client_of(&mut document, "agent")["maxRecordsPerQuery"] = json!(1_000_000);
    let server = start(&document).await;
    let before = server.usage().unwrap().peak;
    for (n, (shape, body)) in shapes.iter().enumerate() {
        let found = server.call(AGENT, "find", json!({"query": n.to_string()})).await.unwrap();
        let is_error = found.json()["result"]["isError"].clone();
        assert_eq!(is_error, json!(*shape == "too many values"), "{shape}: {} bytes", found.body.len());
        let grown = server.usage().unwrap().peak - before;
        // The response, the result of up to three times its size, and what an allocator holds back of the last ones. As a tree a
        // list takes up to 72 bytes for each value.
        assert!(grown < 48 * MIB, "{shape}: {} MiB more after {} KiB", grown / MIB, body.len() / 1024);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_sends_beside_its_arguments_is_not_kept_while_it_runs() {
    let gate = Gate::closed();
    let script = gate.clone();
    let backend = Backend::start(move |request| match request.target.as_str() {
        "/contacts/warm-up/notes" => Reply::Json(200, json!({})),
        _ => Reply::Json(200, json!({})).held(&script),
    })
    .await
    .unwrap();
    let server = start(&document(&backend.url())).await;
    let with_junk = |id: &str, values: usize| {
        let params = json!({"name": "note", "arguments": {"id": id, "text": "x"}, "junk": vec![1; values]});
        post(AGENT, &rpc("tools/call", params))
    };
    let too_many = server.send(&with_junk("7", 100_000)).await.unwrap();
    assert_eq!(status_and_code(&too_many), (400, Some(-32600)), "the values of a message are bounded as well");
    let warm_up = server.send(&with_junk("warm-up", 60_000)).await.unwrap();
    assert_eq!(warm_up.json()["result"]["isError"], false);
    backend.take();

    let before = resident(&server);
    let (address, request) = (server.listen, with_junk("7", 60_000));
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let request = request.clone();
        calls.spawn(async move { send(address, &request).await.unwrap().json()["result"]["isError"].clone() });
    }
    until(PATIENCE, async || match backend.received().len() {
        32 => Ok(()),
        count => Err(format!("{count} of 32 calls reached the backend")),
    })
    .await;
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 40 * MIB, "{} MiB for 32 calls", grown / MIB);
    gate.open();
    assert_eq!(calls.join_all().await, vec![json!(false); 32]);
}

#[tokio::test]
async fn lists_of_tools_cost_no_memory_for_each_client() {
    let names: Vec<String> = (0..200).map(|n| format!("tool-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ids: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut document = document(NOWHERE);
    let tool = |name: &&str| json!({"name": name, "description": "x".repeat(4000), "backend": "fixed", "static": {"text": "x"}});
    document["spec"]["tools"] = names.iter().map(tool).collect::<Vec<Value>>().into();
    document["clients"] = ids.iter().map(|id| client(id, &names, 10, false)).collect::<Vec<Value>>().into();
    let server = start_for(&document, &ids).await;

    let list = |id: &str| -> Request { post(&key_of(id), &rpc("tools/list", json!({}))) };
    assert_eq!(tool_names(&server.send(&list(ids[0])).await.unwrap()).len(), 200);
    let before = resident(&server);
    for id in &ids[1..] {
        assert_eq!(server.send(&list(id)).await.unwrap().status, 200);
    }
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 16 * MIB, "{} MiB for 39 lists", grown / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_read_hold_the_room_of_one_client_and_of_no_other() {
    const CALLS: usize = 30;
    let backend = Backend::start(|_| {
        // Each quotation mark takes two bytes here, and three times that in a result.
        let record = "\"".repeat(1000);
        Reply::Json(200, json!({"items": vec![record; 1900]}))
    })
    .await
    .unwrap();
    let mut document = document(&backend.url());
    for client in document["clients"].as_array_mut().unwrap() {
        client["maxRecordsPerQuery"] = json!(10_000);
    }
    let server = start(&document).await;
    let before = server.usage().unwrap().peak;
    let mut unread = Vec::new();
    for _ in 0..CALLS {
        let mut connection = Connection::open(server.listen).await.unwrap();
        connection.write(&call(AGENT, "find", json!({"query": "x"})).bytes()).await.unwrap();
        unread.push(connection);
    }
    until(PATIENCE, async || {
        let events = ["tool_call_start", "rate_limit_exceeded"].map(|event| server.log.events(event).unwrap().len());
        expect_eq(events.iter().sum(), CALLS)
    })
    .await;
    // Their answers are made as long as there is room for one more.
    let mut peak = 0;
    until(PATIENCE, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let earlier = std::mem::replace(&mut peak, server.usage().unwrap().peak);
        expect_eq(peak, earlier)
    })
    .await;
    // Its own room is free for another client, which reads.
    let other = server.call(READER, "find", json!({"query": "x"})).await.unwrap();
    assert_eq!((other.status, other.json()["result"]["isError"].clone()), (200, json!(false)));
    let grown = server.usage().unwrap().peak - before;
    println!("{} MiB for {CALLS} answers that are not read", grown / MIB);
    // All of them together have 340 MiB of results.
    assert!(grown < 150 * MIB, "{} MiB", grown / MIB);
}
