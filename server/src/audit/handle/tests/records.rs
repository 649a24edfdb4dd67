//! Each record has its fields, and a call has two of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::{
    audit::{
        arguments::{Declared, DigestKey},
        record::{CallError, ClientRefusal, Denial, Document, LimitName},
    },
    protocol::trace::TraceContext,
};

/// A record without the fields that differ from run to run, which must be there and be plausible.
fn comparable(mut line: Value) -> Value {
    let fields = line.as_object_mut().unwrap();
    let time: jiff::Timestamp = fields.remove("time").unwrap().as_str().unwrap().parse().unwrap();
    assert!(time.duration_until(jiff::Timestamp::now()).as_secs().abs() < 60);
    if let Some(duration) = fields.remove("durationMs") {
        assert!(duration.as_f64().unwrap() < 60_000.0);
    }
    line
}

#[test]
fn a_call_is_recorded_at_its_start_and_at_its_end() {
    let sink = Sink::default();
    let audit = start(&sink, |_| {});
    let arguments = crate::protocol::strict::parse(br#"{"query":"x"}"#).unwrap();
    let arguments = Declared::new(["query"], []).shape_of(&arguments, &DigestKey::new(b"key"));
    let mut reservation = audit.reserve(OnOverflow::Refuse).unwrap();
    let id = reservation.execution_id().to_owned();
    let trace = TraceContext::of_call(&id);
    let trace = Some(&trace);
    reservation.start(&CallStart { trace, arguments: Some(&arguments), ..call("search", Effect::Read) });
    reservation.end(&success());
    assert!(audit.stop(PATIENCE));

    let lines: Vec<_> = sink.lines().into_iter().map(comparable).collect();
    // HMAC-SHA-256 of the arguments, with the key `key`.
    let digest = "59f93b087d8fe1f8a1ed7485998e2ff4cc0228096771f42081b52d2c38d7a1c3";
    assert_eq!(
        lines,
        [
            json!({"level": "info", "event": "tool_call_start", "seq": 1, "instance": "pod-1", "revision": "r1",
                "executionId": id, "traceId": trace.map(TraceContext::id), "clientId": "sales/bot", "keyId": "k1",
                "toolName": "search", "effect": "Read", "decision": "allowed", "args": {"query": "string(1)"}, "argsDigest": digest}),
            json!({"level": "info", "event": "tool_call_success", "seq": 2, "instance": "pod-1", "revision": "r1",
                "executionId": id, "traceId": trace.map(TraceContext::id), "clientId": "sales/bot", "keyId": "k1",
                "toolName": "search", "recordsReturned": 3, "bytes": 120}),
        ]
    );
}

#[test]
fn every_exit_of_a_started_call_is_recorded_once() {
    let sink = Sink::default();
    let audit = start(&sink, |_| {});
    let ends: Vec<CallEnd<'_>> = [
        CallError::BackendStatus { backend: "crm", status: 502 },
        CallError::BackendTimeout { backend: "crm", timeout: Duration::from_millis(1_500) },
        CallError::AuditBlocked,
    ]
    .map(CallEnd::Error)
    .to_vec();
    for end in &ends {
        let mut reservation = audit.reserve(OnOverflow::Refuse).unwrap();
        reservation.start(&call("t", Effect::Read));
        reservation.end(end);
    }
    let mut left = audit.reserve(OnOverflow::Refuse).unwrap();
    left.start(&call("t", Effect::Read));
    drop(left);
    // Neither of these has a start, so neither has an end.
    drop(audit.reserve(OnOverflow::Refuse));
    audit.reserve(OnOverflow::Refuse).unwrap().end(&success());
    assert!(audit.stop(PATIENCE));

    let lines = sink.lines();
    assert_no_gap(&lines);
    let ends: Vec<_> = lines.iter().filter(|line| line["event"] == "tool_call_error").collect();
    let field = |name: &str| ends.iter().map(|line| line[name].clone()).collect::<Value>();
    assert_eq!(field("error"), json!(["backend_status", "backend_timeout", "audit_blocked", "disconnected"]));
    assert_eq!(field("backend"), json!(["crm", "crm", null, null]));
    assert_eq!(field("status"), json!([502, null, null, null]));
    assert_eq!(field("timeoutMs"), json!([null, 1500.0, null, null]));
    assert!(audit.0.has_room(audit.0.options.capacity), "all room must be given back");
}

