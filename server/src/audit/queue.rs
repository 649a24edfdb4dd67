//! The lines that wait for the writer, and the room that they may take.
//!
//! A caller that records holds the lock for two copies of memory. The number and the time of a record are assigned under the
//! lock, so that the lines of the log are in the order of both.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

use super::{fields::Field, line::Body, record::Event, tally::Tally};
use crate::protocol::json::{push_fraction, push_number, push_string};

/// Bytes of program logs that may wait, and of records of unauthenticated callers; beyond that they are only counted.
pub(super) const SIDE_ROOM: usize = 256 * 1024;

/// How the log behaves; the defaults are those of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names this process in each record, so that a gap in `seq` proves a loss: the name of a pod and a random part.
    pub instance: String,
    /// Bytes of records that may wait for the sink, including reserved room. 32 MiB.
    pub capacity: usize,
    /// The sink counts as blocked while one write takes longer. 1 s.
    pub blocked_after: Duration,
    /// How long records are gathered before they are written. 1 ms.
    pub batch: Duration,
}

/// Records cannot be written now: the request must be refused before it has any effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Blocked;

impl Options {
    /// The defaults, for a process of this name.
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
            capacity: 32 * 1024 * 1024,
            blocked_after: Duration::from_secs(1),
            batch: Duration::from_millis(1),
        }
    }
}

pub(super) struct Queue {
    pub options: Options,
    /// `","instance":"…"`, as each record has it.
    instance: String,
    origin: Instant,
    /// Bytes that wait, or are reserved.
    taken: AtomicUsize,
    /// When the current write began, in nanoseconds since the origin; 0 if there is none.
    write_began: AtomicU64,
    /// Records that were lost.
    dropped: AtomicU64,
    /// The number of the last call.
    calls: AtomicU64,
    waiting: Mutex<Waiting>,
    /// The writer waits for lines on it, and a stop waits for the writer.
    pub wake: Condvar,
    /// The number of the last written record.
    pub written: watch::Sender<u64>,
    /// Whether the writer failed, and is not started again.
    pub failed: watch::Sender<bool>,
}

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Waiting {
    pub lines: Vec<u8>,
    /// Bytes of `lines` that are records of unauthenticated callers, and program logs.
    pub unauthenticated: usize,
    pub logs: usize,
    /// Program logs that were lost since the last that was not.
    pub lost_logs: u64,
    /// Records that were lost since the last `records_dropped`.
    pub unreported: u64,
    /// The number of the last record.
    pub seq: u64,
    pub tally: Tally,
    /// The writer sleeps until it is woken.
    pub asleep: bool,
    /// A call waits for its record to be written: no more lines are gathered.
    pub urgent: bool,
    pub stopping: bool,
    pub stopped: bool,
    stamp: Stamp,
}

