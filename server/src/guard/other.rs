//! Requests that are no admitted call: lists, pings, denied tools, refused arguments. They draw on an allowance of their own, so
//! that none of them uses up a client's calls and none of them is free.

use super::{Caller, Guard};
use crate::{
    audit::record::{LimitName, Record},
    limiter::{Dimension, Key, OverLimit},
    protocol::refusal::Refusal,
};

impl Guard {
    /// Takes one from the allowance of `caller` for other requests.
    ///
    /// # Errors
    /// Where it is used up.
    pub fn other(&self, caller: Caller<'_>) -> Result<(), Refusal> {
        let dimensions = &caller.client.other_dimensions;
        match self.limiter.admit(dimensions, self.clock.now()) {
            Ok(()) => Ok(()),
            Err(over) => Err(self.over(caller, None, dimensions, over)),
        }
    }

    /// Records that a limit holds, and words it.
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
            Key::Other(_) => LimitName::Other,
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
