//! The signals that end a program which a person or a supervisor runs.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::Error;

pub(super) struct Signals([Signal; 3]);

impl Signals {
    /// # Errors
    /// Returns an error if the system refuses the handlers.
    pub fn new() -> Result<Self, Error> {
        let signal = |kind| signal(kind).map_err(Error::io("listening for signals"));
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
