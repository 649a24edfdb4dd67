//! While the sink is blocked, calls are refused or records are dropped, as the policy says, and nothing waits.

use std::{
    io::{BufRead, BufReader},
    net::IpAddr,
};

use futures::FutureExt;
use serde_json::json;

use super::*;
use crate::audit::queue::SIDE_ROOM;

/// Calls, each recorded with both of its records, until one is refused. Returns how many were recorded.
fn record_calls(audit: &Audit, most: usize) -> usize {
    let admitted = (0..most).map_while(|_| audit.reserve(OnOverflow::Refuse).ok());
    admitted
        .map(|mut reservation| {
            reservation.start(&call("t", Effect::Read));
            reservation.end(&success());
        })
        .count()
}

/// Panics at the next writes, so many of them, after it took a part of each.
struct Panicking(Sink, usize);

impl Write for Panicking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.1.checked_sub(1) {
            self.1 = left;
            panic!("planned by a test");
        }
        self.0.write(&bytes[..bytes.len().min(100)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_panics_goes_on_where_it_was() {
    let sink = Sink::default();
    let options = Options { blocked_after: PATIENCE, ..Options::new("pod-1") };
    let audit = Audit::start(Box::new(Panicking(sink.clone(), 3)), options).unwrap();
    assert_eq!(record_calls(&audit, 20), 20);
    assert!(audit.stop(PATIENCE));
    let lines = sink.lines();
    assert_no_gap(&lines);
    assert_eq!((lines.len(), audit.dropped()), (40, 0));
    assert_eq!(audit.failed().now_or_never(), None);
}

#[test]
fn a_writer_that_panics_again_and_again_blocks_the_log_and_is_waited_for_by_nobody() {
    let audit = Audit::start(Box::new(Panicking(Sink::default(), usize::MAX)), Options::new("pod-1")).unwrap();
    record_calls(&audit, 1);
    wait_until("the writer is given up", || audit.failed().now_or_never().is_some());
    wait_until("the log is blocked", || audit.is_blocked());
    assert_eq!(audit.reserve(OnOverflow::Refuse).err(), Some(Blocked));
    assert!(!audit.stop(PATIENCE), "its records are lost");
}

#[test]
fn a_blocked_sink_refuses_calls_without_waiting_and_loses_no_record() {
    let sink = Sink::default();
    let audit = start(&sink, |options| options.blocked_after = BLOCKED_AFTER);
    sink.block(true);
    let calls = record_calls(&audit, 100);
    wait_until("the sink counts as blocked", || audit.is_blocked());
    assert_eq!(audit.reserve(OnOverflow::Refuse).err(), Some(Blocked));
    assert_eq!(audit.record(&Record::AuthSuccess { who: WHO }, OnOverflow::Refuse), Err(Blocked));

    sink.block(false);
    wait_until("the sink takes records again", || {
        audit.record(&Record::AuthSuccess { who: WHO }, OnOverflow::Refuse).is_ok()
    });
    assert!(audit.stop(PATIENCE));
    let lines = sink.lines();
    assert_no_gap(&lines);
    assert_eq!((lines.len(), audit.dropped()), (2 * calls + 1, 0));
}

#[test]
fn a_pipe_that_nobody_reads_counts_as_blocked_and_loses_no_record_once_it_is_read() {
    let (reader, writer) = io::pipe().unwrap();
    let options = Options { blocked_after: BLOCKED_AFTER, ..Options::new("pod-1") };
    let audit = Audit::start(Box::new(writer), options).unwrap();
    // Several times what a pipe holds.
    let calls = record_calls(&audit, 1_000);
    wait_until("the sink counts as blocked", || audit.is_blocked());
    let reading = thread::spawn(move || BufReader::new(reader).lines().take(2 * calls).count());
    assert!(audit.stop(PATIENCE));
    assert_eq!(reading.join().unwrap(), 2 * calls);
}

#[tokio::test]
async fn a_write_does_not_wait_for_a_batch() {
    let sink = Sink::default();
    let audit = start(&sink, |options| options.batch = Duration::from_secs(3600));
    let mut reservation = audit.reserve(OnOverflow::Refuse).unwrap();
    reservation.start(&call("w", Effect::Write));
    assert_eq!(reservation.written().await, Ok(()));
    assert_eq!(sink.lines().len(), 1);
    reservation.end(&success());
}

#[tokio::test]
async fn a_write_whose_start_is_not_written_is_refused_or_with_drop_does_not_wait() {
    let sink = Sink::default();
    let audit = start(&sink, |options| options.blocked_after = BLOCKED_AFTER);
    sink.block(true);
    let mut refused = audit.reserve(OnOverflow::Refuse).unwrap();
    let mut served = audit.reserve(OnOverflow::Drop).unwrap();
    refused.start(&call("refused", Effect::Write));
    served.start(&call("served", Effect::Write));
    assert_eq!(refused.written().await, Err(Blocked));
    wait_until("the sink counts as blocked", || audit.is_blocked());
    assert_eq!(served.written().now_or_never(), Some(Ok(())));
    served.end(&success());
    drop(refused);
    sink.block(false);
    assert!(audit.stop(PATIENCE));
    let lines = sink.lines();
    assert_no_gap(&lines);
    let found: Vec<_> = lines.iter().map(|line| json!([line["toolName"], line["event"], line["error"]])).collect();
    assert_eq!(
        found,
        [
            json!(["refused", "tool_call_start", null]),
            json!(["served", "tool_call_start", null]),
            json!(["refused", "tool_call_error", "audit_blocked"]),
            json!(["served", "tool_call_success", null]),
        ]
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
fn with_drop_calls_are_served_and_the_records_that_are_lost_are_counted() {
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
fn unauthenticated_callers_take_no_room_from_others() {
    let sink = Sink::default();
    sink.block(true);
    let audit = start(&sink, |options| options.capacity = 8 * SIDE_ROOM);
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
