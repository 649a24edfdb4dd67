//! The server's half of a policy: which server it is, and what it offers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    admission::{self, ClientRule},
    backend::Backend,
    defaults::is_default,
    limits::Limits,
    settings::{Audit, Authentication, LogLevel},
    tool::Tool,
};

/// What a server offers. The other half of a policy is its clients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerHalf {
    pub server: ServerIdentity,
    pub spec: ServerSpec,
}

/// Which server a policy is for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerIdentity {
    /// The namespace of the McpServer.
    pub namespace: String,
    /// The name of the McpServer.
    pub name: String,
    /// The number of servers that share the limits: each enforces `1/replicas` of every limit.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u16,
    /// The host names that requests may use in addition to loopback addresses, without ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub hosts: Vec<String>,
}

fn one() -> u16 {
    1
}

fn is_one(number: &u16) -> bool {
    *number == one()
}

/// How calls are served.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServerSpec {
    /// The backends that execute the tools.
    #[schemars(length(min = 1, max = 64))]
    pub backends: Vec<Backend>,
    /// The tools that the server offers.
    #[schemars(length(min = 1, max = 256))]
    pub tools: Vec<Tool>,
    /// How callers are authenticated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub authentication: Authentication,
    /// The rules by which the operator admitted the clients. Servers do not use them.
    #[serde(default = "admission::default_rules", skip_serializing_if = "admission::are_default")]
    pub clients: Vec<ClientRule>,
    /// How often the tools may be called.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// What is recorded about each call.
    #[serde(default, skip_serializing_if = "is_default")]
    pub audit: Audit,
    /// The lowest severity that the server logs: `error`, `warn`, `info` or `debug`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_level: LogLevel,
}

impl ServerHalf {
    /// Sorts what has no order of its own, so that the same content is printed as the same text.
    pub(crate) fn sort(&mut self) {
        self.server.hosts.sort();
        self.server.hosts.dedup();
        self.spec.backends.sort_by(|a, b| a.name.cmp(&b.name));
        for backend in &mut self.spec.backends {
            backend.headers.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self.spec.tools.sort_by(|a, b| a.name.cmp(&b.name));
    }
}
