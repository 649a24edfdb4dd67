//! How many calls an identity has running at once.

use crate::fingerprint::Fingerprint;

/// Counts calls in flight by identity; an identity without any costs no memory.
#[derive(Clone, Default)]
pub struct InFlight {}

/// One call in flight: it counts until this is dropped.
#[must_use = "the call counts only while this is held"]
pub struct InFlightGuard {}

impl InFlight {
    /// One more call of this identity, unless it has `max` already.
    pub fn enter(&self, identity: Fingerprint, max: u32) -> Option<InFlightGuard> {
        let _ = (identity, max);
        unimplemented!()
    }
}
