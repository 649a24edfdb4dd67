//! The backends that execute tools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backend_credentials::{BackendCredentials, BackendHeader};
use crate::{
    name::BackendName,
    union::{NotExactlyOne, exactly_one},
};

/// A backend: exactly one of `http` and `static`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(try_from = "Fields", into = "Fields")]
#[schemars(try_from = "Fields", into = "Fields")]
pub struct Backend {
    pub name: BackendName,
    /// Whether the server is unhealthy without it; otherwise it is degraded.
    pub critical: bool,
    pub kind: BackendKind,
    /// Headers of each call.
    pub headers: Vec<BackendHeader>,
    pub credentials: Option<BackendCredentials>,
}

impl Backend {
    /// A backend that is told nothing beside the requests of its tools.
    pub fn plain(name: BackendName, critical: bool, kind: BackendKind) -> Self {
        Self { name, critical, kind, headers: Vec::new(), credentials: None }
    }
}

/// The kinds of backend.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendKind {
    /// A REST service.
    Http(HttpBackend),
    /// No service: each tool contains its own answer.
    Static,
}

impl BackendKind {
    /// The field that states it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Static => "static",
        }
    }
}

/// A REST service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HttpBackend {
    /// The base URL: `http://` or `https://`, a host, and optionally a port and a path.
    #[schemars(length(min = 8, max = 2048))]
    pub url: String,
    /// The path of the health check, which is requested with GET. If it is absent, the check opens a connection and closes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub health_path: Option<String>,
}

/// A backend as it is written in the document.
#[derive(Serialize, Deserialize, JsonSchema, Clone)]
#[serde(rename_all = "camelCase")]
struct Fields {
    /// The name by which tools refer to the backend.
    name: BackendName,
    /// Whether the server counts as unhealthy while the backend is down. Otherwise it counts as degraded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    critical: bool,
    /// A REST service. Exactly one of `http` and `static` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpBackend>,
    /// No service, written as `{}`: each tool contains its own answer.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    fixed: Option<Nothing>,
    /// Headers of each call to the backend, but not of checks of its health.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    headers: Vec<BackendHeader>,
    /// The credential of the server at the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials: Option<BackendCredentials>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone)]
struct Nothing {}

impl TryFrom<Fields> for Backend {
    type Error = NotExactlyOne;

    fn try_from(fields: Fields) -> Result<Self, NotExactlyOne> {
        let kind = exactly_one([
            ("http", fields.http.map(BackendKind::Http)),
            ("static", fields.fixed.map(|Nothing {}| BackendKind::Static)),
        ])?;
        let Fields { name, critical, headers, credentials, .. } = fields;
        Ok(Self { name, critical, kind, headers, credentials })
    }
}

impl From<Backend> for Fields {
    fn from(backend: Backend) -> Self {
        let Backend { name, critical, kind, headers, credentials } = backend;
        let mut fields = Self { name, critical, http: None, fixed: None, headers, credentials };
        match kind {
            BackendKind::Http(http) => fields.http = Some(http),
            BackendKind::Static => fields.fixed = Some(Nothing {}),
        }
        fields
    }
}
