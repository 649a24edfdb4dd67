//! A client's entry in the policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Rate, envelope::Entry};
use crate::name::{ClientId, ToolName};

/// What one client may do.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyClient {
    /// Its id on this server.
    pub id: ClientId,
    /// The UID of its McpClient, which must be the same in the credentials: a client that was deleted and created again has
    /// another one.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// The tools that it may call, by name.
    #[schemars(length(max = 256))]
    pub tools: Vec<ToolName>,
    /// The most records that one call returns to it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_records_per_query: u32,
    /// Whether it may call tools whose effect is `Write`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_write: bool,
    /// How often it may call. Every limit applies, and there is at least one.
    #[schemars(length(min = 1, max = 2))]
    pub limits: Vec<Rate>,
    /// Whether every request is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// When its access ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

impl Entry for PolicyClient {
    fn id(&self) -> &ClientId {
        &self.id
    }
}

impl PolicyClient {
    /// Sorts what has no order of its own.
    pub(super) fn sort(&mut self) {
        self.tools.sort();
        self.limits.sort();
    }
}
