use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::IpAddr,
};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::audit::{
    arguments::{Declared, DigestKey},
    record::{AuthFailure, CallEnd, CallError, CallStart, ClientRefusal, Denial, Document, Effect, LimitName, Who},
};

/// A sink that can be blocked and unblocked, and remembers what it was given.
#[derive(Clone, Default)]
struct Sink(Arc<Pipe>);

#[derive(Default)]
struct Pipe {
    state: Mutex<(bool, Vec<u8>)>,
    changed: Condvar,
}

impl Sink {
    fn block(&self, is_blocked: bool) {
        self.0.state.lock().0 = is_blocked;
        self.0.changed.notify_all();
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.state.lock().1.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        while state.0 {
            self.0.changed.wait(&mut state);
        }
        state.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const WHO: Who<'_> = Who { revision: "r1", client: "sales/bot", subject: None, key_id: Some("k1") };
const PATIENCE: Duration = Duration::from_secs(10);

fn start(sink: &Sink, adjust: impl FnOnce(&mut Options)) -> Audit {
    let mut options = Options { blocked_after: Duration::from_millis(100), ..Options::new("pod-1") };
    adjust(&mut options);
    Audit::start(Box::new(sink.clone()), options).unwrap()
}

fn call(tool: &str, effect: Effect) -> CallStart<'_> {
    CallStart { who: WHO, tool, effect, arguments: None }
}

fn success() -> CallEnd<'static> {
    CallEnd::Success { records_returned: Some(3), bytes: 120 }
}

/// The record without what differs from run to run; asserts that these are there and look right.
fn settled(mut line: Value) -> Value {
    let fields = line.as_object_mut().unwrap();
    let time: jiff::Timestamp = fields.remove("time").unwrap().as_str().unwrap().parse().unwrap();
    assert!(time.duration_until(jiff::Timestamp::now()).as_secs().abs() < 60);
    if let Some(duration) = fields.remove("durationMs") {
        assert!(duration.as_f64().unwrap() < 60_000.0);
    }
    line
}

