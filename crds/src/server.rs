//! `McpServer`: what is offered, by which backends, to whom, and how much of it.
//!
//! The types say what the API server enforces by schema and CEL; [`crate::check`] says the rest.
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type of its own")]

mod admission;
mod backend;
mod limits;
mod status;
mod tool;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use admission::{Allowance, ClientRule, NamespaceSelection, NamespacesFrom, default_client_rules};
pub use backend::{Backend, HttpBackend, StaticBackend};
pub use limits::{GlobalLimit, Limits, Rate};
pub use status::{McpServerStatus, PodRevision, PodStatus, PolicyStatus, ToolStatus};
pub use tool::{Effect, HttpMethod, HttpTool, Records, StaticTool, Tool, ToolAudit};

/// An MCP server: its tools, the backends that do their work, who may call them, and how often.
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
    doc = "An MCP server that the operator deploys and guards: its tools, the backends that do their work, who may call them, and how often.",
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that begins with a letter: Services derive their names from it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.tools.served"),
    printcolumn(name = "Clients", type_ = "integer", json_path = ".status.policy.clients"),
    printcolumn(name = "Current", type_ = "integer", json_path = ".status.pods.current", description = "Pods that serve the current policy"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.policy.revision", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.tools.all(t, self.backends.exists(b, b.name == t.backend && has(b.http) == has(t.http)))")
    .message("each tool must name one of spec.backends, and say its work in that backend's kind: `http` or `static`"))]
pub struct McpServerSpec {
    /// Where the tools' work is done.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub backends: Vec<Backend>,

    /// What the server offers. A tool that is not listed does not exist for any client.
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tools: Vec<Tool>,

    /// How callers prove who they are. At least one method is on.
    #[serde(default)]
    pub authentication: Authentication,

    /// Which McpClients are admitted, and the ceiling of what each may be given. The first rule whose namespaces
    /// match decides; a client that no rule matches is refused. Without this field: clients of the server's own
    /// namespace, up to 1000 of them, with everything they ask for.
    #[serde(default = "default_client_rules")]
    #[schemars(length(min = 0, max = 32))]
    pub clients: Vec<ClientRule>,

    /// How often the tools may be called.
    #[serde(default)]
    pub limits: Limits,

    /// What is written down about each call.
    #[serde(default)]
    pub audit: Audit,

    /// The least severe events that the server logs. Audit records are written at every level.
    #[serde(default)]
    pub log_level: LogLevel,

    /// How many pods serve; without this field, one. Each holds its share of every limit: a limit below this number
    /// cannot be kept. `kubectl scale` sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<u16>,

    /// How each pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

/// How many pods serve an McpServer whose spec leaves the number open. The schema has no default: a number that somebody
/// wrote can be told from one that nobody did.
pub const DEFAULT_REPLICAS: u16 = 1;

impl McpServerSpec {
    /// How many pods are to serve.
    pub fn replicas(&self) -> u16 {
        self.replicas.unwrap_or(DEFAULT_REPLICAS)
    }
}

/// How callers prove who they are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.apiKey.mode != 'Off'").message("at least one method of authentication must be on"))]
pub struct Authentication {
    /// Keys in the header `x-api-key`.
    #[serde(default)]
    pub api_key: ApiKeyAuthentication,
}

/// Authentication by API key.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuthentication {
    /// `Optional`: a caller may present a key. `Off`: keys are not looked at.
    #[serde(default)]
    pub mode: MethodMode,
}

/// Whether a method of authentication is offered.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MethodMode {
    #[default]
    Optional,
    Off,
}

/// What is written down about each call.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// `Shape`: the declared arguments' names and types, never their values. `None`: nothing about them.
    #[serde(default)]
    pub arguments: AuditArguments,
    /// What happens while records cannot be written. `Refuse`: calls get 503, before any effect. `Drop`: calls are
    /// served, and the records that are lost are counted.
    #[serde(default)]
    pub on_overflow: OnOverflow,
}

/// How much of a call's arguments the audit log shows.
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

/// The least severe events that are logged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// How each pod runs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// CPU and memory of the server's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}
