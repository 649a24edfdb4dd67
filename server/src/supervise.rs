//! Parts that have to run for as long as the server does. One that panics or ends is started again; if that does not help, the server
//! stops, because it would go on with an old policy, or without a log, and nobody would see it. A document at which reading it panics
//! is none of that: it is refused like another one that is wrong, which `/health` shows.

use std::{
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;

/// The pause before a part is started again; each further one is longer by as much.
pub const PAUSE: Duration = Duration::from_millis(100);
/// After a part has run this long, what happened before no longer counts.
const LONG_RUN: Duration = Duration::from_secs(60);
/// A part is given up after so many failures in a row.
pub const FAILURES: u32 = 8;

/// A part of the server that cannot be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Reloads,
    Secrets,
    AuditLog,
    MainPort,
    AdminPort,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reloads => "the reload of the documents",
            Self::Secrets => "the reading of Secrets",
            Self::AuditLog => "the writer of the audit log",
            Self::MainPort => "the MCP port",
            Self::AdminPort => "the admin port",
        })
    }
}

/// Runs what `start` returns, which is never to end; `start` is called again after each end. Returns if it ended too often in a row.
pub async fn keep<F: Future<Output = ()>>(part: Part, mut start: impl FnMut() -> F) -> Part {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        // What it panicked with is on standard error.
        let _ = AssertUnwindSafe(async { start().await }).catch_unwind().await;
        failures = if began.elapsed() < LONG_RUN { failures + 1 } else { 1 };
        if failures >= FAILURES {
            return part;
        }
        tracing::error!(%part, failures, "a part of the server failed; it is started again");
        tokio::time::sleep(PAUSE * failures).await;
    }
}

/// Faults that tests ask for.
#[cfg(test)]
pub mod faults {
    use std::{
        collections::HashMap,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
    };

    use parking_lot::Mutex;

    type Fault = Arc<dyn Fn() + Send + Sync>;

    static PLANNED: Mutex<Option<HashMap<String, Fault>>> = Mutex::new(None);

    /// Lets the next calls of [`point`] with this name panic, so many of them.
    pub fn plan(name: &str, times: usize) {
        let left = AtomicUsize::new(times);
        at(name, move || {
            let is_to_panic = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            assert!(!is_to_panic, "planned by a test");
        });
    }

    /// Does this at each call of [`point`] with this name.
    pub fn at(name: &str, fault: impl Fn() + Send + Sync + 'static) {
        PLANNED.lock().get_or_insert_default().insert(name.to_owned(), Arc::new(fault));
    }

    /// Does what a test asked for, if one did.
    pub fn point(name: &str) {
        let fault = PLANNED.lock().as_ref().and_then(|all| all.get(name).cloned());
        if let Some(fault) = fault {
            fault();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_fails_is_started_again_and_given_up_after_a_few_times() {
        let mut starts = 0;
        let part = keep(Part::Reloads, || {
            starts += 1;
            let is_odd = starts % 2 == 1;
            async move { assert!(is_odd, "panics every other time, and ends otherwise") }
        });
        assert_eq!(part.await, Part::Reloads);
        assert_eq!(starts, FAILURES);
    }
}
