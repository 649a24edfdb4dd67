//! The number of calls that an identity has in flight.

use std::{collections::hash_map, sync::Arc};

use parking_lot::Mutex;

use crate::{fingerprint::Fingerprint, hash::HashMap};

const SHARDS: usize = 16;

type Shard = Mutex<HashMap<Fingerprint, u32>>;

/// Counts calls in flight by identity. An identity without any takes no memory. Clones share the count.
#[derive(Clone, Default)]
pub struct InFlight(Arc<[Shard; SHARDS]>);

/// One call in flight; it counts until this is dropped.
#[must_use = "the call counts only while this is held"]
pub struct InFlightGuard {
    shards: Arc<[Shard; SHARDS]>,
    identity: Fingerprint,
}

impl InFlight {
    /// Counts one more call of this identity; `None` if it has `max` already.
    pub fn enter(&self, identity: Fingerprint, max: u32) -> Option<InFlightGuard> {
        let mut shard = self.0[identity.shard(SHARDS)].lock();
        let count = shard.get(&identity).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        shard.insert(identity, count + 1);
        drop(shard);
        Some(InFlightGuard { shards: self.0.clone(), identity })
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut shard = self.shards[self.identity.shard(SHARDS)].lock();
        if let hash_map::Entry::Occupied(mut count) = shard.entry(self.identity) {
            if *count.get() > 1 {
                *count.get_mut() -= 1;
            } else {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_a_maximum_of_calls_and_others_are_not_affected() {
        let in_flight = InFlight::default();
        let (one, other) = (Fingerprint::of(&["one"]), Fingerprint::of(&["other"]));
        let first = in_flight.enter(one, 2);
        let second = in_flight.enter(one, 2);
        assert!(first.is_some() && second.is_some());
        assert!(in_flight.enter(one, 2).is_none());
        assert!(in_flight.enter(other, 2).is_some());
        drop(first);
        assert!(in_flight.enter(one, 2).is_some());
        drop(second);
        assert!(in_flight.0.iter().all(|shard| shard.lock().is_empty()));
    }
}
