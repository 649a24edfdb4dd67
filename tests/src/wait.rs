//! Waiting for a condition instead of for a guessed time: an attempt is repeated until it succeeds or the time is over.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::Error;

/// Longer than anything in a test takes, even on a machine that is busy with other work.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// Repeats `attempt` every 20 ms until it returns `Ok`.
///
/// # Errors
/// Returns the last `Err` of `attempt` if `timeout` is over.
pub async fn eventually<T, E: Display>(
    timeout: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(missing) if began.elapsed() >= timeout => {
                return Err(Error::Timeout { what: missing.to_string(), seconds: began.elapsed().as_secs_f64() });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// [`eventually`] for the body of a test: fails the test if `timeout` is over.
#[expect(clippy::panic, reason = "a test fails by a panic")]
pub async fn until<T, E: Display>(timeout: Duration, attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    eventually(timeout, attempt).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Compares two values as an attempt of [`eventually`].
///
/// # Errors
/// Returns both values as text if they differ.
pub fn expect_eq<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}, expected {expected:?}")) }
}
