//! One connection as the registry sees it: its pulse, told by the socket and by the requests on it.
//!
//! hyper's own header timeout counts the time between two requests too, and sets a timer for each request. Here a request
//! costs a few stores, and the registry looks at all pulses from time to time.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[derive(Default)]
pub(super) struct Pulse {
    /// Requests that began, and that ended with the last byte of their answer.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Bytes came since the last request ended: those of the next one's head.
    heard: AtomicBool,
    /// On HTTP/2 bytes may come at any time, and mean no request.
    is_http2: AtomicBool,
    /// The answers of HTTP/2 that wait for the peer's windows. On HTTP/1 only the socket can hold one back.
    unread: Mutex<Unread>,
    /// A write waits for the peer.
    write_waits: AtomicBool,
    /// Writes that made progress.
    writes: AtomicU64,
    /// The connection shall end when its requests have.
    ending: AtomicBool,
    /// The connection's task. A spawned task keeps its waker, so it is kept once.
    waker: OnceLock<Waker>,
}

#[derive(Default)]
struct Unread {
    bytes: u64,
    /// When each answer last moved, by the number of its request.
    moved: HashMap<u64, Instant>,
}

/// The peer takes too few of its answers: this one is not sent.
#[derive(Debug, thiserror::Error)]
#[error("the peer leaves too much unread")]
pub(super) struct TooMuchUnread;

/// What a connection is doing, and which time of many it does so: while it stays equal, nothing has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Requests are in flight; they have bounds of their own.
    Answering,
    /// The head of a request is on its way.
    Hearing { after: u64 },
    /// Nothing.
    Idling { after: u64 },
}

impl Pulse {
    pub(super) fn doing(&self) -> Doing {
        let (begun, ended) = (self.begun.load(Relaxed), self.ended.load(Relaxed));
        let is_http2 = self.is_http2.load(Relaxed);
        if begun != ended {
            Doing::Answering
        } else if self.heard.load(Relaxed) && !is_http2 {
            Doing::Hearing { after: ended }
        } else {
            // On HTTP/1 what is written is of an answer, and may be taken slowly after it left us.
            Doing::Idling { after: if is_http2 { ended } else { ended.wrapping_add(self.writes.load(Relaxed)) } }
        }
    }

    /// Where a write waits for the peer to take something: how many did not before it.
    pub(super) fn waiting_write(&self) -> Option<u64> {
        self.write_waits.load(Relaxed).then(|| self.writes.load(Relaxed))
    }

    /// When that answer last moved which has not for the longest time. Only answers count: a ping moves the socket too.
    pub(super) fn oldest_unread(&self) -> Option<Instant> {
        self.unread.lock().moved.values().min().copied()
    }

    /// A request's head is complete. The request ends when the token is dropped.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> Token {
        let number = self.begun.fetch_add(1, Relaxed);
        if is_http2 {
            self.is_http2.store(true, Relaxed);
        }
        Token { pulse: self.clone(), number, is_http2, unread: None }
    }

    /// Asks the connection to end when its requests have.
    pub(super) fn end(&self) {
        self.ending.store(true, Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// For the connection's task, each time it is polled.
    pub(super) fn is_ending(&self, cx: &Context<'_>) -> bool {
        self.waker.get_or_init(|| cx.waker().clone());
        self.ending.load(Relaxed)
    }
}

/// A request in flight.
pub(super) struct Token {
    pulse: Arc<Pulse>,
    number: u64,
    is_http2: bool,
    /// Bytes of its answer, which waits for the peer.
    unread: Option<u64>,
}

impl Token {
    /// Its answer has so many bytes; `most` may wait on the connection before it.
    fn answer(&mut self, bytes: u64, most: u64) -> Result<(), TooMuchUnread> {
        if !self.is_http2 {
            return Ok(());
        }
        let unread = &mut *self.pulse.unread.lock();
        if unread.bytes > 0 && unread.bytes.saturating_add(bytes) > most {
            return Err(TooMuchUnread);
        }
        unread.bytes += bytes;
        unread.moved.insert(self.number, Instant::now());
        self.unread = Some(bytes);
        Ok(())
    }

    fn moves(&self) {
        self.pulse.unread.lock().moved.insert(self.number, Instant::now());
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(bytes) = self.unread {
            let unread = &mut *self.pulse.unread.lock();
            unread.bytes -= bytes;
            unread.moved.remove(&self.number);
        }
        self.pulse.heard.store(false, Relaxed);
        self.pulse.ended.fetch_add(1, Relaxed);
    }
}

/// Bytes of an answer that HTTP/2 is given at once, and holds back at most.
pub(super) const PIECE: usize = 16 * 1024;

/// A body whose request is in flight until its end.
///
/// On HTTP/2 it goes in pieces, so that it is seen to move, and the last byte goes by itself: hyper hands a piece on only when
/// the peer's windows are open for all before it.
pub(super) struct Counted<B> {
    body: B,
    /// Of its frame before.
    rest: Bytes,
    token: Token,
}

impl<B: Body> Counted<B> {
    /// # Errors
    /// Where the peer left more than `most` bytes of other answers and this one unread.
    pub(super) fn new(body: B, mut token: Token, most: u64) -> Result<Self, TooMuchUnread> {
        token.answer(body.size_hint().lower(), most)?;
        Ok(Self { body, rest: Bytes::new(), token })
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !self.token.is_http2 {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        self.token.moves();
        let length = match self.rest.len() {
            length @ 2..=PIECE => length - 1,
            length => length.min(PIECE),
        };
        // Copied, so that a piece which waits behind our back holds no more than itself.
        let piece = Bytes::copy_from_slice(&self.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole.set_lower(hint.lower() + rest);
        whole
    }
}

/// A socket that tells its pulse.
pub(super) struct Socket {
    pub stream: TcpStream,
    pub pulse: Arc<Pulse>,
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.pulse.heard.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.pulse.write_waits.store(written.is_pending(), Relaxed);
        if written.is_ready() {
            self.pulse.writes.fetch_add(1, Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
