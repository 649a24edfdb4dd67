//! Until when this process may write.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::{cluster::fence::Fence, sync::lock};

/// Until when this process may write: at first not at all. Clones share it.
#[derive(Clone, Debug)]
pub struct Term {
    state: Arc<Mutex<State>>,
    boottime: fn() -> Duration,
}

/// A moment by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    instant: Instant,
    /// The time since the boot of the machine. Unlike `instant` it goes on while the machine is suspended, and so does the patience
    /// of others (clock_gettime(2), `CLOCK_BOOTTIME`).
    since_boot: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Over,
    Until(Moment),
    /// Without the Lease.
    WithoutUntil(Moment),
}

impl Default for Term {
    fn default() -> Self {
        Self::by_clock(boottime)
    }
}

impl Term {
    pub(super) fn by_clock(boottime: fn() -> Duration) -> Self {
        Self { state: Arc::default(), boottime }
    }

    /// Admits writes during the term.
    pub fn fence(&self) -> Fence {
        let term = self.clone();
        Fence::new(move || match *lock(&term.state) {
            State::Over => None,
            State::Until(end) | State::WithoutUntil(end) => end.left(term.now()).filter(|left| !left.is_zero()),
        })
    }

    pub(super) fn now(&self) -> Moment {
        Moment { instant: Instant::now(), since_boot: (self.boottime)() }
    }

    pub(super) fn begin(&self, began: Moment, length: Duration) {
        *lock(&self.state) = State::Until(began.after(length));
    }

    /// The same, because there can be no Lease.
    pub(super) fn go_without(&self, began: Moment, length: Duration) {
        *lock(&self.state) = State::WithoutUntil(began.after(length));
    }

    pub(super) fn is_without(&self) -> bool {
        matches!(*lock(&self.state), State::WithoutUntil(_))
    }

    /// Whether this process held the Lease when it last saw it. The term may be over.
    pub(super) fn is_of_lease(&self) -> bool {
        matches!(*lock(&self.state), State::Until(_))
    }

    /// Admits no write any more.
    pub(super) fn end(&self) {
        *lock(&self.state) = State::Over;
    }
}

impl Moment {
    fn after(self, length: Duration) -> Self {
        Self { instant: self.instant + length, since_boot: self.since_boot + length }
    }

    /// The time until this moment, by the clock that says less; `None` if it has passed.
    fn left(self, now: Self) -> Option<Duration> {
        let by_instant = self.instant.checked_duration_since(now.instant)?;
        Some(by_instant.min(self.since_boot.checked_sub(now.since_boot)?))
    }
}

fn boottime() -> Duration {
    clock_gettime(ClockId::Boottime).try_into().expect("a machine must have booted before now")
}
