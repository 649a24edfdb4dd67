//! A tool in a snapshot: everything that can be done before a call is done here.

use std::{collections::HashSet, time::Duration};

use portcullis_crds::{
    ToolName,
    check::CheckedTool,
    contract::{self, Effect},
    schema::{InputSchema, OutputSchema, WholeNumbers},
};
use serde_json::Value;

use super::definition::Definition;
use crate::{
    audit::arguments::Declared,
    backend::ToolWork,
    fingerprint::Fingerprint,
    limiter::Rate,
    metrics::{Metrics, ToolMetrics},
    protocol::param_header::ParamHeader,
};

/// A tool of the policy in force.
pub struct Tool {
    pub name: ToolName,
    pub fingerprint: Fingerprint,
    pub effect: Effect,
    /// How often each client may call it, if it is expensive. The rate is that of all replicas together.
    pub expensive: Option<Rate>,
    pub timeout: Duration,
    /// `None` if any object is valid.
    pub schema: Option<InputSchema>,
    /// The schema of its structured content, if it has one.
    pub output: Option<OutputSchema>,
    /// The arguments that may be absent but not null: models send null for what they leave out.
    pub absent_if_null: HashSet<Box<str>>,
    /// The arguments that headers must repeat.
    pub param_headers: Vec<ParamHeader>,
    pub records: Option<Records>,
    pub work: ToolWork,
    /// What may be recorded of its arguments.
    pub declared: Declared,
    pub metrics: ToolMetrics,
    /// Its entry in `tools/list`.
    pub definition: Definition,
}

/// Where the records are in the output.
#[derive(Clone, Debug)]
pub struct Records {
    /// The JSON pointer of the list.
    pub path: String,
    /// The JSON pointer of the cursor of the next page.
    pub cursor: Option<String>,
    pub limit: Option<LimitArgument>,
}

/// The argument that limits the number of records.
#[derive(Clone, Debug)]
pub struct LimitArgument {
    pub name: String,
    pub numbers: WholeNumbers,
}

impl Tool {
    pub fn new(
        tool: &contract::Tool,
        checked: &CheckedTool,
        work: ToolWork,
        limits: &contract::Limits,
        metrics: &Metrics,
    ) -> Self {
        let schema = &tool.input_schema.0;
        // `type: object` alone, which arguments always are.
        let is_any_object = schema.len() == 1;
        let records = tool.records.as_ref().map(|records| Records::new(records, &checked.schema));
        Self {
            name: tool.name.clone(),
            fingerprint: Fingerprint::of(&[tool.name.as_str()]),
            effect: tool.effect(),
            expensive: tool.expensive.then(|| limits.expensive_tools.into()),
            timeout: tool.timeout.to_std(),
            schema: (!is_any_object).then(|| checked.schema.clone()),
            output: checked.output.clone(),
            absent_if_null: checked.schema.absent_if_null(),
            param_headers: ParamHeader::declared(schema),
            work,
            declared: declared(tool, &checked.recorded),
            metrics: metrics.tool(tool.name.as_str()),
            definition: Definition::new(
                tool,
                &checked.icons,
                records.as_ref().and_then(|records| records.limit.as_ref()),
            ),
            records,
        }
    }
}

impl Records {
    fn new(records: &contract::Records, schema: &InputSchema) -> Self {
        let limit = records.limit_argument.as_ref();
        let limit = limit.map(|name| LimitArgument { name: name.clone(), numbers: schema.whole_numbers(name) });
        Self { path: records.path.clone(), cursor: records.cursor_path.clone(), limit }
    }
}

fn declared(tool: &contract::Tool, recorded: &[String]) -> Declared {
    let names = tool.input_schema.0.get("properties").and_then(Value::as_object);
    let values = recorded.iter().map(String::as_str);
    Declared::new(names.into_iter().flat_map(|names| names.keys().map(String::as_str)), values)
}
