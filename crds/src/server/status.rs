//! What the operator reports about a server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last observed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    /// The generation of the spec that this status describes. It is -1 until the operator has observed the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The policy and credentials that are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// The tools that the server offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolStatus>,
    /// The pods, and the revisions that they serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodStatus>,
    /// The label selector of the pods, for the `scale` subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The URL at which agents in the cluster reach the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The conditions `Accepted`, `PolicySynced`, `Ready`, `Reconciling` and `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The policy and credentials that are published.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The revision of the policy: the SHA-256 of its content.
    pub revision: String,
    /// The revision of the credentials: the SHA-256 of their content.
    pub credentials_revision: String,
    /// The number of clients in the policy, with those that are suspended or have expired.
    pub clients: u32,
    /// The version of the contract between operator and server in which they are written.
    pub contract: u32,
}

/// The tools that the server offers.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ToolStatus {
    /// The number of tools.
    pub served: u32,
}

/// The pods, and the revisions that they serve.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// The number of pods.
    pub total: u32,
    /// The number of pods that take calls.
    pub ready: u32,
    /// The number of pods that serve the published policy and credentials.
    pub current: u32,
    /// The same numbers, each with what it is out of.
    #[serde(default)]
    pub summary: PodSummary,
    /// The revisions that each pod serves. At most 16 pods are listed, those that are not current first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pod"]))]
    pub revisions: Vec<PodRevision>,
}

/// Numbers of pods as `kubectl get` prints them: a printer column shows one field.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodSummary {
    /// How many pods take calls, of how many there are to be, such as `1/2`.
    pub ready: String,
    /// How many pods serve the published policy and credentials, of how many there are, such as `1/2`.
    pub current: String,
}

/// The revisions that one pod serves.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodRevision {
    /// The name of the pod.
    pub pod: String,
    /// The revision of the policy that the pod last reported. It is absent until the pod has reported, and while the pod refuses a
    /// part of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_revision: Option<String>,
    /// The revision of the credentials that the pod last reported. It is absent as that of the policy is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_revision: Option<String>,
}
