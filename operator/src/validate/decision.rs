//! What was decided about one client on one server, as a value.

use portcullis_crds::{ClientId, Findings};

use super::grant::Grant;

/// What was decided about one client's request.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientDecision {
    /// What is wrong with the client, by itself or on this server. If anything is, it keeps at most what it had.
    pub findings: Findings,
    pub result: Result<Grant, Refusal>,
}

/// Why a client is granted nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client has errors, and had nothing that it could keep.
    Invalid,
    /// The client has errors, and the limit that it had is below the number of pods that would share it.
    LimitBelowReplicas,
    /// No rule matches its namespace.
    NotAllowed { namespace: String },
    /// The rule that matches its namespace has admitted as many older clients.
    TooManyClients { namespace: String, max_clients: u32 },
    /// An older client has the same credential.
    SharedCredential { owner: ClientId },
    /// With it a document would have this many bytes, which is more than fit.
    DocumentTooLarge { bytes: usize },
    /// The McpServer has errors, and its last valid spec contains what this release cannot read.
    ServerUnreadable,
    /// The McpServer has errors, and no valid spec of it was ever published.
    ServerNeverValid,
}
