//! `McpClient`: an agent or application, what it requests on which server, and its credentials.
//!
//! A client is granted the intersection of what it requests and what the server's rule for its namespace allows.
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type of its own")]

mod partial;
mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{argument_condition::ArgumentCondition, name::ObjectName, server::Rate, time};
pub use partial::PartialClientSpec;
pub use status::{ApiKeyStatus, ClientServerStatus, Granted, McpClientStatus, ServerRefStatus};

/// An agent or application that calls MCP servers: what it requests, and how it is authenticated.
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
    doc = "An agent or application that calls MCP servers: what it requests, and how it is authenticated.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(
        name = "Servers",
        type_ = "string",
        json_path = ".status.serversReady",
        description = "On how many servers the access is in force, of how many"
    ),
    printcolumn(
        name = "Key",
        type_ = "string",
        json_path = ".status.apiKey.secretName",
        description = "The Secret with the API key"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct McpClientSpec {
    /// What the client requests on each server. The server's rule decides what is granted.
    #[schemars(length(min = 0, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(a, self.filter(b, a.serverRef == b.serverRef).size() == 1)").message("each serverRef must be unique"))]
    pub access: Vec<Access>,

    /// How the client is authenticated. At least one kind of credential must be set.
    pub credentials: ClientCredentials,

    /// Whether every server refuses the client.
    #[serde(default)]
    pub suspended: bool,

    /// The time at which the client's access ends. The servers enforce it themselves.
    #[serde(default, deserialize_with = "time::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time::schema")]
    pub expires_at: Option<Time>,
}

/// What a client requests on one server.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The McpServer.
    pub server_ref: ServerRef,
    /// The tools that the client requests, by name; `"*"` stands for all tools that it can be granted.
    #[schemars(length(min = 0, max = 256), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub tools: Vec<String>,
    /// The most records that one call may return.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_records_per_query: u32,
    /// Whether the client also requests tools that write.
    #[serde(default)]
    pub allow_write: bool,
    /// Conditions on arguments, which all hold: a call that does not meet those of its tool is denied.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub conditions: Vec<ArgumentCondition>,
    /// How often the client may call. If this field is not set, the server's `limits.perClient` applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Rate>,
}

/// A reference to an McpServer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct ServerRef {
    /// The name of the McpServer.
    pub name: ObjectName,
    /// The namespace of the McpServer. If this field is not set, it is the client's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<ObjectName>,
}

/// How a client is authenticated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.apiKey)").message("at least one kind of credential must be set"))]
pub struct ClientCredentials {
    /// An API key, which the operator creates in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
}

/// An API key, which the operator creates.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// The name of the Secret in the client's namespace that the operator creates. It contains the key as `api-key`. A Secret
    /// of that name which does not belong to this client is not changed.
    pub secret_name: ObjectName,
    /// Revokes the key if it was issued before this time: the servers refuse it at once, and the operator creates a new one. A time
    /// in the future revokes the key that there is now, and not the one that follows it.
    #[serde(default, deserialize_with = "time::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time::schema")]
    pub revoke_before: Option<Time>,
}
