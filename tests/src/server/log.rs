//! A server's standard output as the audit log that it is: one JSON object a line.

use std::time::Duration;

use serde_json::Value;

use crate::{Error, Output, eventually};

/// The log so far. Clones share it.
#[derive(Clone)]
pub struct Log(Output);

impl Log {
    pub(super) fn of(output: &Output) -> Self {
        Self(output.clone())
    }

    /// Stops reading the log, so that the server's writes block once the pipe is full.
    ///
    /// # Errors
    /// Returns an error if the pipe cannot be made small.
    pub async fn pause(&self) -> Result<(), Error> {
        self.0.pause().await
    }

    /// Reads the log again.
    pub fn resume(&self) {
        self.0.resume();
    }

    /// From now on the log is read and not kept, for a load that prints more than there is memory.
    pub fn discard(&self) {
        self.0.discard();
    }

    /// Every line.
    pub fn lines(&self) -> Vec<String> {
        self.0.stdout()
    }

    /// Every line of stderr.
    pub fn stderr(&self) -> Vec<String> {
        self.0.stderr()
    }

    /// Every line as JSON.
    ///
    /// # Errors
    /// Returns an error if a line is not JSON.
    pub fn records(&self) -> Result<Vec<Value>, Error> {
        let parse =
            |line: &String| serde_json::from_str(line).map_err(|_| Error::Response(format!("not JSON: {line}")));
        self.lines().iter().map(parse).collect()
    }

    /// The records of this event.
    ///
    /// # Errors
    /// Returns an error if a line is not JSON.
    pub fn events(&self, event: &str) -> Result<Vec<Value>, Error> {
        Ok(self.records()?.into_iter().filter(|record| record["event"] == event).collect())
    }

    /// Waits for a record of this event, and returns the first one.
    ///
    /// # Errors
    /// Returns an error if that takes longer than `timeout`.
    pub async fn event(&self, event: &str, timeout: Duration) -> Result<Value, Error> {
        Ok(self.at_least(1, event, timeout).await?.swap_remove(0))
    }

    /// Waits for `count` records of this event, and returns all of them.
    ///
    /// # Errors
    /// Returns an error if that takes longer than `timeout`.
    pub async fn at_least(&self, count: usize, event: &str, timeout: Duration) -> Result<Vec<Value>, Error> {
        eventually(timeout, async || {
            let found = self.events(event).map_err(|error| error.to_string())?;
            if found.len() >= count {
                return Ok(found);
            }
            Err(format!("{} of {count} records of `{event}` in:\n{}", found.len(), self.0.text()))
        })
        .await
    }
}
