//! A tool as a snapshot holds it: everything that can be done before a call is done here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use portcullis_crds::{
    BackendName, ToolName,
    check::{CheckedTool, CheckedToolKind},
    contract::{self, Effect, ToolKind},
    schema::InputSchema,
    template::Template,
};
use serde_json::{Map, Value, json};

use crate::{
    audit::arguments::Declared,
    backend::{HttpBackend, RequestTemplate},
    fingerprint::Fingerprint,
    limiter::Rate,
    metrics::{Metrics, ToolMetrics},
    protocol::{param_header::ParamHeader, result::ToolResult},
};

/// A tool of the policy in force.
pub struct Tool {
    pub name: ToolName,
    pub fingerprint: Fingerprint,
    pub backend: BackendName,
    pub effect: Effect,
    /// How often each client may call it, if it is expensive. The rate is that of all replicas together.
    pub expensive: Option<Rate>,
    pub timeout: Duration,
    /// `None` where any object will do.
    pub schema: Option<InputSchema>,
    /// Arguments that a header must repeat.
    pub param_headers: Vec<ParamHeader>,
    pub records: Option<Records>,
    pub work: Work,
    /// What of its arguments may be recorded.
    pub declared: Declared,
    pub metrics: ToolMetrics,
    /// Its entry in `tools/list`, as JSON.
    pub definition: String,
}

/// Where the records are in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// A JSON pointer.
    pub path: String,
    /// A JSON pointer.
    pub cursor: Option<String>,
    pub limit: Option<LimitArgument>,
}

/// The argument that says how many records are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitArgument {
    pub name: String,
    /// The schema's own maximum: what is set for a caller must not be refused for it.
    pub maximum: Option<u64>,
}

/// How its work is done.
pub enum Work {
    Http { backend: Arc<HttpBackend>, request: RequestTemplate },
    Static(StaticAnswer),
}

/// An answer that no backend is asked for.
pub struct StaticAnswer {
    /// JSON without white space.
    pub structured: Option<String>,
    pub text: Option<Template>,
    /// The members of its result, where neither arguments nor a maximum of records change them.
    pub members: Option<Bytes>,
    /// How many records it has; `None` where the list that is declared is not there.
    pub records: Option<u64>,
}

impl Tool {
    /// `None` if its backend is of another kind, which the policy's check rules out.
    pub fn new(
        (tool, compiled): (&contract::Tool, &CheckedTool),
        limits: &contract::Limits,
        backends: &HashMap<BackendName, Arc<HttpBackend>>,
        metrics: &Metrics,
    ) -> Option<Self> {
        let schema = &tool.input_schema.0;
        let records = tool.records.as_ref().map(|records| Records::new(records, schema));
        let work = match (&tool.kind, &compiled.kind) {
            (ToolKind::Http(http), CheckedToolKind::Http(templates)) => {
                let backend = backends.get(&tool.backend)?;
                let request = RequestTemplate::new(&backend.target().base, http.method, templates);
                Work::Http { backend: backend.clone(), request }
            }
            (ToolKind::Static(fixed), CheckedToolKind::Static(text)) => {
                Work::Static(StaticAnswer::new(fixed, text.clone(), records.as_ref()))
            }
            _ => return None,
        };
        let is_any_object = schema.len() == 1;
        Some(Self {
            name: tool.name.clone(),
            fingerprint: Fingerprint::of(&[tool.name.as_str()]),
            backend: tool.backend.clone(),
            effect: tool.effect(),
            expensive: tool.expensive.then(|| limits.expensive_tools.into()),
            timeout: tool.timeout.to_std(),
            schema: (!is_any_object).then(|| compiled.schema.clone()),
            param_headers: ParamHeader::declared(schema),
            records,
            work,
            declared: declared(tool),
            metrics: metrics.tool(tool.name.as_str()),
            definition: definition(tool),
        })
    }
}

impl Records {
    fn new(records: &contract::Records, schema: &Map<String, Value>) -> Self {
        let limit = records.limit_argument.as_ref().map(|name| {
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            let number = |keyword: &str| property.and_then(|property| property.get(keyword)).and_then(Value::as_u64);
            let below = number("exclusiveMaximum").map(|maximum| maximum.saturating_sub(1));
            let maximum = [number("maximum"), below].into_iter().flatten().min();
            LimitArgument { name: name.clone(), maximum }
        });
        Self { path: records.path.clone(), cursor: records.cursor_path.clone(), limit }
    }
}

impl StaticAnswer {
    fn new(fixed: &contract::StaticTool, text: Option<Template>, records: Option<&Records>) -> Self {
        let value = fixed.structured_content.as_ref().map(|object| Value::Object(object.0.clone()));
        let structured = value.as_ref().map(Value::to_string);
        let is_fixed = text.as_ref().is_none_or(|text| text.arguments().next().is_none());
        let members = is_fixed.then(|| {
            let text = match &text {
                Some(text) => crate::backend::render_text(text, &NO_ARGUMENTS),
                None => structured.clone().unwrap_or_default(),
            };
            ToolResult { text: &text, note: None, structured: structured.as_deref(), is_error: false }.members().into()
        });
        let count = match records {
            None => Some(1),
            Some(records) => value
                .as_ref()
                .and_then(|value| value.pointer(&records.path))
                .and_then(Value::as_array)
                .map(|list| list.len() as u64),
        };
        Self { structured, text, members, records: count }
    }
}

const NO_ARGUMENTS: crate::protocol::strict::Node<'static> =
    crate::protocol::strict::Node { raw: "{}", value: crate::protocol::strict::Json::Object(Vec::new()) };

fn declared(tool: &contract::Tool) -> Declared {
    let names = tool.input_schema.0.get("properties").and_then(Value::as_object);
    let values = tool.audit.iter().flat_map(|audit| &audit.values);
    Declared::new(names.into_iter().flat_map(|names| names.keys().map(String::as_str)), values.map(String::as_str))
}

fn definition(tool: &contract::Tool) -> String {
    let mut definition = json!({
        "name": tool.name.as_str(),
        "description": tool.description,
        "inputSchema": tool.input_schema.0,
        "annotations": {"readOnlyHint": tool.effect() == Effect::Read},
    });
    if let Some(title) = &tool.title {
        definition["title"] = title.as_str().into();
    }
    definition.to_string()
}
