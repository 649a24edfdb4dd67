//! One connection as the registry sees it: its pulse, told by the socket and by the requests on it.
//!
//! hyper's own header timeout counts the time between two requests too, and sets a timer for each request. Here a request
//! costs a few stores, and the registry looks at all pulses from time to time.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[derive(Default)]
pub(super) struct Pulse {
    /// Requests that began, that were answered or given up, and that ended with the last byte of their answer.
    begun: AtomicU64,
    answered: AtomicU64,
    ended: AtomicU64,
    /// Bytes came since the last request ended: those of the next one's head.
    heard: AtomicBool,
    /// On HTTP/2 bytes may come at any time, and mean no request.
    is_http2: AtomicBool,
    /// A write waits for the peer.
    write_waits: AtomicBool,
    /// Writes that made progress.
    writes: AtomicU64,
    /// The connection shall end when its requests have.
    ending: AtomicBool,
    /// The connection's task. A spawned task keeps its waker, so it is kept once.
    waker: OnceLock<Waker>,
}

/// What a connection is doing, and which time of many it does so: while it stays equal, nothing has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Requests are in flight; they have bounds of their own.
    Answering,
    /// The head of a request is on its way.
    Hearing { after: u64 },
    /// Nothing.
    Idling { after: u64 },
    /// Every request is answered, and the peer does not take the answers: by its socket, or by HTTP/2's flow control.
    Writing { after: u64 },
}

impl Pulse {
    pub(super) fn doing(&self) -> Doing {
        let (begun, ended) = (self.begun.load(Relaxed), self.ended.load(Relaxed));
        let is_answered = begun != ended && begun == self.answered.load(Relaxed);
        if self.write_waits.load(Relaxed) || is_answered {
            Doing::Writing { after: self.writes.load(Relaxed) }
        } else if begun != ended {
            Doing::Answering
        } else if self.heard.load(Relaxed) && !self.is_http2.load(Relaxed) {
            Doing::Hearing { after: ended }
        } else {
            Doing::Idling { after: ended }
        }
    }

    /// A request's head is complete. The request ends when the token is dropped.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> Token {
        self.begun.fetch_add(1, Relaxed);
        if is_http2 {
            self.is_http2.store(true, Relaxed);
        }
        Token { pulse: self.clone(), is_answered: false }
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
    is_answered: bool,
}

impl Token {
    fn answered(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.pulse.answered.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.answered();
        self.pulse.heard.store(false, Relaxed);
        self.pulse.ended.fetch_add(1, Relaxed);
    }
}

/// A body whose request is in flight until its end.
pub(super) struct Counted<B> {
    body: B,
    _token: Token,
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, mut token: Token) -> Self {
        token.answered();
        Self { body, _token: token }
    }
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
