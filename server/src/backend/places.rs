//! The places of connections to backends, of which there are as many as the process may open beside everything else.
//!
//! A connection has its place from before its name is looked up until it is closed, also while it is idle.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a connection waits for a place, within the time that its call has: longer than idle connections are kept.
const WITHIN: Duration = Duration::from_secs(5);

/// The places of all backends. Clones share them.
#[derive(Clone, Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

/// The place of one connection. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A connection in its place.
pub struct Placed<S> {
    stream: S,
    _place: Place,
}

impl Places {
    pub fn new(all: usize) -> Self {
        let all = all.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// Waits for a place; `None` if that takes too long.
    pub async fn take(&self) -> Option<Place> {
        let permit = tokio::time::timeout(WITHIN, self.free.clone().acquire_owned()).await;
        permit.ok()?.ok().map(|permit| Place { _permit: permit })
    }

    /// A place that is free now.
    pub fn take_free(&self) -> Option<Place> {
        self.free.clone().try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }
}

impl Place {
    pub fn of<S>(self, stream: S) -> Placed<S> {
        Placed { stream, _place: self }
    }
}

impl<S: Read + Unpin> Read for Placed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}

impl<S: Connection> Connection for Placed<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}
