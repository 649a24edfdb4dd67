//! `McpServer`: the tools that a server offers, their backends, and the clients that may call them.
//!
//! The API server enforces the schemas and CEL rules of these types. [`crate::check`] checks everything else.
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type of its own")]

mod admission;
mod backend;
mod credentials;
mod limits;
mod listing;
mod partial;
mod status;
mod tool;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use admission::{Allowance, ClientRule, NamespaceSelection, NamespacesFrom, default_client_rules};
pub use backend::{Backend, HttpBackend, StaticBackend};
pub use credentials::{
    BackendCredentials, BackendHeader, ClientCredentials, HeaderSecretRef, HeaderValueFrom, IdentityValue,
};
pub use limits::{GlobalLimit, Limits, Rate};
pub use listing::{Icon, Theme, ToolAnnotations};
pub use partial::PartialServerSpec;
pub use status::{McpServerStatus, PodRevision, PodStatus, PodSummary, PolicyStatus, ToolStatus};
pub use tool::{Effect, FormPart, HttpMethod, HttpTool, PartEncoding, Records, StaticTool, Style, Tool, ToolAudit};

/// An MCP server: its tools, the backends that execute them, which clients may call them, and how often.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "McpServer",
    plural = "mcpservers",
    shortname = "mcps",
    category = "portcullis",
    category = "mcp",
    namespaced,
    status = "McpServerStatus",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.pods.total", label_selector_path = ".status.selector"),
    derive = "PartialEq",
    doc = "An MCP server that the operator deploys and guards: its tools, the backends that execute them, which clients may call them, and how often.",
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that begins with a letter: Services derive their names from it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.tools.served"),
    printcolumn(name = "Clients", type_ = "integer", json_path = ".status.policy.clients"),
    printcolumn(name = "Pods", type_ = "string", json_path = ".status.pods.summary.ready", description = "How many pods take calls, of how many there are to be"),
    printcolumn(name = "Current", type_ = "string", json_path = ".status.pods.summary.current", description = "How many pods serve the published policy and credentials, of how many there are"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.policy.revision", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.tools.all(t, self.backends.exists(b, b.name == t.backend && has(b.http) == has(t.http)))")
    .message("each tool must name one of spec.backends and set the field of that backend's kind: `http` or `static`"))]
pub struct McpServerSpec {
    /// The backends that execute the tools.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub backends: Vec<Backend>,

    /// The tools that the server offers. A tool that is not listed does not exist for any client.
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tools: Vec<Tool>,

    /// Where agents reach the server besides its Service, through an Ingress for example. Requests may be addressed to the hosts of
    /// these URLs, whatever the port and the path. Nothing is created for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 8, max = 2048), regex(pattern = r"^https?://")), extend("x-kubernetes-list-type" = "set"))]
    pub urls: Vec<String>,

    /// How callers are authenticated. At least one method must be on.
    #[serde(default)]
    pub authentication: Authentication,

    /// The rules by which McpClients are admitted, each with a ceiling for what a client is granted. The first rule whose
    /// namespaces match a client applies; a client that no rule matches is refused. If this field is not set, up to 1000
    /// clients of the server's own namespace are granted everything that they request.
    #[serde(default = "default_client_rules")]
    #[schemars(length(min = 0, max = 32))]
    pub clients: Vec<ClientRule>,

    /// How often the tools may be called.
    #[serde(default)]
    pub limits: Limits,

    /// What is recorded about each call.
    #[serde(default)]
    pub audit: Audit,

    /// The lowest severity that the server logs. Audit records are written at every level.
    #[serde(default)]
    pub log_level: LogLevel,

    /// The number of pods; 1 if this field is not set. Each pod enforces an equal share of every limit, so no limit may be
    /// below this number. `kubectl scale` sets this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<u16>,

    /// Settings of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

/// The number of pods if the spec does not set it. The schema has no default, so that a number that somebody set can be
/// distinguished from the default.
pub const DEFAULT_REPLICAS: u16 = 1;

impl McpServerSpec {
    /// The number of pods.
    pub fn replicas(&self) -> u16 {
        self.replicas.unwrap_or(DEFAULT_REPLICAS)
    }
}

/// How callers are authenticated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.apiKey.mode != 'Off'").message("at least one authentication method must be on"))]
pub struct Authentication {
    /// Authentication by an API key.
    #[serde(default)]
    pub api_key: ApiKeyAuthentication,
}

/// Authentication by API key.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuthentication {
    /// `Optional` accepts API keys; a caller may use another method instead. `Off` ignores API keys.
    #[serde(default)]
    pub mode: MethodMode,
    /// The header that a key is read from: `x-api-key` (`XApiKey`), `Authorization` with the scheme `Bearer` (`Bearer`), or the one of
    /// them that was sent (`Any`). A request with both is refused.
    #[serde(default)]
    pub header: KeyHeader,
}

/// Where an API key is read from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHeader {
    #[default]
    Any,
    XApiKey,
    Bearer,
}

/// Whether an authentication method is offered.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MethodMode {
    #[default]
    Optional,
    Off,
}

/// What is recorded about each call.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// `Shape` records the names, types and sizes of the declared arguments, but not their values. `None` records nothing about them.
    #[serde(default)]
    pub arguments: AuditArguments,
    /// What happens to calls while audit records cannot be written. `Refuse` answers them with 503 before they have any effect.
    /// `Drop` serves them and counts the lost records.
    #[serde(default)]
    pub on_overflow: OnOverflow,
}

/// What the audit log contains about a call's arguments.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditArguments {
    #[default]
    Shape,
    None,
}

/// What happens to calls while audit records cannot be written.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOverflow {
    #[default]
    Refuse,
    Drop,
}

/// The lowest severity that is logged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// Settings of each pod.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// The CPU and memory of the server's container. If this field is not set, the container requests 50m of CPU and 64Mi of
    /// memory, and may use 256Mi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}
