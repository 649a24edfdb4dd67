//! What stands between a request and a backend.
//!
//! Deny by default: a call reaches its backend only if its caller is identified, the client was granted the tool, the
//! arguments are valid, there is room for its records and no limit is exceeded. Each step is a file of its own;
//! [`prepare`](Guard::prepare) and [`call`](Guard::call) put them in order.

mod admission;
mod again;
mod allowance;
mod answers;
mod arguments;
mod authenticate;
mod authorise;
mod call;
mod checks;
mod conformity;
mod delivery;
#[cfg(test)]
pub mod fixtures;
mod limits;
mod records;
mod turns;

pub use answers::Answers;
pub use authorise::authorise;
pub use call::Prepared;
pub use checks::Checks;
pub use delivery::Delivery;
pub use turns::{Turn, Turns};

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;

use crate::{
    audit::{
        Audit,
        record::{Record, Who},
    },
    config::{Snapshot, Store},
    identity::Identity,
    limiter::{Clock, InFlight, MemoryStore},
    metrics::Metrics,
    protocol::refusal::Refusal,
};

/// The guard of a server, with everything that outlives a policy.
pub struct Guard {
    pub store: Arc<Store>,
    pub audit: Audit,
    /// Counts the requests that are not admitted calls. Always in memory, so that a flood of them reaches no store.
    pub allowance: MemoryStore,
    pub in_flight: InFlight,
    /// The checks of arguments and answers that take long.
    pub checks: Checks,
    /// The reading of large requests.
    pub readings: Turns,
    /// The room for answers.
    pub answers: Answers,
    pub clock: Clock,
    pub metrics: Metrics,
}

/// An identified caller, and the snapshot that identified it.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub snapshot: &'a Snapshot,
    pub identity: &'a Identity<'a>,
    pub via: Via,
}

/// How a request came.
#[derive(Clone, Copy)]
pub struct Via {
    pub peer: IpAddr,
    /// The matched route, never the path that was sent.
    pub route: &'static str,
    /// The HTTP status that a refusal is answered with; `None` if the transport has none.
    pub status: fn(&Refusal) -> Option<u16>,
}

/// How a call ended, for every transport.
pub type Outcome = Result<Reply, Refusal>;

/// A tool's result.
pub struct Reply {
    /// The members of the result that all revisions share, without braces around them.
    pub members: Bytes,
    /// Whether records were left out, or may have been because fewer were asked for than the caller did.
    pub truncated: bool,
    /// After how many seconds the backend says that it may be called again.
    pub retry_after: Option<u64>,
    /// To be held until the answer was delivered or given up.
    pub delivery: Box<Delivery>,
}

impl Guard {
    /// Records a refusal, and returns it, or the one that takes its place if the record cannot be written.
    fn record_refusal(&self, caller: Caller<'_>, record: &Record<'_>, refusal: Refusal) -> Refusal {
        match self.audit.record(record, caller.snapshot.overflow) {
            Ok(()) => refusal,
            Err(_) => Refusal::AuditUnavailable,
        }
    }
}

impl<'a> Caller<'a> {
    /// The same caller as it was identified again, if it was.
    pub fn renewed<'b>(self, again: Option<&'b (&'b Snapshot, Identity<'b>)>) -> Caller<'b>
    where
        'a: 'b,
    {
        again.map_or(self, |(snapshot, identity)| Caller { snapshot, identity, via: self.via })
    }

    /// The caller as audit records name it.
    pub fn who(&self) -> Who<'a> {
        let Identity { client, subject, credential, .. } = self.identity;
        Who {
            revision: &self.snapshot.revision,
            client: client.id.as_str(),
            subject: subject.as_ref().map(|subject| subject.pseudonym.as_str()),
            key_id: Some(credential.id),
        }
    }
}
