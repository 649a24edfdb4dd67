//! A tool: what agents see of it, and how its backend is asked.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    duration::Duration,
    json_object::JsonObject,
    name::{BackendName, ToolName},
};

/// A tool: exactly one of `http` and `static` says how its work is done.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.http) != has(self.static)").message("exactly one of http and static must be set"))]
pub struct Tool {
    /// What agents call it by.
    pub name: ToolName,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub title: Option<String>,
    /// What it does, for the model that chooses among tools.
    #[schemars(length(min = 1, max = 4096))]
    pub description: String,
    /// The backend that does its work: one of `spec.backends`.
    pub backend: BackendName,
    /// `Read` or `Write`. Without it: `Read` for `static` and for the methods GET and HEAD, else `Write`.
    /// A client without `allowWrite` gets no tool that writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Whether each client's calls of it are held to `limits.expensiveTools` as well.
    #[serde(default)]
    pub expensive: bool,
    /// How long its backend may take to answer: `10ms` to `10m`.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// The JSON Schema (2020-12) of its arguments. `type` is `object`; `$ref` stays inside the document.
    #[serde(default = "any_arguments")]
    pub input_schema: JsonObject,
    /// How a REST backend is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpTool>,
    /// The answer itself.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticTool>,
    /// Where the records are in its answer, so that they can be counted and bounded. Without it an answer is one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Records>,
    /// What more the audit log may show of its calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<ToolAudit>,
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn any_arguments() -> JsonObject {
    JsonObject(Map::from_iter([("type".to_owned(), Value::from("object"))]))
}

/// What a call of a tool does to the backend's data.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    Read,
    Write,
}

/// How a REST backend is asked. `{name}` stands for an argument, `{{` and `}}` for a brace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.body) || !(self.method in ['GET', 'HEAD'])").message("GET and HEAD take no body"))]
pub struct HttpTool {
    /// The request's method.
    pub method: HttpMethod,
    /// The path below the backend's `url`. An argument fills one segment or a part of it, percent-encoded; it must be
    /// required by `inputSchema`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[^?#]*$"))]
    pub path: String,
    /// The query, by name. A pair whose argument is absent is left out; a list repeats its pair.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64), extend("maxProperties" = 64))]
    pub query: BTreeMap<String, String>,
    /// The JSON body. A string that is just `{name}` becomes the argument's value, of any type; the
    /// property is left out where the argument is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<JsonObject>,
}

/// The method of a request.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// An answer that no service is asked for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.structuredContent) || has(self.text)").message("structuredContent, text or both must be set"))]
pub struct StaticTool {
    /// The answer as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<JsonObject>,
    /// The answer as text; `{name}` stands for an argument, `{{` and `}}` for a brace. Without it, the JSON is the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    pub text: Option<String>,
}

/// Where the records are in a tool's answer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// The JSON pointer (RFC 6901) of the list in the answer; empty where the answer is the list.
    #[schemars(length(max = 512), regex(pattern = "^(/.*)?$"))]
    pub path: String,
    /// The argument that says how many records are wanted: it is set to the client's maximum where it is absent or higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub limit_argument: Option<String>,
    /// The JSON pointer of what leads to the next page; dropped where records were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^/.*$"))]
    pub cursor_path: Option<String>,
}

/// What more the audit log may show of a tool's calls.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolAudit {
    /// Arguments whose value is recorded: booleans, integers, enums, and strings with a `pattern` or `format: uuid`.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}
