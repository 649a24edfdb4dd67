//! What Prometheus is told. Labels are closed enums and names from the policy, so the number of series is bounded.
//!
//! Counting is an atomic addition on a handle; look-ups by a tool's name happen when a snapshot is built, not on a call.

use std::time::Duration;

/// All metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics {}

/// The handles of one tool, to be kept in a snapshot.
#[derive(Clone)]
pub struct ToolMetrics {}

/// How a call ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// It has a result.
    Success,
    /// The backend failed.
    Error,
    /// The tool is not for this client.
    Denied,
    /// Over a limit.
    Limited,
    /// The arguments were refused.
    Invalid,
    /// The audit log was blocked.
    Blocked,
}

/// How an authentication ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthOutcome {
    Success,
    /// Nobody knows who it was.
    Failed,
    /// Known, and no client (any more).
    Refused,
}

/// What became of a changed document, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReloadOutcome {
    Loaded,
    /// The last good one stays in force.
    Refused,
}

/// Values that others keep, read when metrics are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Live {
    pub connections: usize,
    pub audit_blocked: bool,
    pub audit_records_dropped: u64,
}

impl Metrics {
    #[expect(clippy::new_without_default, reason = "for now")]
    pub fn new() -> Self {
        unimplemented!()
    }

    /// The handles of a tool of the policy.
    pub fn tool(&self, name: &str) -> ToolMetrics {
        let _ = name;
        unimplemented!()
    }

    /// Drops the series of tools that the policy no longer has.
    pub fn retain_tools(&self, is_served: impl Fn(&str) -> bool) {
        let _ = is_served("");
        unimplemented!()
    }

    /// Counts an authentication.
    pub fn authenticated(&self, outcome: AuthOutcome) {
        let _ = outcome;
        unimplemented!()
    }

    /// Counts a response of `/mcp` by its status. Those outside of the table of refusals count as `other`.
    pub fn responded(&self, status: http::StatusCode) {
        let _ = status;
        unimplemented!()
    }

    /// Counts a reload.
    pub fn reloaded(&self, outcome: ReloadOutcome) {
        let _ = outcome;
        unimplemented!()
    }

    /// The text that `/metrics` answers, of type [`CONTENT_TYPE`].
    pub fn render(&self, live: Live) -> String {
        let _ = live;
        unimplemented!()
    }
}

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl ToolMetrics {
    /// Counts a call; `duration` is from the request to the answer, and observed for calls that reached the backend.
    pub fn call(&self, outcome: CallOutcome, duration: Duration) {
        let _ = (outcome, duration);
        unimplemented!()
    }
}