impl Queue {
    pub(super) fn new(options: Options) -> Self {
        let mut instance = b",\"instance\":".to_vec();
        push_string(&mut instance, &options.instance);
        Self {
            instance: String::from_utf8(instance).expect("JSON must be UTF-8"),
            options,
            origin: Instant::now(),
            taken: AtomicUsize::new(0),
            write_began: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            waiting: Mutex::default(),
            wake: Condvar::new(),
            written: watch::Sender::new(0),
            failed: watch::Sender::new(false),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }

    pub(super) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes `bytes` of room, if there is enough.
    pub(super) fn take_room(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= self.options.capacity;
        if !fits {
            self.give_room(bytes);
        }
        fits
    }

    pub(super) fn give_room(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.taken.load(Ordering::Relaxed) + bytes <= self.options.capacity
    }

    /// Whether the current write takes too long.
    pub(super) fn is_stalled(&self) -> bool {
        let began = self.write_began.load(Ordering::Relaxed);
        began != 0 && u128::from(self.nanos().saturating_sub(began)) > self.options.blocked_after.as_nanos()
    }

    pub(super) fn begin_write(&self) {
        self.write_began.store(self.nanos().max(1), Ordering::Relaxed);
    }

    pub(super) fn end_write(&self) {
        self.write_began.store(0, Ordering::Relaxed);
    }

    /// The writer has failed: the log counts as blocked from now on, and nobody waits for it.
    pub(super) fn fail(&self) {
        self.write_began.store(1, Ordering::Relaxed);
        self.failed.send_replace(true);
        let _waiting = self.lock();
        self.wake.notify_all();
    }

    fn nanos(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Appends a record, and gives back the part of its reserved `room` that it does not need. Returns its number.
    pub(super) fn push(&self, waiting: &mut Waiting, event: Event, body: &[u8], room: usize) -> u64 {
        let before = waiting.lines.len();
        waiting.seq += 1;
        let seq = waiting.seq;
        waiting.begin_line(event.level());
        waiting.lines.extend_from_slice(b",\"event\":\"");
        waiting.lines.extend_from_slice(event.as_str().as_bytes());
        waiting.lines.extend_from_slice(b"\",\"seq\":");
        push_number(&mut waiting.lines, seq);
        waiting.lines.extend_from_slice(self.instance.as_bytes());
        waiting.lines.extend_from_slice(body);
        waiting.lines.extend_from_slice(b"}\n");
        self.settle(waiting, before, room);
        seq
    }

    /// Appends a line of the program log. `level` is a word, and `body` begins with a comma.
    pub(super) fn push_log(&self, level: &str, body: &[u8]) {
        let waiting = &mut *self.lock();
        if waiting.logs + body.len() > SIDE_ROOM {
            waiting.lost_logs += 1;
            return;
        }
        let before = waiting.lines.len();
        waiting.begin_line(level);
        waiting.lines.extend_from_slice(body);
        if waiting.lost_logs > 0 {
            waiting.lines.extend_from_slice(b",\"linesLostBefore\":");
            push_number(&mut waiting.lines, std::mem::take(&mut waiting.lost_logs));
        }
        waiting.lines.extend_from_slice(b"}\n");
        waiting.logs += waiting.lines.len() - before;
        self.settle(waiting, before, 0);
    }

    fn settle(&self, waiting: &mut Waiting, before: usize, room: usize) {
        let length = waiting.lines.len() - before;
        if length >= room {
            self.taken.fetch_add(length - room, Ordering::Relaxed);
        } else {
            self.give_room(room - length);
        }
        if waiting.asleep {
            waiting.asleep = false;
            self.wake.notify_all();
        }
    }

    /// Loses a record for which there is no room. Its number stays unused, so that the gap shows.
    pub(super) fn drop_record(&self, waiting: &mut Waiting) {
        waiting.seq += 1;
        waiting.unreported += 1;
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Queue {
    /// Writes the counts of the records that were held back, if their second is over or the log is stopping.
    pub(super) fn write_tally(&self, waiting: &mut Waiting) {
        if !waiting.tally.is_due() && !waiting.stopping {
            return;
        }
        for (event, body, count) in waiting.tally.drain() {
            if event == Event::AuthFailed && waiting.unauthenticated > SIDE_ROOM && !waiting.stopping {
                waiting.tally.hold(event, &body, count);
                continue;
            }
            let mut counted = Body(body.into_vec());
            counted.number(Field::Count, count);
            let before = waiting.lines.len();
            self.push(waiting, event, &counted.0, 0);
            if event == Event::AuthFailed {
                waiting.unauthenticated += waiting.lines.len() - before;
            }
        }
    }

    /// Records how many records were lost, if any were.
    pub(super) fn report_dropped(&self, waiting: &mut Waiting) {
        if waiting.unreported > 0 {
            let mut body = Body::default();
            body.number(Field::Count, std::mem::take(&mut waiting.unreported));
            self.push(waiting, Event::RecordsDropped, &body.0, 0);
        }
    }
}

impl Waiting {
    fn begin_line(&mut self, level: &str) {
        self.lines.extend_from_slice(b"{\"time\":\"");
        self.stamp.write(&mut self.lines);
        self.lines.extend_from_slice(b"\",\"level\":\"");
        self.lines.extend_from_slice(level.as_bytes());
        self.lines.push(b'"');
    }
}

/// Writes the time. The date is computed once a second.
#[derive(Default)]
struct Stamp {
    second: u64,
    text: String,
}

impl Stamp {
    /// RFC 3339 in UTC with microseconds: `2026-11-23T16:05:50.123456Z`.
    fn write(&mut self, out: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.as_secs() != self.second || self.text.is_empty() {
            self.second = now.as_secs();
            let second = jiff::Timestamp::from_second(now.as_secs().cast_signed()).unwrap_or_default();
            self.text = second.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        out.extend_from_slice(self.text.as_bytes());
        push_fraction(out, now.subsec_micros(), 6);
        out.push(b'Z');
    }
}
