//! What the operator says about a server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw when it last looked.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    /// The generation of the spec that this status is about; -1 before the operator saw the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The documents that are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// The tools that are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolStatus>,
    /// The pods, and what each of them serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodStatus>,
    /// The label selector of the pods, for the `scale` subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Where agents in the cluster reach the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `Accepted`, `PolicySynced`, `Ready`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The documents that are published.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The SHA-256 of the policy's content.
    pub revision: String,
    /// The SHA-256 of the credentials' content.
    pub credentials_revision: String,
    /// How many clients the policy holds.
    pub clients: u32,
    /// The version of the contract that the policy is written in.
    pub contract: u32,
}

/// The tools that are served.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ToolStatus {
    /// How many.
    pub served: u32,
}

/// The pods, and what each of them serves.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// How many there are.
    pub total: u32,
    /// How many take calls.
    pub ready: u32,
    /// How many serve the policy and credentials that are published now.
    pub current: u32,
    /// What each serves: at most 16, those that lag behind first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pod"]))]
    pub revisions: Vec<PodRevision>,
}

/// What one pod serves.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodRevision {
    /// The pod's name.
    pub pod: String,
    /// The revision of the policy that it last said it serves; absent where it has not answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_revision: Option<String>,
    /// The revision of the credentials that it last said it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_revision: Option<String>,
}
