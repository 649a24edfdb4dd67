//! A byte stream that reports its activity, notices that its peer is gone, and outlives what uses it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{activity::Activity, hangup::Hangup, listener::Stream};

/// How long a peer may take to close its side of a connection that has ended.
pub(super) const LINGER: Duration = Duration::from_secs(1);

pub(super) struct Socket<S> {
    /// Until this is dropped.
    stream: Option<S>,
    activity: Arc<Activity>,
    /// Whether a read waits for the peer: then it hears of everything.
    is_reading: bool,
    /// Whether the runtime may know nothing of bytes that were received.
    hides: bool,
    remains: Remains<S>,
}

/// Gets the stream back once the socket is dropped.
pub(super) struct Remains<S>(Arc<Mutex<Option<S>>>);

impl<S> Socket<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> (Self, Remains<S>) {
        let remains = Arc::default();
        (
            Self {
                stream: Some(stream),
                activity,
                is_reading: false,
                hides: false,
                remains: Remains(Arc::clone(&remains)),
            },
            Remains(remains),
        )
    }

    fn stream(&mut self) -> Pin<&mut S>
    where
        S: Unpin,
    {
        Pin::new(self.stream.as_mut().expect("the stream must be there until the socket is dropped"))
    }
}

impl<S: Stream> Socket<S> {
    /// Reads bytes of which the runtime may know nothing. Returns whether there was anything.
    fn read_hidden(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        if !self.hides {
            return Ok(false);
        }
        match self.stream().get_mut().read_now(buffer.initialize_unfilled()) {
            Ok(length) => {
                buffer.advance(length);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.hides = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// While a request of HTTP/1 is answered, hyper does not read. An error ends the request with its connection.
    fn check_peer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_reading || !self.activity.is_answering_http1() {
            return Ok(());
        }
        let mut hides = self.hides;
        let hangup = self.stream().get_mut().poll_hangup(cx, &mut hides);
        self.hides = hides;
        match hangup {
            Poll::Ready(Hangup::Both) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Ready(Hangup::Sending) if self.activity.is_cancelled_by_closing() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Poll::Ready(Hangup::Sending) | Poll::Pending => Ok(()),
        }
    }
}

impl<S: Stream> Remains<S> {
    /// Ends a connection so that its peer sees a clean end (RFC 9112, 9.6): what the peer sends meanwhile is read and discarded. If it
    /// were left unread, the system would reset the connection, which destroys an answer that the peer has not read yet.
    pub(super) async fn linger(self) {
        let Some(mut stream) = self.0.lock().take() else { return };
        let _ = tokio::time::timeout(LINGER, async {
            stream.shutdown().await?;
            let mut discarded = [0; 1024];
            // Of these the runtime may know nothing.
            while stream.read_now(&mut discarded).is_ok_and(|length| length > 0) {
                tokio::task::yield_now().await;
            }
            while stream.read(&mut discarded).await? > 0 {}
            io::Result::Ok(())
        })
        .await;
    }
}

impl<S> Drop for Socket<S> {
    fn drop(&mut self) {
        *self.remains.0.lock() = self.stream.take();
    }
}

impl<S: Stream> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match self.read_hidden(buffer) {
            Ok(false) => self.stream().poll_read(cx, buffer),
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        };
        self.is_reading = read.is_pending();
        if buffer.filled().len() > before {
            self.activity.read();
        }
        if self.activity.is_closing() {
            let has_unread = read.is_pending() && self.stream.as_ref().is_some_and(Stream::has_unread);
            self.activity.read_waits(has_unread);
        }
        read
    }
}

impl<S: Stream> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream().poll_write(cx, bytes);
        self.activity.wrote(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream().poll_flush(cx))?;
        // hyper flushes whenever it was woken, also if it has nothing to write.
        Poll::Ready(self.check_peer(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
