//! The places of connections to backends, of which there are as many as the process may open beside everything else.
//!
//! A connection has its place from before its name is looked up until it is closed, also while it is idle. One backend takes no
//! more than half of them.

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

/// How long a connection waits for a place, within the time that its call has.
const WITHIN: Duration = Duration::from_secs(5);

/// The places of all backends. Clones share them.
#[derive(Clone, Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    all: usize,
    /// Those that one backend may take, if they are for one.
    of_backend: Option<Arc<Semaphore>>,
}

/// The place of one connection. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _of_backend: Option<OwnedSemaphorePermit>,
}

/// A connection in its place.
pub struct Placed<S> {
    stream: S,
    _place: Place,
}

impl Places {
    pub fn new(all: usize) -> Self {
        let all = all.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(all)), all, of_backend: None }
    }

    /// The same places, for one backend.
    pub fn of_backend(&self) -> Self {
        Self { of_backend: Some(Arc::new(Semaphore::new((self.all / 2).max(1)))), ..self.clone() }
    }

    /// The most connections that one backend keeps idle: few enough that those of several leave places for the calls of others.
    pub fn most_idle(&self) -> usize {
        (self.all / 8).max(1)
    }

    /// Whether none could be taken now.
    pub fn are_taken(&self) -> bool {
        let none = |free: &Semaphore| free.available_permits() == 0;
        none(&self.free) || self.of_backend.as_deref().is_some_and(none)
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// Waits for a place; `None` if that takes too long.
    pub async fn take(&self) -> Option<Place> {
        let take = async {
            let of_backend = match &self.of_backend {
                Some(places) => Some(places.clone().acquire_owned().await.ok()?),
                None => None,
            };
            let permit = self.free.clone().acquire_owned().await.ok()?;
            Some(Place { _permit: permit, _of_backend: of_backend })
        };
        tokio::time::timeout(WITHIN, take).await.ok()?
    }

    /// A place that is free now.
    pub fn take_free(&self) -> Option<Place> {
        let of_backend = match &self.of_backend {
            Some(places) => Some(places.clone().try_acquire_owned().ok()?),
            None => None,
        };
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Place { _permit: permit, _of_backend: of_backend })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_backend_takes_no_more_than_half_of_the_places() {
        let places = Places::new(8);
        let [one, other] = [places.of_backend(), places.of_backend()];
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(one.take().await.unwrap());
        }
        assert!(one.take().await.is_none() && one.take_free().is_none());
        assert_eq!((one.are_taken(), other.are_taken(), places.taken()), (true, false, 4));
        taken.push(other.take().await.unwrap());
        drop(taken);
        assert_eq!((one.are_taken(), places.taken()), (false, 0));
    }
}
