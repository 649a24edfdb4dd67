//! What a connection is doing, as its socket and its requests report it.
//!
//! hyper's own header timeout also counts the time between two requests, and sets a timer for each request. Here a request
//! costs a few atomic stores, and the registry inspects all connections from time to time.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Activity {
    /// Requests that began, and those that ended with the last byte of their answer.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Whether bytes were read since the last request ended: they belong to the head of the next one.
    has_read: AtomicBool,
    /// On HTTP/2 bytes may be read at any time, and need not belong to a request.
    is_http2: AtomicBool,
    /// The answers of HTTP/2 that wait for the peer's windows. On HTTP/1 only the socket can hold an answer back.
    unread: Mutex<Unread>,
    /// Whether a write waits for the peer.
    write_waits: AtomicBool,
    /// Writes that made progress.
    writes: AtomicU64,
    /// Whether the peer is to be told to send its next request on another connection.
    draining: AtomicBool,
    /// Whether the connection is to end when its requests have.
    ending: AtomicBool,
    /// The connection's task. The waker of a task does not change, so it is stored once.
    waker: OnceLock<Waker>,
    /// Wakes the streams that wait for `ending`.
    stop: Notify,
}

#[derive(Default)]
struct Unread {
    bytes: u64,
    /// When each answer that waits last made progress, by the number of its request.
    moved: HashMap<u64, Instant>,
}

/// The peer leaves too many bytes of its answers unread: this answer is not sent.
#[derive(Debug, thiserror::Error)]
#[error("the peer leaves too much unread")]
pub(super) struct TooMuchUnread;

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

    /// When the answer that has waited longest for the peer last made progress. Only answers count: a ping moves the socket too.
    pub(super) fn oldest_unread(&self) -> Option<Instant> {
        self.unread.lock().moved.values().min().copied()
    }

    /// Bytes were read.
    pub(super) fn read(&self) {
        self.has_read.store(true, Relaxed);
    }

    /// A write returned: either it made progress, or it waits for the peer.
    pub(super) fn wrote(&self, is_waiting: bool) {
        self.write_waits.store(is_waiting, Relaxed);
        if !is_waiting {
            self.writes.fetch_add(1, Relaxed);
        }
    }

    /// The head of a request is complete. The request ends when the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> RequestInFlight {
        let number = self.begun.fetch_add(1, Relaxed);
        if is_http2 {
            self.is_http2.store(true, Relaxed);
        }
        RequestInFlight { activity: self.clone(), number, is_http2, unread: 0 }
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

    /// Asks the connection to end when its requests have.
    pub(super) fn end(&self) {
        self.ending.store(true, Relaxed);
        self.drain();
        self.stop.notify_waiters();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Whether hyper is to be told to shut down gracefully; for the connection's task, each time that it is polled.
    ///
    /// On HTTP/2 that sends GOAWAY and loses nothing. On HTTP/1 it closes an idle connection, and one whose next request has not
    /// arrived completely, so it waits for the end, and for the head of that request.
    pub(super) fn is_to_shut_down(&self, cx: &Context<'_>) -> bool {
        self.waker.get_or_init(|| cx.waker().clone());
        if self.is_http2.load(Relaxed) {
            return self.is_draining();
        }
        self.ending.load(Relaxed) && !matches!(self.state(), ConnectionState::ReadingHead { .. })
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
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
    /// Bytes of its answer that count as unread.
    unread: u64,
}

impl RequestInFlight {
    /// On HTTP/2: so many bytes of its answer will wait for the peer.
    ///
    /// # Errors
    /// Returns an error if more than `most` bytes would wait on the connection, unless nothing else does.
    pub(super) fn wait(&mut self, bytes: u64, most: u64) -> Result<(), TooMuchUnread> {
        let unread = &mut *self.activity.unread.lock();
        if unread.bytes > 0 && unread.bytes.saturating_add(bytes) > most {
            return Err(TooMuchUnread);
        }
        unread.bytes += bytes;
        unread.moved.insert(self.number, Instant::now());
        self.unread += bytes;
        Ok(())
    }

    /// The peer took some of what waits.
    pub(super) fn progress(&self) {
        self.activity.unread.lock().moved.insert(self.number, Instant::now());
    }

    /// The peer took everything: nothing of this answer waits for it.
    pub(super) fn taken(&mut self) {
        let unread = &mut *self.activity.unread.lock();
        unread.bytes -= std::mem::take(&mut self.unread);
        unread.moved.remove(&self.number);
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        if self.is_http2 {
            self.taken();
        }
        self.activity.has_read.store(false, Relaxed);
        self.activity.ended.fetch_add(1, Relaxed);
    }
}
