//! The allowance for requests that are not admitted calls: lists, pings, and everything that is refused.
//!
//! It is separate from the limits of calls, so that such requests neither use up a client's calls nor are free.

use super::{Caller, Guard, limits};
use crate::{audit::record::Record, limiter::TooManyLimits, protocol::refusal::Refusal};

impl Guard {
    /// Takes one request from the allowance of `caller`.
    ///
    /// # Errors
    /// Returns an error if the allowance is used up; it was recorded.
    pub fn take_allowance(&self, caller: Caller<'_>) -> Result<(), Refusal> {
        let dimensions = limits::of_request(caller.identity, caller.snapshot.replicas);
        let dimensions = dimensions.map_err(|TooManyLimits| {
            let refusal = Refusal::LimitsUnavailable;
            let record = Record::RequestRefused {
                who: caller.who(),
                status: (caller.via.status)(&refusal),
                code: Some(refusal.code()),
            };
            self.record_refusal(caller, &record, refusal)
        })?;
        match self.allowance.take(&dimensions) {
            Ok(_) => Ok(()),
            Err(over) => Err(self.over(caller, None, &dimensions, over)),
        }
    }

    /// Counts the refusal of a message against the allowance, and records it. Returns the refusal, or the one that takes its place.
    pub fn refuse(&self, caller: Caller<'_>, refusal: Refusal) -> Refusal {
        let status = (caller.via.status)(&refusal);
        let record = Record::RequestRefused { who: caller.who(), status, code: Some(refusal.code()) };
        self.refuse_within_allowance(caller, &record, refusal)
    }

    /// Counts a refusal whose message was not read against the allowance, and records it with its HTTP status.
    ///
    /// # Errors
    /// Returns the refusal that takes its place if the allowance is used up or the record cannot be written.
    pub fn refuse_unread(&self, caller: Caller<'_>, status: u16) -> Result<(), Refusal> {
        self.take_allowance(caller)?;
        let record = Record::RequestRefused { who: caller.who(), status: Some(status), code: None };
        self.audit.record(&record, caller.snapshot.overflow).map_err(|_| Refusal::AuditUnavailable)
    }

    /// Counts a refusal against the allowance, and records it. Returns the refusal, or the one that takes its place.
    pub(super) fn refuse_within_allowance(&self, caller: Caller<'_>, record: &Record<'_>, refusal: Refusal) -> Refusal {
        match self.take_allowance(caller) {
            Ok(()) => self.record_refusal(caller, record, refusal),
            Err(over) => over,
        }
    }

    /// Counts a call that was refused for another reason than what it asks for, and was recorded. If the allowance is used up, that
    /// reason stands: it says when the call may be made again.
    pub(super) fn count_refused_call(&self, caller: Caller<'_>) {
        if let Ok(dimensions) = limits::of_request(caller.identity, caller.snapshot.replicas) {
            let _ = self.allowance.take(&dimensions);
        }
    }
}
