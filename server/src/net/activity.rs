//! What a connection is doing, as its socket and its requests report it.
//!
//! hyper's own header timeout also counts the time between two requests, and sets a timer for each request. Here a request
//! costs a few atomic stores, and the registry inspects all connections from time to time.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use futures::future::AbortHandle;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::streams;

#[derive(Default)]
pub(super) struct Activity {
    /// Requests that began, and those that ended with the last byte of their answer.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Whether bytes were read since the last request ended: they belong to the head of the next one.
    has_read: AtomicBool,
    /// On HTTP/2 bytes may be read at any time, and need not belong to a request.
    is_http2: AtomicBool,
    /// Whether a peer of HTTP/1 cancels the request in flight by closing its direction of the connection.
    is_cancelled_by_closing: AtomicBool,
    /// The answers that wait for the peer, by the numbers of their requests: all of HTTP/2, and those of HTTP/1 that are sent in
    /// pieces.
    unread: Mutex<HashMap<u64, Unread>>,
    /// Whether the last answer was for a caller that is identified.
    is_known: AtomicBool,
    /// Whether a write waits for the peer.
    write_waits: AtomicBool,
    /// Writes that made progress.
    writes: AtomicU64,
    /// Whether the peer is to be told to send its next request on another connection.
    draining: AtomicBool,
    /// Whether the process stops: what is not established is given up.
    ending: AtomicBool,
    /// The state in which the connection is to be closed, if it is still in it.
    closable: Mutex<Option<ConnectionState>>,
    /// Whether the system has bytes of the peer that were not read yet.
    has_unread: AtomicBool,
    /// The connection's task. The waker of a task does not change, so it is stored once.
    waker: OnceLock<Waker>,
    /// Wakes the streams that wait for `ending`.
    stop: Notify,
}

/// An answer that waits for the peer.
struct Unread {
    since: Instant,
    /// When the peer last took some of it.
    moved: Instant,
    /// Bytes that the peer took.
    taken: u64,
    /// A live stream has no rate: it may have nothing to send.
    has_rate: bool,
    /// Gives up its stream. On HTTP/1 there is none, and a stream whose task has ended cannot be given up: HTTP/2 holds what is left.
    stream: Weak<AbortHandle>,
}

/// What a connection is doing. `after` counts what it did before: while the state stays equal, nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// Requests are in flight; they have bounds of their own.
    Answering,
    /// The head of a request is being received.
    ReadingHead { after: u64 },
    /// There is no request.
    Idle { after: u64 },
}

impl Activity {
    pub(super) fn state(&self) -> ConnectionState {
        let (begun, ended) = (self.begun.load(Relaxed), self.ended.load(Relaxed));
        let is_http2 = self.is_http2.load(Relaxed);
        if begun != ended {
            ConnectionState::Answering
        } else if self.has_read.load(Relaxed) && !is_http2 {
            ConnectionState::ReadingHead { after: ended }
        } else {
            // On HTTP/1 everything that is written belongs to an answer, which the peer may take slowly after its request ended.
            ConnectionState::Idle {
                after: if is_http2 { ended } else { ended.wrapping_add(self.writes.load(Relaxed)) },
            }
        }
    }

    /// If a write waits for the peer: the number of writes before it.
    pub(super) fn waiting_write(&self) -> Option<u64> {
        self.write_waits.load(Relaxed).then(|| self.writes.load(Relaxed))
    }

    /// Gives up each answer that has made no progress for `stall`, or was taken at less than `least_rate` bytes a second since it
    /// began, after as long a grace. Only answers count: a ping moves the socket too. Returns whether the connection is to be cut
    /// off for it: on HTTP/2 only the stream ends, as long as its task runs.
    pub(super) fn give_up_slow(&self, stall: Duration, least_rate: u32, now: Instant) -> bool {
        let is_slow = |answer: &&Unread| {
            let lasting = now.saturating_duration_since(answer.since).saturating_sub(stall).as_secs_f64();
            now.saturating_duration_since(answer.moved) > stall
                || (answer.has_rate && lasting * f64::from(least_rate) > answer.taken as f64)
        };
        let mut is_cut_off = false;
        for answer in self.unread.lock().values().filter(is_slow) {
            match answer.stream.upgrade() {
                Some(stream) => stream.abort(),
                None => is_cut_off = true,
            }
        }
        is_cut_off
    }

    /// If every request in flight waits for the peer to take its answer: when the peer last took some.
    pub(super) fn unread_since(&self) -> Option<Instant> {
        let unread = self.unread.lock();
        let in_flight = self.begun.load(Relaxed).wrapping_sub(self.ended.load(Relaxed));
        let since = unread.values().map(|answer| answer.moved).max();
        since.filter(|_| unread.len() as u64 == in_flight)
    }

