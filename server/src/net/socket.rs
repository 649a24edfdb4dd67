//! A byte stream that reports its activity, and outlives what uses it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{activity::Activity, listener::Stream};

/// How long a peer may take to close its side of a connection that has ended.
pub(super) const LINGER: Duration = Duration::from_secs(1);

pub(super) struct Socket<S> {
    /// Until this is dropped.
    stream: Option<S>,
    activity: Arc<Activity>,
    remains: Remains<S>,
}

/// Gets the stream back once the socket is dropped.
pub(super) struct Remains<S>(Arc<Mutex<Option<S>>>);

impl<S> Socket<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> (Self, Remains<S>) {
        let remains = Arc::default();
        (Self { stream: Some(stream), activity, remains: Remains(Arc::clone(&remains)) }, Remains(remains))
    }

    fn stream(&mut self) -> Pin<&mut S>
    where
        S: Unpin,
    {
        Pin::new(self.stream.as_mut().expect("the stream must be there until the socket is dropped"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Remains<S> {
    /// Ends a connection so that its peer sees a clean end (RFC 9112, 9.6): what the peer sends meanwhile is read and discarded. If it
    /// were left unread, the system would reset the connection, which destroys an answer that the peer has not read yet.
    pub(super) async fn linger(self) {
        let Some(mut stream) = self.0.lock().take() else { return };
        let _ = tokio::time::timeout(LINGER, async {
            stream.shutdown().await?;
            let mut discarded = [0; 1024];
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
        let read = self.stream().poll_read(cx, buffer);
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream().poll_write(cx, bytes);
        self.activity.wrote(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
