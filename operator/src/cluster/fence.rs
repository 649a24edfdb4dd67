//! Whether this process may write to the cluster now.
//!
//! One operator writes at a time. Once the term of its Lease is over, every write is refused before it is sent, whichever part of the
//! operator asked for it.

use std::{fmt, sync::Arc, time::Duration};

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

    pub(super) fn remaining(&self) -> Option<Duration> {
        (self.0)()
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fence({:?})", self.remaining())
    }
}