fn assert_no_gap(lines: &[Value]) {
    let numbers: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_call_is_recorded_from_start_to_end() {
    let sink = Sink::default();
    let audit = start(&sink, |_| {});
    let arguments = crate::protocol::strict::parse(br#"{"query":"x"}"#).unwrap();
    let arguments = Declared::new(["query"], []).describe(&arguments, &DigestKey::new(b"key"));
    let mut reservation = audit.reserve(OnOverflow::Refuse).unwrap();
    let id = reservation.execution_id();
    reservation.start(&CallStart { arguments: Some(&arguments), ..call("search", Effect::Read) });
    reservation.end(&success());
    assert!(audit.stop(PATIENCE));

    let lines: Vec<_> = sink.lines().into_iter().map(settled).collect();
    let digest = lines[0]["argsDigest"].clone();
    assert_eq!(
        lines,
        [
            json!({"level": "info", "event": "tool_call_start", "seq": 1, "instance": "pod-1", "revision": "r1",
                "executionId": id, "clientId": "sales/bot", "keyId": "k1", "toolName": "search", "effect": "Read",
                "decision": "allowed", "args": {"query": "string(1)"}, "argsDigest": digest}),
            json!({"level": "info", "event": "tool_call_success", "seq": 2, "instance": "pod-1", "revision": "r1",
                "executionId": id, "clientId": "sales/bot", "keyId": "k1", "toolName": "search",
                "recordsReturned": 3, "bytes": 120}),
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
    // Neither of these began, so neither has an end.
    drop(audit.reserve(OnOverflow::Refuse));
    audit.reserve(OnOverflow::Refuse).unwrap().end(&success());
    assert!(audit.stop(PATIENCE));

    let lines = sink.lines();
    assert_no_gap(&lines);
    let ends: Vec<_> = lines.iter().filter(|line| line["event"] == "tool_call_error").collect();
    let said = |name: &str| ends.iter().map(|line| line[name].clone()).collect::<Value>();
    assert_eq!(said("error"), json!(["backend_status", "backend_timeout", "audit_blocked", "disconnected"]));
    assert_eq!(said("backend"), json!(["crm", "crm", null, null]));
    assert_eq!(said("status"), json!([502, null, null, null]));
    assert_eq!(said("timeoutMs"), json!([null, 1500.0, null, null]));
    assert!(audit.0.has_room(audit.0.options.capacity), "all room must be given back");
}

#[test]
fn every_other_record_has_its_line() {
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
        Record::ToolAccessDenied { who, tool: Some("t"), denial: Denial::NotGranted, enforced: true },
        Record::ToolAccessDenied { who, tool: None, denial: Denial::Unknown, enforced: false },
        Record::RateLimitExceeded { who, tool: Some("t"), limit: LimitName::Share, retry_after_seconds: 7 },
        Record::ArgumentsRefused { who, tool: "t", keyword: "maxLength", path: "/properties/query" },
        Record::RequestRefused { who, status: Some(400), code: -32_700 },
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
    let lines: Vec<_> = sink.lines().into_iter().map(|line| settled(line).to_string()).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_blocked_sink_refuses_calls_at_once_and_loses_nothing() {
    let sink = Sink::default();
    let audit = start(&sink, |_| {});
    sink.block(true);
    let mut calls = 0;
    let began = Instant::now();
    while let Ok(mut reservation) = audit.reserve(OnOverflow::Refuse) {
        reservation.start(&call("t", Effect::Read));
        reservation.end(&success());
        calls += 1;
        assert!(began.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
    let refused = Instant::now();
    assert_eq!(audit.reserve(OnOverflow::Refuse).err(), Some(Blocked));
    assert_eq!(audit.record(&Record::AuthSuccess { who: WHO }, OnOverflow::Refuse), Err(Blocked));
    assert!(audit.is_blocked() && refused.elapsed() < Duration::from_millis(50));

    sink.block(false);
    while audit.is_blocked() {
        assert!(began.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
    audit.record(&Record::AuthSuccess { who: WHO }, OnOverflow::Refuse).unwrap();
    assert!(audit.stop(PATIENCE));
    let lines = sink.lines();
    assert_no_gap(&lines);
    assert_eq!(lines.len(), 2 * calls + 1);
    assert_eq!(audit.dropped(), 0);
}

#[tokio::test]
async fn a_write_waits_for_its_start_to_be_written_and_is_refused_where_it_is_not() {
    let sink = Sink::default();
    let audit = start(&sink, |options| options.batch = Duration::from_secs(5));
    let mut flowing = audit.reserve(OnOverflow::Refuse).unwrap();
    flowing.start(&call("w", Effect::Write));
    let began = Instant::now();
    assert_eq!(flowing.written().await, Ok(()));
    assert!(began.elapsed() < Duration::from_secs(1), "a write must not wait for a batch");
    assert_eq!(sink.lines().len(), 1);
    flowing.end(&success());

    sink.block(true);
    let mut blocked = audit.reserve(OnOverflow::Refuse).unwrap();
    let mut served = audit.reserve(OnOverflow::Drop).unwrap();
    blocked.start(&call("blocked", Effect::Write));
    served.start(&call("served", Effect::Write));
    assert_eq!(blocked.written().await, Err(Blocked));
    // By now the sink is known to be blocked.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    assert_eq!(served.written().await, Ok(()));
    assert!(began.elapsed() < Duration::from_millis(50), "with Drop nobody waits for it");
    served.end(&success());
    drop(blocked);
    sink.block(false);
    assert!(audit.stop(PATIENCE));
    let lines = sink.lines();
    assert_no_gap(&lines);
    let said: Vec<_> = lines[2..].iter().map(|line| json!([line["toolName"], line["event"], line["error"]])).collect();
    assert_eq!(
        json!(said),
        json!([
            ["blocked", "tool_call_start", null],
            ["served", "tool_call_start", null],
            ["blocked", "tool_call_error", "audit_blocked"],
            ["served", "tool_call_success", null],
        ])
    );
}

#[test]
fn no_more_is_reserved_than_there_is_room_for() {
    let sink = Sink::default();
    let audit = start(&sink, |options| options.capacity = 3 * Reservation::ROOM);
    let mut held: Vec<_> = (0..3).map(|_| audit.reserve(OnOverflow::Refuse).unwrap()).collect();
    assert_eq!(audit.reserve(OnOverflow::Refuse).err(), Some(Blocked));
    assert!(audit.is_blocked());
    held.pop();
    assert!(audit.reserve(OnOverflow::Refuse).is_ok());
}

#[test]
fn with_drop_calls_are_served_and_the_gap_shows() {
    let sink = Sink::default();
    sink.block(true);
    let audit = start(&sink, |options| options.capacity = 2 * Reservation::ROOM);
    for _ in 0..100 {
        let mut reservation = audit.reserve(OnOverflow::Drop).unwrap();
        reservation.start(&call("t", Effect::Read));
        reservation.end(&success());
    }
    sink.block(false);
    assert!(audit.stop(PATIENCE));
    let lines = sink.lines();
    let dropped = audit.dropped();
    assert!(dropped > 0);
    let reported: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    assert_eq!(reported, dropped);
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "records_dropped");
    assert_eq!(last["seq"].as_u64().unwrap(), lines.len() as u64 + dropped);
}

#[test]
fn strangers_cannot_take_the_room_of_others() {
    let sink = Sink::default();
    sink.block(true);
    let audit = start(&sink, |options| {
        options.capacity = 8 * SIDE_ROOM;
        options.blocked_after = PATIENCE;
    });
    for n in 0..100_000_u32 {
        let peer = IpAddr::from(n.to_be_bytes());
        audit.unauthenticated(&AuthFailed { peer, route: "/mcp", reason: AuthFailure::UnknownKey });
    }
    assert!(audit.0.has_room(7 * SIDE_ROOM));
    assert!(audit.reserve(OnOverflow::Refuse).is_ok());
    sink.block(false);
    assert!(audit.stop(PATIENCE));
    let counted: u64 = sink.lines().iter().map(|line| line["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, 100_000);
}

#[test]
fn records_of_many_threads_are_whole_numbered_and_paired() {
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
fn a_real_pipe_that_nobody_reads_blocks_and_flows_again() {
    let (reader, writer) = io::pipe().unwrap();
    let options = Options { blocked_after: Duration::from_millis(100), ..Options::new("pod-1") };
    let audit = Audit::start(Box::new(writer), options).unwrap();
    let mut calls = 0;
    while let Ok(mut reservation) = audit.reserve(OnOverflow::Refuse) {
        reservation.start(&call("t", Effect::Read));
        reservation.end(&success());
        calls += 1;
        thread::sleep(Duration::from_micros(50));
    }
    let reading = thread::spawn(move || BufReader::new(reader).lines().take(2 * calls).count());
    assert!(audit.stop(PATIENCE));
    assert_eq!(reading.join().unwrap(), 2 * calls);
}

#[test]
fn program_logs_share_the_writer_and_libraries_are_capped() {
    let sink = Sink::default();
    let audit = start(&sink, |_| {});
    let subscriber = tracing_subscriber::registry().with(audit.program_log(tracing::Level::INFO));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(target: "portcullis_server::net", port = 3000, "listening on \"{}\"", "all");
        tracing::debug!(target: "portcullis_server::net", "not asked for");
        tracing::info!(target: "hyper", "not ours");
        tracing::warn!(target: "hyper", ok = false, "ours to know");
    });
    assert!(audit.stop(PATIENCE));
    let lines: Vec<_> = sink.lines().into_iter().map(settled).collect();
    assert_eq!(
        lines,
        [
            json!({"level": "info", "target": "portcullis_server::net", "message": "listening on \"all\"", "port": 3000}),
            json!({"level": "warn", "target": "hyper", "message": "ours to know", "ok": false}),
        ]
    );
}
