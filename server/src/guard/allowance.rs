//! The allowance for requests that are not admitted calls: lists, pings, and everything that is refused.
//!
//! It is separate from the limits of calls, so that such requests neither use up a client's calls nor are free.

use super::{Caller, Guard, limits};
use crate::{
    audit::record::{Record, Who},
    limiter::TooManyLimits,
    protocol::refusal::Refusal,
};

impl Guard {
    /// Takes one request from the allowance of `caller`.
    ///
    /// # Errors
    /// Returns an error if the allowance is used up; it was recorded.
    pub fn take_allowance(&self, caller: Caller<'_>) -> Result<(), Refusal> {
        let dimensions = limits::of_request(caller.identity, caller.snapshot.replicas);
        let dimensions = dimensions.map_err(|TooManyLimits| self.refuse_counted(caller, Refusal::LimitsUnavailable))?;
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

    /// Records the refusal of a request that was counted already. Returns the refusal, or the one that takes its place.
    pub fn refuse_counted(&self, caller: Caller<'_>, refusal: Refusal) -> Refusal {
        let status = (caller.via.status)(&refusal);
        let record = Record::RequestRefused { who: caller.who(), status, code: Some(refusal.code()) };
        self.record_refusal(caller, &record, refusal)
    }

    /// Records the refusal of a request that was counted already, with its HTTP status: for an answer for which there turns out to be no
    /// room once it is sent. Whoever sent it is refused, whether or not that can be recorded.
    pub fn refusal_once_sent(&self, caller: Caller<'_>, status: u16) -> impl FnOnce() + Send + use<> {
        let Who { revision, client, subject, key_id } = caller.who();
        let (revision, client) = (revision.to_owned(), client.to_owned());
        let (subject, key_id) = (subject.map(str::to_owned), key_id.map(str::to_owned));
        let (audit, overflow) = (self.audit.clone(), caller.snapshot.overflow);
        move || {
            let (subject, key_id) = (subject.as_deref(), key_id.as_deref());
            let who = Who { revision: &revision, client: &client, subject, key_id };
            let _ = audit.record(&Record::RequestRefused { who, status: Some(status), code: None }, overflow);
        }
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
