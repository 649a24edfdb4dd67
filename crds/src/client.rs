//! `McpClient`: an agent or application, what it asks for on which server, and its credentials.
//!
//! What it gets is the intersection of what it asks and what the server's rule for its namespace allows.
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type of its own")]

mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{name::ObjectName, server::Rate};
pub use status::{ApiKeyStatus, ClientServerStatus, Granted, McpClientStatus, ServerRefStatus};

/// An agent or application that calls MCP servers: what it asks for, and how it proves who it is.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "McpClient",
    plural = "mcpclients",
    shortname = "mcpc",
    category = "portcullis",
    category = "mcp",
    namespaced,
    status = "McpClientStatus",
    derive = "PartialEq",
    doc = "An agent or application that calls MCP servers: what it asks for, and how it proves who it is.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Servers", type_ = "string", json_path = ".spec.access[*].serverRef.name"),
    printcolumn(
        name = "Key",
        type_ = "string",
        json_path = ".status.apiKey.secretName",
        description = "The Secret with the API key"
    ),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspended", priority = 1),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct McpClientSpec {
    /// What the client asks for, server by server.
    #[schemars(length(min = 0, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(a, self.filter(b, a.serverRef == b.serverRef).size() == 1)").message("each serverRef may be named once"))]
    pub access: Vec<Access>,

    /// How the client proves who it is. At least one.
    pub credentials: ClientCredentials,

    /// Whether the client is refused everywhere, until this is taken back.
    #[serde(default)]
    pub suspended: bool,

    /// When the client's access ends. Servers enforce it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// What a client asks for on one server.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The server.
    pub server_ref: ServerRef,
    /// The tools, by name; `"*"` for all that the server grants.
    #[schemars(length(min = 0, max = 256), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub tools: Vec<String>,
    /// The most records that one call may return.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_records_per_query: u32,
    /// Whether tools that write are asked for too.
    #[serde(default)]
    pub allow_write: bool,
    /// How often the client may call. Without it: the server's `limits.perClient`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Rate>,
}

/// A McpServer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct ServerRef {
    /// Its name.
    pub name: ObjectName,
    /// Its namespace; the client's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<ObjectName>,
}

/// How a client proves who it is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.apiKey)").message("at least one kind of credential must be set"))]
pub struct ClientCredentials {
    /// A key that the operator makes, and puts in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
}

/// A key that the operator makes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// The Secret, in the client's namespace, that the key is put in, as `api-key`. One that is there already and
    /// is not the operator's is left alone.
    pub secret_name: ObjectName,
}
