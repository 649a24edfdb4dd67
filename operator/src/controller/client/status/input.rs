//! Everything that a client's status is made of.

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{
    Findings, McpClientSpec, NamespacedName,
    client::{ApiKeyStatus, McpClientStatus},
};

use crate::{cluster::Error, controller::memory::ServerReport};

/// What one reconcile read, and what the servers reported.
pub struct StatusInput<'a> {
    pub generation: Option<i64>,
    pub spec: Option<&'a McpClientSpec>,
    /// What is wrong with the client by itself.
    pub findings: &'a Findings,
    /// The id of its key and the Secret that holds it, or why there is none.
    pub key: Result<ApiKeyStatus, &'a Error>,
    /// Each server that it names, with its report; `None` if there is no such server.
    pub servers: Vec<(NamespacedName, Option<ServerReport>)>,
    pub previous: Option<&'a McpClientStatus>,
    pub now: Timestamp,
}
