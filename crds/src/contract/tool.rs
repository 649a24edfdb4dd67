//! A tool: what agents see of it, and how it is executed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::listing::{Icon, ToolAnnotations};
use crate::{
    duration::Duration,
    json_object::{JsonObject, JsonValue},
    name::{BackendName, ToolName},
    union::{NotExactlyOne, exactly_one},
};

/// A tool. Exactly one of `http` and `static` defines how it is executed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(try_from = "Fields", into = "Fields")]
#[schemars(try_from = "Fields", into = "Fields")]
pub struct Tool {
    pub name: ToolName,
    pub title: Option<String>,
    pub description: String,
    /// The name of the backend that executes it.
    pub backend: BackendName,
    /// What the document states; [`Tool::effect`] is what applies.
    pub stated_effect: Option<Effect>,
    /// Whether `limits.expensiveTools` applies to it as well.
    pub expensive: bool,
    /// How long its backend may take to answer.
    pub timeout: Duration,
    /// The JSON Schema of its arguments.
    pub input_schema: JsonObject,
    /// The JSON Schema of its structured content.
    pub output_schema: Option<JsonObject>,
    pub annotations: Option<ToolAnnotations>,
    pub icons: Vec<Icon>,
    pub kind: ToolKind,
    pub records: Option<Records>,
    pub audit: Option<ToolAudit>,
}

/// How a tool is executed. The kinds are those of backends.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind {
    Http(HttpTool),
    Static(StaticTool),
}

impl ToolKind {
    /// The field that states it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Static(_) => "static",
        }
    }
}

impl Tool {
    /// The stated effect, or otherwise the one that follows from the request: only GET and HEAD requests are known to read.
    pub fn effect(&self) -> Effect {
        self.stated_effect.unwrap_or(match &self.kind {
            ToolKind::Static(_) => Effect::Read,
            ToolKind::Http(http) if http.method.is_read() => Effect::Read,
            ToolKind::Http(_) => Effect::Write,
        })
    }
}

/// What a call of a tool does to the backend's data.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    Read,
    Write,
}

/// The request to a REST backend. `{name}` stands for an argument, `{{` and `}}` for a brace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpTool {
    /// The method of the request.
    pub method: HttpMethod,
    /// The path below the backend's URL. An argument fills a segment or a part of one.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// The arguments in the path whose values may contain `/` and `\`, which are percent-encoded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub encoded_slashes: Vec<String>,
    /// The query parameters, by name. A parameter whose argument is absent or null is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64), extend("maxProperties" = 64))]
    pub query: BTreeMap<String, String>,
    /// How the parameters of the query and the fields of the form write lists and objects, by their names: `Repeat` if nothing is
    /// said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64), extend("maxProperties" = 64))]
    pub styles: BTreeMap<String, Style>,
    /// The JSON body. A string that is only `{name}` is replaced by the argument's value, of any type. At most one of `body`, `form`
    /// and `multipart` may be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<JsonValue>,
    /// The fields of a body of the type `application/x-www-form-urlencoded`, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("maxProperties" = 64))]
    pub form: Option<BTreeMap<String, String>>,
    /// The parts of a body of the type `multipart/form-data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub multipart: Option<Vec<FormPart>>,
}

/// How a list or an object is written.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// A pair for each item of a list: `a=1&a=2`.
    #[default]
    Repeat,
    /// The items of a list with commas between them: `a=1,2`.
    Comma,
    /// A pair for each property of an object: `a[x]=1&a[y]=2`.
    DeepObject,
}

/// A part of a multipart body.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FormPart {
    /// The name of the field.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// The text of the part.
    #[schemars(length(max = 65_536))]
    pub value: String,
    /// What `value` is: `Text`, or `Base64` for a single argument whose bytes are the part.
    #[serde(default, skip_serializing_if = "PartEncoding::is_text")]
    pub encoding: PartEncoding,
    /// The name of the file that the part is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub filename: Option<String>,
    /// The media type of the part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub content_type: Option<String>,
}

/// What the value of a part is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartEncoding {
    #[default]
    Text,
    Base64,
}

