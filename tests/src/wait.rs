//! Waiting for a condition instead of for a guessed time: an attempt is repeated until it succeeds or the time is over.

use std::fmt::Display;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::Error;

/// Longer than anything in a test takes, even on a machine that is busy with other work.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How soon an effect must be seen that waits for nothing: sooner than what it may not wait for ends by itself (a call that hangs,
/// after 10 s; a poll, after 30 s), and later than a busy machine delays it. It takes a quarter of a second on an idle machine, and
/// 1.2 s at most on two cores with a load of 15.
pub const PROMPTLY: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(20);

/// Repeats `attempt` every 20 ms until it returns `Ok`.
///
/// # Errors
/// Returns the last `Err` of `attempt` if `timeout` is over, also if an attempt has hung since.
pub async fn eventually<T, E: Display>(
    timeout: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, Error> {
    let began = Instant::now();
    let mut last = "the first attempt hangs".to_owned();
    loop {
        // The last attempt, too, gets the time to succeed.
        match tokio::time::timeout(timeout.max(PATIENCE), attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(missing)) => last = missing.to_string(),
            Err(_) => {}
        }
        if began.elapsed() >= timeout {
            return Err(Error::Timeout { what: last, seconds: began.elapsed().as_secs_f64() });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// [`eventually`] for the body of a test: fails the test if `timeout` is over, and says where it was called.
#[track_caller]
#[expect(clippy::panic, reason = "a test fails by a panic")]
pub fn until<T, E: Display>(timeout: Duration, attempt: impl AsyncFnMut() -> Result<T, E>) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move { eventually(timeout, attempt).await.unwrap_or_else(|error| panic!("{caller}: {error}")) }
}

/// Compares two values as an attempt of [`eventually`].
///
/// # Errors
/// Returns both values as text if they differ.
pub fn expect_eq<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}, expected {expected:?}")) }
}
