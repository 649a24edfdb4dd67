//! The backends that execute tools.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credentials::{BackendCredentials, BackendHeader};
use crate::name::BackendName;

/// A backend: exactly one of `http` and `static`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.http) != has(self.static)").message("exactly one of http and static must be set"))]
pub struct Backend {
    /// The name by which tools refer to the backend. It is also the name of its check in `/health`.
    pub name: BackendName,
    /// Whether the server counts as unhealthy while the backend is down. Otherwise it counts as degraded.
    #[serde(default)]
    pub critical: bool,
    /// A REST service. Exactly one of `http` and `static` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpBackend>,
    /// No service: each tool contains its own answer.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticBackend>,
    /// Headers of each call to the backend. Checks of its health have none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<BackendHeader>,
    /// How this server authenticates itself to the backend. Refused beside a header `Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<BackendCredentials>,
}

/// A REST service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HttpBackend {
    /// The base URL: `http://` or `https://`, a host, and optionally a port and a path that precedes the path of each tool.
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://[^/?#@]+(/[^?#]*)?$"))]
    pub url: String,
    /// The path of the health check, which is requested with GET. Any status below 500 counts as healthy. If this field is
    /// not set, the check opens a connection and closes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[^#]*$"))]
    pub health_path: Option<String>,
}

/// No service: each tool contains its own answer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaticBackend {}
