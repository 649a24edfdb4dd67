//! What stands between a request and a backend.
//!
//! Deny by default: a call reaches its backend only if the client was granted the tool, its arguments fit, its records have room
//! and no limit holds. The steps are pure functions in rooms of their own; [`prepare`](Guard::prepare) and [`call`](Guard::call)
//! read as the chain of them.

mod arguments;
mod authorise;
mod call;
mod other;
mod records;

pub use authorise::authorise;
pub use call::Prepared;

use bytes::Bytes;

use crate::{
    audit::{Audit, record::Who},
    backend::HttpClient,
    config::{Client, Known, Snapshot},
    limiter::{Clock, InFlight, Limiter},
    protocol::refusal::Refusal,
};

/// The guard of a server, with all that outlives a policy.
pub struct Guard {
    pub audit: Audit,
    pub limiter: Limiter,
    pub in_flight: InFlight,
    pub clock: Clock,
    pub http: HttpClient,
}

/// Who calls, and the one snapshot that the call is served by.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub snapshot: &'a Snapshot,
    pub client: &'a Client,
    pub key: &'a Known,
}

/// How a call ended, for every transport.
pub type Outcome = Result<Reply, Refusal>;

/// A tool's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The members of the result that all revisions share, without braces around them.
    pub members: Bytes,
    /// Whether records were left out.
    pub truncated: bool,
}

impl<'a> Caller<'a> {
    /// For audit records.
    pub fn who(&self) -> Who<'a> {
        Who {
            revision: &self.snapshot.revision,
            client: self.client.id.as_str(),
            subject: None,
            key_id: Some(&self.key.key_id),
        }
    }
}
