//! Identifying a caller, and recording what came of it: the one place for every transport.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
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

    /// The snapshot by which a caller that has waited is to be identified again; `None` if its access cannot have ended meanwhile.
    pub fn outdated(&self, caller: Caller<'_>) -> Option<Arc<Snapshot>> {
        let is_current = self.store.is_current(caller.snapshot) && !caller.identity.can_expire();
        if is_current { None } else { self.store.current() }
    }

    /// Identifies a caller that has waited by the snapshot that is in force now.
    ///
    /// # Errors
    /// Returns an error if it is not an active client of this server any more; it was recorded and counted.
    pub fn authenticate_again<'s>(
        &self,
        snapshot: &'s Snapshot,
        earlier: Caller<'_>,
    ) -> Result<(&'s Snapshot, Identity<'s>), identity::Refusal<'s>> {
        let identified = snapshot.identify_again(earlier.identity, now());
        identified
            .map(|identity| (snapshot, identity))
            .inspect_err(|refusal| self.turn_away(snapshot, refusal, earlier.via))
    }

    /// Records and counts a caller that is not served.
    fn turn_away(&self, snapshot: &Snapshot, refusal: &identity::Refusal<'_>, Via { peer, route, .. }: Via) {
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
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
