//! Where a tool's work is done.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::BackendName;

/// A backend: exactly one of `http` and `static`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.http) != has(self.static)").message("exactly one of http and static must be set"))]
pub struct Backend {
    /// What tools call it by; also its name among the checks of `/health`.
    pub name: BackendName,
    /// Whether the server is unhealthy without it. Otherwise it is degraded.
    #[serde(default)]
    pub critical: bool,
    /// A REST service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpBackend>,
    /// No service at all: each tool carries its own answer.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticBackend>,
}

/// A REST service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HttpBackend {
    /// Where it is: `http://` or `https://`, a host, and perhaps a port and a path that comes before each tool's.
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://[^/?#@]+(/[^?#]*)?$"))]
    pub url: String,
    /// What is asked with GET to learn whether it is well: any answer below 500 says so. Without it a
    /// connection is opened and closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[^#]*$"))]
    pub health_path: Option<String>,
}

/// No service at all: each tool carries its own answer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaticBackend {}
