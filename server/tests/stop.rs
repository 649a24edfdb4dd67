//! How the server ends, and how it goes on while its log cannot be written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{Backend, Server, client, credentials, eventually, key, policy};

fn start(backend: &Backend) -> Server {
    Server::start(&policy(&backend.url, &[client("a", &["read", "note"])]), &credentials(&["a"]))
}

/// Whether `seq` counts every record from the first to the last.
fn assert_no_gap(server: &Server) {
    let seqs: Vec<_> = server.log().iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "no record is missing");
}

#[test]
fn it_ends_with_its_standard_input_and_flushes_its_log() {
    let backend = Backend::start();
    let mut server = start(&backend);
    assert_eq!(server.call(&key("a"), "read", &json!({"id": 1})).status, 200);
    assert_eq!(server.stop(), 0);
    eventually("the last record", || server.events("server_stopping").pop());
    assert_no_gap(&server);
    assert_eq!(server.events("tool_call_success").len(), 1);
}

#[test]
fn a_signal_lets_calls_in_flight_finish() {
    let backend = Backend::start();
    let mut server = start(&backend);
    backend.answer_after(Duration::from_millis(300));
    let status = std::thread::scope(|scope| {
        let call = scope.spawn(|| server.call(&key("a"), "note", &json!({"id": "x"})).status);
        eventually("the call", || (!backend.received().is_empty()).then_some(()));
        server.signal("TERM");
        call.join().unwrap()
    });
    assert_eq!((status, server.wait()), (200, 0));
    eventually("the end of the call", || server.events("tool_call_success").pop());
}

#[test]
fn while_its_log_is_blocked_calls_are_refused_before_any_effect_and_no_record_is_lost() {
    let backend = Backend::start();
    let server = start(&backend);
    let mut admitted = 0;
    let call = || server.call(&key("a"), "note", &json!({"id": "x"})).status;
    assert_eq!(call(), 200);
    server.block_log();
    // The pipe takes some more; what was admitted meanwhile must be found in the log.
    let from = Instant::now();
    while call() == 200 {
        admitted += 1;
        assert!(from.elapsed() < Duration::from_secs(10), "never blocked");
    }
    backend.received();
    let from = Instant::now();
    assert_eq!((call(), call()), (503, 503));
    assert!(from.elapsed() < Duration::from_secs(1), "a log that is known to be blocked is not waited for");
    assert!(backend.received().is_empty(), "no backend is reached");
    assert_eq!(server.get(server.main, "/health").json()["checks"]["audit"]["status"], "degraded");
    server.unblock_log();
    eventually("service", || (call() == 200).then_some(()));
    eventually("all records", || {
        let ends = server.events("tool_call_success").len() + server.events("tool_call_error").len();
        (ends == server.events("tool_call_start").len() && ends > admitted).then_some(())
    });
    assert_no_gap(&server);
}
