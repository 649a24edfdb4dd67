//! What a request is counted against.

use std::{ops::Deref, time::Duration};

use portcullis_crds::contract;

use crate::fingerprint::Fingerprint;

/// At most `requests` admissions in any span of `per`. Zero requests admit nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// What is counted together. The order of the variants is the order in which their locks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitKey {
    /// Calls of one expensive tool by one identity.
    Tool { identity: Fingerprint, tool: Fingerprint },
    /// Calls by one identity.
    Identity(Fingerprint),
    /// Requests by one identity that are not admitted calls.
    RequestAllowance(Fingerprint),
    /// Calls by all identities of one client: its share of the global limit.
    Pool(Fingerprint),
    /// All calls.
    Global,
}

/// One limit that a request counts against. Two rates of one key are two limits, and both hold. Each counts all admissions of the
/// key, so a rate that changed counts what was admitted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimension {
    pub key: LimitKey,
    /// The rate of all replicas together.
    pub rate: Rate,
}

/// There is no room for all limits of a request, so that it cannot be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyLimits;

/// The limits of one request. They are kept by value, so that a request allocates nothing for them.
#[derive(Clone, Debug)]
pub struct Dimensions {
    replicas: u16,
    items: [Dimension; Self::MOST],
    length: usize,
}

impl From<contract::Rate> for Rate {
    fn from(rate: contract::Rate) -> Self {
        Self { requests: rate.requests, per: rate.per.to_std() }
    }
}

impl LimitKey {
    /// The fewest requests that a replica admits, however many replicas share the rate. A client whose part of the global
    /// limit is less than one call must be able to call, and one that may not call at all can still list tools.
    fn least(self) -> u32 {
        match self {
            Self::Pool(_) | Self::RequestAllowance(_) => 1,
            Self::Tool { .. } | Self::Identity(_) | Self::Global => 0,
        }
    }
}

impl Dimension {
    /// The limit that each of `replicas` enforces by itself.
    pub(super) fn of_replica(mut self, replicas: u16) -> Self {
        self.rate.requests = (self.rate.requests / u32::from(replicas.max(1))).max(self.key.least());
        self
    }
}

impl Dimensions {
    /// The most limits of one request: a tool, the client's own rates (at most two of each of two policies), its pool, all calls.
    pub const MOST: usize = 8;

    /// No limits yet, of a server with so many replicas.
    pub fn new(replicas: u16) -> Self {
        let unused = Dimension { key: LimitKey::Global, rate: Rate { requests: 0, per: Duration::ZERO } };
        Self { replicas, items: [unused; Self::MOST], length: 0 }
    }

    /// # Errors
    /// Returns an error if there are [`Dimensions::MOST`] already: how many a client has is in a document. The request must be refused.
    pub fn push(&mut self, key: LimitKey, rate: Rate) -> Result<(), TooManyLimits> {
        *self.items.get_mut(self.length).ok_or(TooManyLimits)? = Dimension { key, rate };
        self.length += 1;
        Ok(())
    }

    /// The limits that each replica enforces by itself.
    pub(super) fn of_replica(&self) -> Self {
        let mut divided = self.clone();
        for dimension in &mut divided.items[..self.length] {
            *dimension = dimension.of_replica(self.replicas);
        }
        divided
    }
}

impl Deref for Dimensions {
    type Target = [Dimension];

    fn deref(&self) -> &[Dimension] {
        &self.items[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_replica_enforces_its_share_of_every_limit() {
        let id = Fingerprint::of(&["client"]);
        let of_replica = |key, requests, replicas| {
            let mut dimensions = Dimensions::new(replicas);
            dimensions.push(key, Rate { requests, per: Duration::from_secs(60) }).unwrap();
            dimensions.of_replica()[0].rate.requests
        };
        for (key, requests, replicas, expected) in [
            (LimitKey::Identity(id), 61, 3, 20),
            (LimitKey::Global, 500, 3, 166),
            (LimitKey::Pool(id), 250, 3, 83),
            (LimitKey::RequestAllowance(id), 610, 3, 203),
            // A replica may have no call to admit, but something is always left of the other two.
            (LimitKey::Identity(id), 2, 3, 0),
            (LimitKey::Pool(id), 2, 3, 1),
            (LimitKey::RequestAllowance(id), 2, 3, 1),
            (LimitKey::Global, 5, 0, 5),
        ] {
            assert_eq!(of_replica(key, requests, replicas), expected, "{key:?}: {requests} / {replicas}");
        }
    }
}
