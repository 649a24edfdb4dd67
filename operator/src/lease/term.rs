//! Until when this process may write.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::{cluster::fence::Fence, sync::lock};

/// Until when this process may write: at first not at all. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Term(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Over,
    Until(Instant),
    /// Without the Lease.
    Unbounded,
}

impl Term {
    /// Admits writes during the term.
    pub fn fence(&self) -> Fence {
        let term = self.clone();
        Fence::new(move || match *lock(&term.0) {
            State::Over => None,
            State::Until(end) => end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()),
            State::Unbounded => Some(Duration::MAX),
        })
    }

    pub(super) fn begin(&self, began: Instant, length: Duration) {
        *lock(&self.0) = State::Until(began + length);
    }

    /// Admits every write from now on, because there can be no Lease.
    pub(super) fn go_without(&self) {
        *lock(&self.0) = State::Unbounded;
    }

    pub(super) fn is_without(&self) -> bool {
        matches!(*lock(&self.0), State::Unbounded)
    }

    /// Admits no write any more.
    pub(super) fn end(&self) {
        *lock(&self.0) = State::Over;
    }
}
