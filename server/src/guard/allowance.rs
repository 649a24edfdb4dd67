//! The allowance for requests that are not admitted calls: lists, pings, denied tools, refused arguments.
//!
//! It is separate from the limits of calls, so that such requests neither use up a client's calls nor are free.

use super::{Caller, Guard, limits};
use crate::{
    audit::record::{LimitName, Record},
    limiter::{Dimension, Key, OverLimit},
    protocol::refusal::Refusal,
};

impl Guard {
    /// Takes one request from the allowance of `caller`.
    ///
    /// # Errors
    /// Returns an error if the allowance is used up; it was recorded.
    pub fn take_allowance(&self, caller: Caller<'_>) -> Result<(), Refusal> {
        let dimensions = limits::of_request(caller.identity);
        match self.limiter.admit(&dimensions, self.clock.now()) {
            Ok(()) => Ok(()),
            Err(over) => Err(self.over(caller, None, &dimensions, over)),
        }
    }

    /// Counts the refusal of a message against the allowance, and records it with the HTTP status that it is answered with, if
    /// the transport has one. Returns the refusal, or the one that takes its place.
    pub fn refuse(&self, caller: Caller<'_>, refusal: Refusal, status: Option<u16>) -> Refusal {
        if let Err(over) = self.take_allowance(caller) {
            return over;
        }
        let record = Record::RequestRefused { who: caller.who(), status, code: refusal.code() };
        match self.audit.record(&record, caller.snapshot.overflow) {
            Ok(()) => refusal,
            Err(_) => Refusal::AuditUnavailable,
        }
    }

    /// Records that a call is over a limit; returns the refusal of it.
    pub(super) fn over(
        &self,
        caller: Caller<'_>,
        tool: Option<&str>,
        dimensions: &[Dimension],
        over: OverLimit,
    ) -> Refusal {
        let limit = dimensions.get(over.dimension).map_or(LimitName::Client, |dimension| match dimension.key {
            Key::Tool { .. } => LimitName::Tool,
            Key::Identity(_) => LimitName::Client,
            Key::Other(_) => LimitName::RequestAllowance,
            Key::Pool(_) => LimitName::Share,
            Key::Global => LimitName::Global,
        });
        self.refused_by(caller, tool, limit, over.retry_after_seconds())
    }

    pub(super) fn refused_by(&self, caller: Caller<'_>, tool: Option<&str>, limit: LimitName, seconds: u64) -> Refusal {
        let record = Record::RateLimitExceeded { who: caller.who(), tool, limit, retry_after_seconds: seconds };
        match self.audit.record(&record, caller.snapshot.overflow) {
            Ok(()) => Refusal::OverLimit { seconds },
            Err(_) => Refusal::AuditUnavailable,
        }
    }
}
