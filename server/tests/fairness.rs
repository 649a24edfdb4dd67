//! What one caller can do to the others, and to the memory of them all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Answer, Backend, Server, client, credentials, eventually, exchange, key, policy};

const API: [&str; 3] = ["find", "read", "note"];

fn is_error(answer: &Answer) -> bool {
    answer.json()["result"]["isError"] == true
}

#[test]
fn what_a_call_sends_beside_its_arguments_is_not_kept_while_it_runs() {
    let backend = Backend::start();
    let server = Server::start(&policy(&backend.url, &[client("a", &API)]), &credentials(&["a"]));
    let junk = |values: usize| {
        let params = json!({"name": "note", "arguments": {"id": "x"}, "junk": vec![1; values]});
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
    };
    assert_eq!(server.post(&key("a"), &junk(100_000)).verdict(), (400, Some(-32600)));
    let body = junk(60_000);
    assert!(!is_error(&server.post(&key("a"), &body)));

    let before = server.resident();
    backend.answer_after(Duration::from_secs(2));
    backend.received();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..32).map(|_| scope.spawn(|| server.post(&key("a"), &body))).collect();
        eventually("all calls at the backend", || {
            let received = backend.count();
            (received == 32).then_some(())
        });
        let grown = server.resident().saturating_sub(before);
        assert!(grown < 40 << 20, "{} MiB for 32 calls", grown >> 20);
        assert!(calls.into_iter().all(|call| !is_error(&call.join().unwrap())));
    });
}

#[test]
fn lists_of_tools_cost_no_memory_for_each_client() {
    let ids: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let names: Vec<String> = (0..200).map(|n| format!("tool-{n}")).collect();
    let tools = names.iter().map(
        |name| json!({"name": name, "description": "x".repeat(4000), "backend": "fixed", "static": {"text": "x"}}),
    );
    let tools: Vec<Value> = tools.collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let clients: Vec<Value> = ids.iter().map(|id| client(id, &names)).collect();
    let mut document = policy("http://127.0.0.1:1", &clients);
    document["spec"]["tools"] = json!(tools);
    let server = Server::start(&document, &credentials(&ids));

    let list = |id: &str| server.ask(&key(id), "tools/list", &json!({}));
    assert_eq!(list(ids[0]).json()["result"]["tools"].as_array().unwrap().len(), 200);
    let before = server.resident();
    for id in &ids[1..] {
        assert_eq!(list(id).status, 200);
    }
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{} MiB for 39 lists", grown >> 20);
}

#[test]
fn no_client_can_take_a_backend_from_others_by_calls_that_fail() {
    let backend = Backend::start();
    let clients = [client("a", &API), client("b", &API)];
    let server = Server::start(&policy(&backend.url, &clients), &credentials(&["a", "b"]));
    let fail = || {
        thread::scope(|scope| {
            let call = || assert!(is_error(&server.call(&key("a"), "read", &json!({"id": 1}))));
            for _ in 0..8 {
                scope.spawn(call);
            }
        });
    };
    backend.answer_after(Duration::from_secs(1));
    fail();
    backend.answer(503, "");
    fail();
    backend.answer(200, r#"{"items": []}"#);
    let answer = server.call(&key("b"), "find", &json!({}));
    assert!(!is_error(&answer), "{answer:?}");
}

#[test]
fn a_write_that_could_not_be_recorded_uses_up_nothing() {
    let backend = Backend::start();
    let mut few = client("few", &["note"]);
    few["limits"] = json!([{"requests": 3, "per": "1m"}]);
    let many = client("many", &["greet"]);
    let server = Server::start(&policy(&backend.url, &[few, many]), &credentials(&["few", "many"]));
    let note = || server.call(&key("few"), "note", &json!({"id": "x"})).status;

    server.block_log();
    for _ in 0..150 {
        server.call(&key("many"), "greet", &json!({"name": "x"}));
    }
    let statuses: Vec<u16> = thread::scope(|scope| {
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(note)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!((statuses, backend.received().len()), (vec![503; 3], 0));

    server.unblock_log();
    let of_writes = |line: &Value| line["error"] == "audit_blocked" && line["toolName"] == "note";
    eventually("the ends of the three, each after its start", || {
        let ends = server.events("tool_call_error");
        (ends.iter().filter(|line| of_writes(line)).count() == 3).then_some(())
    });
    assert_eq!([note(), note(), note(), note()], [200, 200, 200, 429]);
}

#[test]
fn a_share_of_no_call_names_its_span_and_leaves_the_list() {
    let mut few = client("few", &["greet"]);
    few["limits"] = json!([{"requests": 3, "per": "1m"}]);
    let mut document = policy("http://127.0.0.1:1", &[few]);
    document["server"]["replicas"] = json!(5);
    document["spec"]["limits"]["expensiveTools"]["requests"] = json!(10);
    let server = Server::start(&document, &credentials(&["few"]));
    let call = server.call(&key("few"), "greet", &json!({"name": "x"}));
    assert_eq!((call.status, call.header("retry-after")), (429, Some("60")), "{call:?}");
    assert_eq!(server.ask(&key("few"), "tools/list", &json!({})).status, 200);
    assert_eq!(server.ask(&key("few"), "ping", &json!({})).status, 200);
}

#[test]
fn a_body_whose_framing_is_broken_is_refused_with_400() {
    let server = Server::start(&policy("http://127.0.0.1:1", &[client("a", &["greet"])]), &credentials(&["a"]));
    let from = Instant::now();
    let answer = exchange(
        server.main,
        &format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n",
            key("a")
        ),
    );
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(from.elapsed() < Duration::from_secs(5));
}

#[test]
fn health_is_told_to_whoever_addresses_this_server() {
    let server = Server::start(&policy("http://127.0.0.1:1", &[client("a", &["greet"])]), &credentials(&["a"]));
    let health = |host: &str| {
        exchange(server.main, &format!("GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).status
    };
    assert_eq!([health("localhost"), health("things.test.svc:3000"), health("evil.example")], [200, 200, 421]);
}
