//! Everything that a client's status is made of.

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{Findings, McpClientSpec, NamespacedName, client::McpClientStatus};

use crate::controller::{client::apply::Applied, memory::ServerReport};

/// What one reconcile read, and what the servers reported.
pub struct StatusInput<'a> {
    pub generation: Option<i64>,
    pub spec: Option<&'a McpClientSpec>,
    /// What is wrong with the client by itself.
    pub findings: &'a Findings,
    /// What became of each credential that the spec requests.
    pub credentials: &'a [Applied],
    /// Each server that it names, with its report; `None` if there is no such server.
    pub servers: Vec<(NamespacedName, Option<ServerReport>)>,
    pub previous: Option<&'a McpClientStatus>,
    pub now: Timestamp,
}
