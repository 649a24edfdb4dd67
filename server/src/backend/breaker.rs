//! After several failed connections in a row, a backend is not called for a while, so that calls fail at once instead of waiting
//! for a connection. Then one call tests the backend, and the connection that it needs decides.
//!
//! The calls of one client must not suspend a backend for the others, so nothing that arguments can cause opens the breaker: only
//! connections count, and they are reported by what makes them, however long the calls wait that need them. A response of any
//! status shows that there was a connection. A call that ended without either (it was cancelled, or too slow) shows nothing.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// The number of failed connections in a row that opens it.
const FAILURES: u32 = 5;
/// How long it stays open.
const OPEN: Duration = Duration::from_secs(2);
/// How long the call that tests the backend is waited for: as long as its connection may take. It may have needed none, or may have
/// been cancelled.
const TEST: Duration = super::establish::WITHIN;

/// One backend's breaker.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is: Is,
    /// How often it was found out whether the backend can be reached.
    findings: u64,
}

#[derive(Clone, Copy, Debug)]
enum Is {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { until: Instant },
}

impl Default for Is {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// A connection that is being made.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// What was found out before it began.
    findings: u64,
}

impl State {
    /// While it is not to be called.
    fn until(&self) -> Option<Instant> {
        match self.is {
            Is::Closed { .. } => None,
            Is::Open { until } | Is::HalfOpen { until } => Some(until),
        }
    }

    fn become_known(&mut self, is: Is) {
        self.is = is;
        self.findings += 1;
    }
}

impl Breaker {
    /// Whether a call may be made now. After it was open, one call may, which tests the backend; another one only if nothing was found
    /// out within [`TEST`].
    pub fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.until() {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                state.is = Is::HalfOpen { until: now + TEST };
                true
            }
        }
    }

    /// Whether calls are refused now.
    pub fn is_open(&self, now: Instant) -> bool {
        self.state().until().is_some_and(|until| now < until)
    }

    /// A connection begins to be made.
    pub fn attempt(&self) -> Attempt {
        Attempt { findings: self.state().findings }
    }

    /// There was a connection.
    pub fn succeeded(&self) {
        self.state().become_known(Is::default());
    }

    /// No connection could be made. If it was found out meanwhile whether the backend can be reached, this is older than that.
    pub fn failed(&self, attempt: Attempt, now: Instant) {
        let mut state = self.state();
        if attempt.findings != state.findings {
            return;
        }
        match &mut state.is {
            Is::Closed { failures } if *failures + 1 < FAILURES => *failures += 1,
            // It was admitted before.
            Is::Open { until } if now < *until => {}
            Is::Closed { .. } | Is::Open { .. } | Is::HalfOpen { .. } => {
                state.become_known(Is::Open { until: now + OPEN });
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// As many failures as open it.
    #[cfg(test)]
    pub fn open(&self, at: Instant) {
        (0..FAILURES).for_each(|_| self.failed(self.attempt(), at));
    }
}

#[cfg(test)]
mod tests {
    use Event::{Admitted, Attempt, Failed, Refused, Response};

    use super::{Breaker, Duration, Instant};

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_call_test_the_backend() {
        // Each event has its time in milliseconds. A connection has a name, which tells when it began.
        for (what, events) in [
            ("few failures", vec![(0, Attempt('a')), (0, Failed("aaaa")), (0, Admitted)]),
            ("failures in a row", vec![(0, Attempt('a')), (9, Failed("aaaaa")), (9, Refused), (2_008, Refused)]),
            (
                "a response between them",
                vec![
                    (0, Attempt('a')),
                    (0, Failed("aaaa")),
                    (0, Response),
                    (0, Attempt('b')),
                    (0, Failed("bbbb")),
                    (0, Admitted),
                ],
            ),
            (
                "connections that began before a response and failed after it",
                vec![(0, Attempt('a')), (1, Response), (2_000, Failed("aaaaaaaaaa")), (2_000, Admitted)],
            ),
            (
                "one test at a time",
                vec![(0, Attempt('a')), (0, Failed("aaaaa")), (2_000, Admitted), (2_000, Refused), (5_999, Refused)],
            ),
            (
                "a test without a result does not last for ever",
                vec![(0, Attempt('a')), (0, Failed("aaaaa")), (2_000, Admitted), (6_000, Admitted), (6_000, Refused)],
            ),
            (
                "a test that fails",
                vec![
                    (0, Attempt('a')),
                    (0, Failed("aaaaa")),
                    (2_000, Admitted),
                    (2_000, Attempt('b')),
                    (4_000, Failed("b")),
                    (5_999, Refused),
                    (6_000, Admitted),
                ],
            ),
            (
                "a test that succeeds",
                vec![
                    (0, Attempt('a')),
                    (0, Failed("aaaaa")),
                    (2_000, Admitted),
                    (2_010, Response),
                    (2_010, Admitted),
                    (2_010, Admitted),
                ],
            ),
            (
                "after a test that succeeded it takes as many failures as before",
                vec![
                    (0, Attempt('a')),
                    (0, Failed("aaaaa")),
                    (2_000, Admitted),
                    (2_010, Response),
                    (2_020, Attempt('b')),
                    (4_020, Failed("bbbb")),
                    (4_020, Admitted),
                ],
            ),
            (
                "calls in flight when it opens neither keep it open nor decide about the test",
                vec![
                    (0, Attempt('a')),
                    (0, Failed("aaaaa")),
                    (1_900, Failed("aaaaaaaa")),
                    (2_000, Admitted),
                    (2_500, Failed("aaaaaaaa")),
                    (2_510, Attempt('b')),
                    (2_520, Failed("b")),
                    (4_519, Refused),
                    (4_520, Admitted),
                ],
            ),
            (
                "a call in flight that is answered shows that the backend can be reached",
                vec![(0, Attempt('a')), (0, Failed("aaaaa")), (500, Response), (500, Admitted), (500, Admitted)],
            ),
            (
                "a health check finds out without a call",
                vec![
                    (0, Attempt('a')),
                    (0, Failed("aaaaa")),
                    (2_500, Attempt('b')),
                    (3_500, Failed("b")),
                    (5_499, Refused),
                    (6_000, Attempt('c')),
                    (6_010, Response),
                    (6_010, Admitted),
                ],
            ),
        ] {
            play(what, &events);
        }
    }

    enum Event {
        Attempt(char),
        /// These attempts fail, in turn.
        Failed(&'static str),
        Response,
        Admitted,
        Refused,
    }

    fn play(what: &str, events: &[(u64, Event)]) {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let mut attempts = std::collections::HashMap::new();
        for (at, event) in events {
            let now = start + Duration::from_millis(*at);
            match event {
                Attempt(name) => {
                    attempts.insert(*name, breaker.attempt());
                }
                Failed(names) => names.chars().for_each(|name| breaker.failed(attempts[&name], now)),
                Response => breaker.succeeded(),
                Admitted | Refused => {
                    let admits = breaker.admits(now);
                    assert_eq!(admits, matches!(event, Admitted), "{what}: at {at} ms");
                    assert_eq!(breaker.is_open(now), breaker.state().until().is_some(), "{what}: at {at} ms");
                }
            }
        }
    }
}