#[test]
fn every_other_record_has_its_fields() {
    let sink = Sink::default();
    let audit = start(&sink, |_| {});
    let (who, refuse) = (Who { subject: Some("p1"), ..WHO }, OnOverflow::Refuse);
    for record in [
        Record::ServerStarted {
            version: "0.1.0",
            listen: "127.0.0.1:3000".parse().unwrap(),
            admin: "127.0.0.1:9090".parse().unwrap(),
        },
        Record::PolicyLoaded { revision: "r1", credentials_revision: Some("c1"), tools: 6, clients: 3 },
        Record::PolicyRefused { document: Document::Credentials, field: "clients[2].keys" },
        Record::AuthSuccess { who },
        Record::ClientRefused { client: "bot", key_id: Some("k"), refusal: ClientRefusal::Suspended },
        Record::ToolAccessDenied { who, tool: Some("t"), denial: Denial::NotGranted, condition: None, enforced: true },
        Record::ToolAccessDenied { who, tool: None, denial: Denial::Unknown, condition: None, enforced: false },
        Record::ToolAccessDenied {
            who,
            tool: Some("t"),
            denial: Denial::ConditionNotMet,
            condition: Some("own-region"),
            enforced: true,
        },
        Record::RateLimitExceeded { who, tool: Some("t"), limit: LimitName::Share, retry_after_seconds: 7 },
        Record::ArgumentsRefused { who, tool: "t", keyword: "maxLength", path: "/properties/query" },
        Record::RequestRefused { who, status: Some(400), code: Some(-32_700) },
        Record::ServerStopping,
    ] {
        audit.record(&record, refuse).unwrap();
    }
    audit.unauthenticated(&AuthFailed {
        peer: "::ffff:10.0.0.7".parse().unwrap(),
        route: "/mcp",
        reason: AuthFailure::UnknownKey,
    });
    assert!(audit.stop(PATIENCE));
    assert_no_gap(&sink.lines());
    let lines: Vec<_> = sink.lines().into_iter().map(|line| comparable(line).to_string()).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_records_of_many_threads_are_complete_and_numbered_without_a_gap() {
    let sink = Sink::default();
    let audit = start(&sink, |_| {});
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..500 {
                    let mut reservation = audit.reserve(OnOverflow::Refuse).unwrap();
                    reservation.start(&call("t", Effect::Read));
                    if n % 3 == 0 { drop(reservation) } else { reservation.end(&success()) }
                }
            });
        }
    });
    assert!(audit.stop(PATIENCE));
    let lines = sink.lines();
    assert_no_gap(&lines);
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &lines {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        calls.entry(text("executionId")).or_default().push(text("event"));
    }
    assert_eq!(calls.len(), 2_000);
    assert!(calls.values().all(|events| events.len() == 2 && events[0] == "tool_call_start"));
}

#[test]
fn program_logs_are_written_between_the_records_and_those_of_libraries_from_warn_up() {
    let sink = Sink::default();
    let audit = start(&sink, |_| {});
    let subscriber = tracing_subscriber::registry().with(audit.program_log(tracing::Level::INFO));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(target: "portcullis_server::net", port = 3000, "listening on \"{}\"", "all");
        tracing::debug!(target: "portcullis_server::net", "below the level");
        tracing::info!(target: "hyper", "below the level of libraries");
        tracing::warn!(target: "hyper", ok = false, "of a library");
    });
    assert!(audit.stop(PATIENCE));
    let lines: Vec<_> = sink.lines().into_iter().map(comparable).collect();
    assert_eq!(
        lines,
        [
            json!({"level": "info", "target": "portcullis_server::net", "message": "listening on \"all\"", "port": 3000}),
            json!({"level": "warn", "target": "hyper", "message": "of a library", "ok": false}),
        ]
    );
}
