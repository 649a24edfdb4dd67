//! Waiting without guessing how long: a condition is asked again until it holds or the time is over.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::Error;

/// Asks `attempt` every 20 ms until it gives `Ok`, for at most `timeout`; then the last `Err` says what was missing.
pub async fn eventually<T, E: std::fmt::Display>(
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
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A port of the loopback that nobody listened on just now. Prefer port 0 where a program can print what it took.
pub fn free_port() -> Result<u16, Error> {
    let taken = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(taken.map_err(Error::io("looking for a free port"))?.port())
}
