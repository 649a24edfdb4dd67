//! The lines that wait for the writer, and the room that they may take.
//!
//! Whoever records a call holds the lock for two copies of memory. The number of a record and its time are given under the
//! lock, so that the order of the lines is the order of both.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

use super::{handle::Options, record::Event, tally::Tally};
use crate::protocol::json::{push_fraction, push_number, push_string};

/// Bytes of program logs, and of strangers' records, that may wait; more of them is counted.
pub(super) const SIDE_ROOM: usize = 256 * 1024;

pub(super) struct Queue {
    pub options: Options,
    /// `","instance":"…"`, as each record has it.
    instance: String,
    origin: Instant,
    /// Bytes that wait or are reserved.
    taken: AtomicUsize,
    /// When the write that is under way began, in nanoseconds since the origin; 0 while there is none.
    write_began: AtomicU64,
    /// Records that were lost.
    dropped: AtomicU64,
    /// Calls that were given a number.
    calls: AtomicU64,
    waiting: Mutex<Waiting>,
    /// The writer waits for lines here, and a stop for the writer.
    pub wake: Condvar,
    /// The number of the last record that was written.
    pub written: watch::Sender<u64>,
}

/// What waits, under the lock.
#[derive(Default)]
pub(super) struct Waiting {
    pub lines: Vec<u8>,
    /// Bytes of `lines` that are strangers' records, and program logs.
    pub unauthenticated: usize,
    pub logs: usize,
    /// Program logs that found no room since the last that did.
    pub lost_logs: u64,
    /// Records lost since `records_dropped` last said so.
    pub unreported: u64,
    /// The number of the last record.
    pub seq: u64,
    pub tally: Tally,
    /// The writer sleeps until it is woken.
    pub asleep: bool,
    /// Somebody waits for a record to be written: don't gather more.
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
            instance: String::from_utf8(instance).expect("a string of JSON must be UTF-8"),
            options,
            origin: Instant::now(),
            taken: AtomicUsize::new(0),
            write_began: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            waiting: Mutex::default(),
            wake: Condvar::new(),
            written: watch::Sender::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }

    pub(super) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes `bytes` of room, if there are as many.
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

    /// Whether one write has been under way for too long.
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

    fn nanos(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Puts a record in its place. Of the room that was taken for it, what it does not need is given back.
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

    /// A line of the program log; `level` is a word, `body` begins with a comma.
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

    /// A record for which there is no room: its number stays unused, so that the gap shows.
    pub(super) fn drop_record(&self, waiting: &mut Waiting) {
        waiting.seq += 1;
        waiting.unreported += 1;
        self.dropped.fetch_add(1, Ordering::Relaxed);
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

/// Writes the time; the calendar is asked once a second.
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
