//! After several failed connections in a row, a backend is not called for a while, so that calls fail at once instead of waiting
//! for a connection. Then one call tests the backend, and its end decides.
//!
//! The calls of one client must not suspend a backend for the others, so nothing that arguments can cause opens the breaker: only
//! connections count, and they are reported by what makes them. A response of any status shows that there was a connection. A
//! call that ended without either (it was cancelled, or too slow) shows nothing.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// The number of failed connections in a row that opens it.
const FAILURES: u32 = 5;
/// How long it stays open.
const OPEN: Duration = Duration::from_secs(2);

/// One backend's breaker.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a call may be made now. While the breaker is open, one call may in each span of [`OPEN`].
    pub fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.open_until {
            None => true,
            Some(at) if now < at => false,
            Some(_) => {
                state.open_until = Some(now + OPEN);
                true
            }
        }
    }

    /// Whether calls are refused now.
    pub fn is_open(&self, now: Instant) -> bool {
        self.state().open_until.is_some_and(|until| now < until)
    }

    /// There was a connection.
    pub fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// No connection could be made.
    pub fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            state.open_until = Some(now + OPEN);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_call_test_the_backend() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..FAILURES - 1 {
            breaker.failed(now);
        }
        assert!(breaker.admits(now));
        breaker.failed(now);
        assert!(!breaker.admits(now));
        assert!(breaker.admits(now + OPEN));
        assert!(!breaker.admits(now + OPEN), "one at a time");
        breaker.succeeded();
        assert!(breaker.admits(now));
    }
}