    /// The caller of the last request was identified, or was not.
    pub(super) fn identified(&self, is_known: bool) {
        self.is_known.store(is_known, Relaxed);
    }

    /// Whether the caller of the last request was not identified.
    pub(super) fn is_strangers(&self) -> bool {
        !self.is_known.load(Relaxed)
    }

    /// Bytes were read.
    pub(super) fn read(&self) {
        self.has_read.store(true, Relaxed);
    }

    /// A write returned: either it made progress, or it waits for the peer.
    pub(super) fn wrote(&self, waits: bool) {
        self.write_waits.store(waits, Relaxed);
        self.writes.fetch_add(u64::from(!waits), Relaxed);
    }

    /// The head of a request is complete. The request ends when the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> RequestInFlight {
        let number = self.begun.fetch_add(1, Relaxed);
        if is_http2 {
            self.is_http2.store(true, Relaxed);
        }
        RequestInFlight { activity: self.clone(), number, is_http2, waits: false }
    }

    /// What it means for the request that has just begun on HTTP/1 if its peer closes its direction of the connection.
    pub(super) fn cancelled_by_closing(&self, is_cancelled: bool) {
        self.is_cancelled_by_closing.store(is_cancelled, Relaxed);
    }

    pub(super) fn is_cancelled_by_closing(&self) -> bool {
        self.is_cancelled_by_closing.load(Relaxed)
    }

    /// Whether a request of HTTP/1 is in flight.
    pub(super) fn is_answering_http1(&self) -> bool {
        !self.is_http2.load(Relaxed) && self.begun.load(Relaxed) != self.ended.load(Relaxed)
    }

    /// Asks the connection to tell its peer that there will be no further request on it.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
        self.wake();
    }

    /// Whether each answer says that it is the last one of its connection.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// The process stops: as [`Activity::drain`], and a connection that is not established yet is given up.
    pub(super) fn end(&self) {
        self.ending.store(true, Relaxed);
        self.drain();
        self.stop.notify_waiters();
    }

    /// Asks the connection to close, unless something happens before it does.
    pub(super) fn close(&self, state: ConnectionState) {
        *self.closable.lock() = Some(state);
        self.wake();
    }

    /// Whether the socket is to report unread bytes.
    pub(super) fn is_closing(&self) -> bool {
        self.is_draining() && self.closable.lock().is_some()
    }

    /// A read waits for the peer, although the system may have received more meanwhile.
    pub(super) fn read_waits(&self, has_unread: bool) {
        self.has_unread.store(has_unread, Relaxed);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Whether hyper is to be told to shut down gracefully; for the connection's task, each time that it was polled.
    ///
    /// On HTTP/2 that sends GOAWAY and loses nothing. On HTTP/1 it closes the connection without notice, so it waits until no request
    /// is under way: each answer says `Connection: close`, and hyper closes the connection after it.
    pub(super) fn is_to_shut_down(&self, cx: &Context<'_>) -> bool {
        self.waker.get_or_init(|| cx.waker().clone());
        if !self.is_draining() {
            return false;
        }
        self.is_http2.load(Relaxed)
            || (!self.has_unread.load(Relaxed) && self.closable.lock().is_some_and(|state| state == self.state()))
    }

    /// Waits until the connection is to end.
    pub(super) async fn stopped(&self) {
        // Registered before the flag is read, so that no notification is missed.
        let notified = self.stop.notified();
        if !self.ending.load(Relaxed) {
            notified.await;
        }
    }
}

/// A request in flight.
pub(super) struct RequestInFlight {
    pub activity: Arc<Activity>,
    number: u64,
    pub is_http2: bool,
    /// Whether its answer is among those that wait.
    waits: bool,
}

impl RequestInFlight {
    /// Its answer, or the next part of a live stream, begins to wait for the peer.
    pub(super) fn wait(&mut self, has_rate: bool) {
        let now = Instant::now();
        let answer = Unread { since: now, moved: now, taken: 0, has_rate, stream: streams::own() };
        self.activity.unread.lock().insert(self.number, answer);
        self.waits = true;
    }

    /// The peer took everything that was handed over, and gets so many bytes more.
    pub(super) fn progress(&self, bytes: usize) {
        if let Some(answer) = self.activity.unread.lock().get_mut(&self.number) {
            answer.moved = Instant::now();
            answer.taken += bytes as u64;
        }
    }

    /// The peer took everything: nothing of this answer waits for it.
    pub(super) fn taken(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.activity.unread.lock().remove(&self.number);
        }
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.taken();
        self.activity.has_read.store(false, Relaxed);
        self.activity.ended.fetch_add(1, Relaxed);
    }
}
