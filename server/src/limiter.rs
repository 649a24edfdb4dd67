//! How often: at most N admissions in any span of time, in several dimensions at once, and how many calls at once.
//!
//! It promises that no span admits more than N, that a refused call uses up nothing (also one that is refused after it was
//! admitted, and given back), and that the time it names is exactly the one at which the call would be admitted. It knows no clock (time is an argument) and no meaning of its keys.

mod in_flight;
mod log;
mod memory;
mod moment;

pub use in_flight::{InFlight, InFlightGuard};
pub use memory::Limiter;
pub use moment::{Clock, Moment};

use std::time::Duration;

use crate::fingerprint::Fingerprint;

/// At most `requests` admissions in any span of `per`. Zero requests admit nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// What is counted together. The order of the variants is the order in which their locks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Calls of one expensive tool by one identity.
    Tool { identity: Fingerprint, tool: Fingerprint },
    /// Calls by one identity.
    Identity(Fingerprint),
    /// Whatever else an identity sends: refused calls, invalid ones, and those that are no tool calls.
    Other(Fingerprint),
    /// Calls by all identities of one client: its share of the global limit.
    Pool(Fingerprint),
    /// All calls.
    Global,
}

impl From<portcullis_crds::contract::Rate> for Rate {
    fn from(rate: portcullis_crds::contract::Rate) -> Self {
        Self { requests: rate.requests, per: rate.per.to_std() }
    }
}

impl Key {
    /// Which of `shards` it lives in. Fingerprints are evenly spread already.
    fn shard(&self, shards: usize) -> usize {
        match self {
            Self::Tool { identity, tool } => identity.shard(shards) ^ tool.shard(shards),
            Self::Identity(id) | Self::Other(id) | Self::Pool(id) => id.shard(shards),
            Self::Global => 0,
        }
    }
}

/// One limit that a call counts against. Two rates on one key are two limits, and both hold: a rate that changed begins
/// a new count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimension {
    pub key: Key,
    pub rate: Rate,
}

/// A call was not admitted, and nothing was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// Which of the dimensions asked for holds longest (an index into them).
    pub dimension: usize,
    /// After exactly this time the call is admitted, if no other comes before it. Where zero are allowed, the span of that rate:
    /// no time would be true, and this is when to look again.
    pub retry_after: Duration,
}

impl OverLimit {
    /// For a `Retry-After` header and the sentence: whole seconds, rounded up, at least 1.
    pub fn retry_after_seconds(&self) -> u64 {
        self.retry_after.as_nanos().div_ceil(1_000_000_000).max(1) as u64
    }
}
