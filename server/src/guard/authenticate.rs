//! Identifying a caller, and recording what came of it: the one place for every transport.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, SystemTime},
};

use super::{Caller, Guard, Via};
use crate::{
    audit::record::{AuthFailed, Record},
    config::Snapshot,
    identity::{self, Identity, Presented},
    metrics::AuthOutcome,
};

/// How often the use of one credential is recorded, in seconds: a record for every request would double the log.
const SUCCESS_EVERY: u64 = 60;

impl Guard {
    /// Identifies a caller.
    ///
    /// # Errors
    /// Returns an error if the caller is not an active client of this server; it was recorded and counted.
    pub fn authenticate<'s>(
        &self,
        snapshot: &'s Snapshot,
        presented: &Presented<'_>,
        via: Via,
    ) -> Result<Identity<'s>, identity::Refusal<'s>> {
        let identity =
            snapshot.identify(presented, now()).inspect_err(|refusal| self.turn_away(snapshot, refusal, via))?;
        self.metrics.authenticated(AuthOutcome::Success);
        self.record_use(Caller { snapshot, identity: &identity, via });
        Ok(identity)
    }

    /// Records and counts a caller that is not served.
    pub(super) fn turn_away(&self, snapshot: &Snapshot, refusal: &identity::Refusal<'_>, Via { peer, route, .. }: Via) {
        match refusal {
            identity::Refusal::Unauthenticated { reason, .. } => {
                self.metrics.authenticated(AuthOutcome::Failed);
                self.audit.unauthenticated(&AuthFailed { peer, route, reason: *reason });
            }
            identity::Refusal::ClientRefused { client, credential, reason } => {
                self.metrics.authenticated(AuthOutcome::Refused);
                let record = Record::ClientRefused { client, key_id: Some(credential), refusal: *reason };
                // The caller is refused whether or not the record can be written.
                let _ = self.audit.record(&record, snapshot.overflow);
            }
        }
    }

    /// Records that a credential was used: the first time, and then once a minute.
    fn record_use(&self, caller: Caller<'_>) {
        let last_recorded = caller.identity.credential.last_recorded;
        let now = self.clock.now().as_nanos() / 1_000_000_000 + 1;
        let last = last_recorded.load(Relaxed);
        let is_due = last == 0 || now >= last + SUCCESS_EVERY;
        if is_due && last_recorded.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            let record = Record::AuthSuccess { who: caller.who() };
            if self.audit.record(&record, caller.snapshot.overflow).is_err() {
                // It was not written, so the next use is due again.
                last_recorded.store(0, Relaxed);
            }
        }
    }
}

/// The time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
