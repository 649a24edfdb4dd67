//! Whether this process may write to the cluster now.
//!
//! One operator writes at a time. Once the term of its Lease is over, every write is refused before it is sent, whichever part of the
//! operator asked for it.

use std::{fmt, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

/// Admits writes for a time, or refuses them.
#[derive(Clone)]
pub struct Fence(Arc<dyn Fn() -> Option<Duration> + Send + Sync>);

impl Fence {
    /// Admits every write: for the Lease itself.
    pub fn open() -> Self {
        Self::new(|| Some(Duration::MAX))
    }

    /// `remaining` is asked before each write: for how long this process may go on writing, or `None` if it may not write.
    pub fn new(remaining: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Self {
        Self(Arc::new(remaining))
    }

    pub fn remaining(&self) -> Option<Duration> {
        (self.0)()
    }

    /// A write, for as long as it is admitted; `None` if it is not any more. A machine may be suspended between any two of its steps,
    /// and timers stand still meanwhile: a request that was only being connected for is not sent afterwards.
    pub(super) async fn guard<T>(&self, write: impl Future<Output = T>) -> Option<T> {
        let mut write = pin!(write);
        poll_fn(|context| match self.remaining() {
            Some(_) => write.as_mut().poll(context).map(Some),
            None => Poll::Ready(None),
        })
        .await
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fence({:?})", self.remaining())
    }
}