impl PartEncoding {
    fn is_text(&self) -> bool {
        *self == Self::Text
    }
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

impl HttpMethod {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether the method only reads (RFC 9110 section 9.2.1).
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// The answer of a tool without a service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StaticTool {
    /// The answer as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<JsonObject>,
    /// The answer as text. `{name}` stands for an argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    pub text: Option<String>,
}

/// Where an answer contains its records.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// The JSON pointer (RFC 6901) of the list of records in the answer. It is empty if the answer itself is the list.
    #[schemars(length(max = 512))]
    pub path: String,
    /// The argument that limits the number of records. It is set to the client's maximum, within the bounds of its schema, if it is
    /// absent or higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub limit_argument: Option<String>,
    /// The JSON pointer (RFC 6901) of the cursor of the next page. The cursor is removed if records were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub cursor_path: Option<String>,
}

/// What the audit log contains about a tool's calls.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolAudit {
    /// The arguments whose values are recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub values: Vec<String>,
}

/// A tool as it is written in the document.
#[derive(Serialize, Deserialize, JsonSchema, Clone)]
#[serde(rename_all = "camelCase")]
struct Fields {
    /// The name by which agents call the tool.
    name: ToolName,
    /// A display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    title: Option<String>,
    /// What the tool does. The model reads this when it selects a tool.
    #[schemars(length(min = 1, max = 4096))]
    description: String,
    /// The name of the backend that executes the tool.
    backend: BackendName,
    /// Whether the tool only reads data or also writes it. If it is absent, it is `Read` for `static` tools and for the methods
    /// GET and HEAD, and `Write` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    /// Whether `limits.expensiveTools` also applies to the tool.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    expensive: bool,
    /// How long the backend may take to answer, from `10ms` to `10m`.
    #[serde(default = "default_timeout", skip_serializing_if = "is_default_timeout")]
    timeout: Duration,
    /// The JSON Schema (2020-12) of the tool's arguments.
    #[serde(default = "any_arguments", skip_serializing_if = "are_any_arguments")]
    input_schema: JsonObject,
    /// The JSON Schema (2020-12) of the structured content of the tool's results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_schema: Option<JsonObject>,
    /// Hints about the tool's calls, for clients that ask their users before a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<ToolAnnotations>,
    /// Icons that clients may show to their users (revision 2025-11-25 and later).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    icons: Vec<Icon>,
    /// The request to a REST backend. Exactly one of `http` and `static` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpTool>,
    /// The answer of a tool without a service.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    fixed: Option<StaticTool>,
    /// Where the answer contains its records. If it is absent, an answer counts as one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    records: Option<Records>,
    /// What the audit log contains about the tool's calls in addition to `spec.audit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit: Option<ToolAudit>,
}

/// The longest that a tool's timeout may be.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn is_default_timeout(timeout: &Duration) -> bool {
    *timeout == default_timeout()
}

fn any_arguments() -> JsonObject {
    JsonObject(Map::from_iter([("type".to_owned(), Value::from("object"))]))
}

fn are_any_arguments(schema: &JsonObject) -> bool {
    *schema == any_arguments()
}

impl TryFrom<Fields> for Tool {
    type Error = NotExactlyOne;

    fn try_from(fields: Fields) -> Result<Self, NotExactlyOne> {
        let kind =
            exactly_one([("http", fields.http.map(ToolKind::Http)), ("static", fields.fixed.map(ToolKind::Static))])?;
        Ok(Self {
            name: fields.name,
            title: fields.title,
            description: fields.description,
            backend: fields.backend,
            stated_effect: fields.effect,
            expensive: fields.expensive,
            timeout: fields.timeout,
            input_schema: fields.input_schema,
            output_schema: fields.output_schema,
            annotations: fields.annotations,
            icons: fields.icons,
            kind,
            records: fields.records,
            audit: fields.audit,
        })
    }
}

impl From<Tool> for Fields {
    fn from(tool: Tool) -> Self {
        let mut fields = Self {
            name: tool.name,
            title: tool.title,
            description: tool.description,
            backend: tool.backend,
            effect: tool.stated_effect,
            expensive: tool.expensive,
            timeout: tool.timeout,
            input_schema: tool.input_schema,
            output_schema: tool.output_schema,
            annotations: tool.annotations,
            icons: tool.icons,
            http: None,
            fixed: None,
            records: tool.records,
            audit: tool.audit,
        };
        match tool.kind {
            ToolKind::Http(http) => fields.http = Some(http),
            ToolKind::Static(fixed) => fields.fixed = Some(fixed),
        }
        fields
    }
}
