//! What the operator reports about a client.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::server::Rate;

/// What the operator last observed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct McpClientStatus {
    /// The generation of the spec that this status describes. It is -1 until the operator has observed the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// On how many servers the access is in force, of how many that are listed in `servers`, such as `1/2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers_ready: Option<String>,
    /// What each server grants. An access that the spec no longer contains is listed until every pod has confirmed that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub servers: Vec<ClientServerStatus>,
    /// The API key of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyStatus>,
    /// The conditions `Accepted`, `CredentialsReady`, `Ready`, `Reconciling` and `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What one server grants.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientServerStatus {
    /// The McpServer.
    pub server_ref: ServerRefStatus,
    /// What the client is granted. It is absent if nothing is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Granted>,
    /// The conditions `Accepted`, `ResolvedRefs` and `PolicySynced`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A reference to an McpServer with its namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerRefStatus {
    /// The name of the McpServer.
    pub name: String,
    /// The namespace of the McpServer.
    pub namespace: String,
}

/// What a client is granted on a server.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// The number of tools that the client may call.
    pub tools: u32,
    /// The most records that one call returns.
    pub max_records_per_query: u32,
    /// Whether the client may call tools that write.
    pub allow_write: bool,
    /// How often the client may call. All of these limits apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub limits: Vec<Rate>,
}

/// The API key of a client.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyStatus {
    /// The name of the Secret in the client's namespace that contains the key.
    pub secret_name: String,
    /// The id of the key in audit records.
    pub key_id: String,
    /// When the operator created the key. It is absent if the Secret does not say so of the key that it contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
}
