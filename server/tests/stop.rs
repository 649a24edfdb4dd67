//! How the server ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by a panic")]

mod support;

use serde_json::json;
use support::{Backend, Server, client, credentials, key, policy};

#[test]
fn it_ends_with_its_standard_input_and_flushes_its_log() {
    let backend = Backend::start();
    let mut server = Server::start(&policy(&backend.url, &[client("a", &["read"])]), &credentials(&["a"]));
    assert_eq!(server.call(&key("a"), "read", &json!({"id": 1})).status, 200);
    assert_eq!(server.stop(), 0);
    let events: Vec<_> = support::eventually("the last record", || {
        let log = server.log();
        log.iter().any(|line| line["event"] == "server_stopping").then_some(log)
    });
    let seqs: Vec<_> = events.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "no record is missing");
    assert_eq!(server.events("tool_call_success").len(), 1);
}
