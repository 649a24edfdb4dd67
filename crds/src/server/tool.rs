//! A tool: what agents see of it, and how it is executed.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::listing::{Icon, ToolAnnotations};
use crate::{
    duration::Duration,
    json_object::{JsonObject, JsonValue},
    name::{BackendName, ToolName},
};

/// A tool. Exactly one of `http` and `static` defines how it is executed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.http) != has(self.static)").message("exactly one of http and static must be set"))]
pub struct Tool {
    /// The name by which agents call the tool.
    pub name: ToolName,
    /// A display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub title: Option<String>,
    /// What the tool does. The model reads this when it selects a tool.
    #[schemars(length(min = 1, max = 4096))]
    pub description: String,
    /// The name of the backend that executes the tool: one of `spec.backends`.
    pub backend: BackendName,
    /// Whether the tool only reads data or also writes it. If this field is not set, it is `Read` for `static` tools and for
    /// the methods GET and HEAD, and `Write` otherwise. A client without `allowWrite` is not granted tools that write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Whether `limits.expensiveTools` also applies to the tool.
    #[serde(default)]
    pub expensive: bool,
    /// How long the backend may take to answer, from `10ms` to `10m`.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// The JSON Schema (2020-12) of the tool's arguments. Its `type` must be `object`, and `$ref` must stay inside the document.
    #[serde(default = "any_arguments")]
    pub input_schema: JsonObject,
    /// The JSON Schema (2020-12) of the structured content of the tool's results. Its `type` must be `object`; an answer that is no
    /// object is the property `result` of one. An answer that does not conform is an error, unless the tool writes: then the result
    /// says that the call succeeded, in a form that the listed schema has beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<JsonObject>,
    /// Hints about the tool's calls, for clients that ask their users before a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<ToolAnnotations>,
    /// Icons that clients may show to their users (revision 2025-11-25 and later).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub icons: Vec<Icon>,
    /// The request to a REST backend. Exactly one of `http` and `static` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpTool>,
    /// The answer of a tool without a service.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticTool>,
    /// Where the answer contains its records, so that they can be counted and bounded. If this field is not set, an answer
    /// counts as one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Records>,
    /// What the audit log contains about the tool's calls in addition to `spec.audit`.
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

/// The request to a REST backend. `{name}` stands for an argument, `{{` and `}}` for a brace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.form) || has(self.multipart)) || !(self.method in ['GET', 'HEAD'])").message("GET and HEAD requests have no body"))]
#[x_kube(validation = Rule::new("!(has(self.form) && has(self.multipart))").message("at most one of body, form and multipart may be set"))]
pub struct HttpTool {
    /// The method of the request.
    pub method: HttpMethod,
    /// The path below the backend's `url`. `{name}` stands for an argument, which fills a segment or a part of one and is
    /// percent-encoded. The argument must be listed in `required` of `inputSchema`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[^?#]*$"))]
    pub path: String,
    /// The arguments in the path whose values may contain `/` and `\`, which are percent-encoded. Values of other arguments that
    /// contain one are refused, because services decode paths before they resolve them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub encoded_slashes: Vec<String>,
    /// The query parameters, by name. `{name}` in a value stands for an argument. A parameter whose argument is absent or null is
    /// left out; an argument that is a list repeats its parameter, unless `styles` says otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64), extend("maxProperties" = 64))]
    pub query: BTreeMap<String, String>,
    /// How the parameters of the query and the fields of the form write lists and objects, by their names. The value of such a
    /// parameter or field must be a single argument.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64), extend("maxProperties" = 64))]
    pub styles: BTreeMap<String, Style>,
    /// The JSON body: an object, a list, or `"{name}"` for an argument that is the whole body. `{name}` in a string stands for an
    /// argument. A string that is only `{name}` is replaced by the argument's value, of any type. A property or an item whose
    /// argument is absent or null is left out. At most one of `body`, `form` and `multipart` may be set, and none for GET and HEAD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<JsonValue>,
    /// The fields of a body of the type `application/x-www-form-urlencoded`, by name. They are written as those of `query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("maxProperties" = 64))]
    pub form: Option<BTreeMap<String, String>>,
    /// The parts of a body of the type `multipart/form-data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub multipart: Option<Vec<FormPart>>,
}

/// How a list or an object is written.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A pair for each item of a list: `a=1&a=2`.
    Repeat,
    /// The items of a list with commas between them: `a=1,2`.
    Comma,
    /// A pair for each property of an object: `a[x]=1&a[y]=2`.
    DeepObject,
}

/// A part of a multipart body. `{name}` stands for an argument. A part whose `value` has an argument that is absent or null is left
/// out, and so is the `filename`. An argument that is a list repeats its part.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FormPart {
    /// The name of the field.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// The text of the part.
    #[schemars(length(max = 65_536))]
    pub value: String,
    /// What `value` is: `Text`, or `Base64` for a single argument such as `{file}` whose bytes are the part (RFC 4648).
    #[serde(default)]
    pub encoding: PartEncoding,
    /// The name of the file that the part is. Without it the part is a plain field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub filename: Option<String>,
    /// The media type of the part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 128),
        regex(pattern = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9_-]+=[A-Za-z0-9_.-]+)*$")
    )]
    pub content_type: Option<String>,
}

/// What the value of a part is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartEncoding {
    #[default]
    Text,
    Base64,
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

/// The answer of a tool without a service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.structuredContent) || has(self.text)").message("structuredContent, text or both must be set"))]
pub struct StaticTool {
    /// The answer as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<JsonObject>,
    /// The answer as text. `{name}` stands for an argument, `{{` and `}}` for a brace. If this field is not set, or one of
    /// its arguments is absent or null, the text is the JSON of `structuredContent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    pub text: Option<String>,
}

/// Where an answer contains its records.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// The JSON pointer (RFC 6901) of the list of records in the answer. It is empty if the answer itself is the list.
    #[schemars(length(max = 512), regex(pattern = "^(/.*)?$"))]
    pub path: String,
    /// The argument that limits the number of records. It is set to the client's maximum, within the bounds of its schema, if it is
    /// absent or higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub limit_argument: Option<String>,
    /// The JSON pointer (RFC 6901) of the cursor of the next page. The cursor is removed if records were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^/.*$"))]
    pub cursor_path: Option<String>,
}

/// What the audit log contains about a tool's calls.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolAudit {
    /// The arguments whose values are recorded: booleans, integers, enums, and strings with a `pattern` or `format: uuid`.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}
