//! One tool: its schema compiles, its templates parse, and it fits its backend.

use super::{
    arguments::{Declared, limit_argument},
    listed, listing, output, recorded,
    request::{self, RequestTemplates},
};
use crate::{
    Findings,
    contract::{Icon, Records, ServerSpec, StaticTool, Tool, ToolKind},
    nearest::suggestion,
    schema::{Budget, InputSchema, OutputSchema},
    template::Template,
};

/// What was compiled of a tool.
#[derive(Clone, Debug)]
pub struct CheckedTool {
    pub schema: InputSchema,
    /// The schema of its structured content, if it has one.
    pub output: Option<OutputSchema>,
    pub kind: CheckedToolKind,
    /// The arguments whose values may be recorded: those of `audit.values` that cannot contain free text.
    pub recorded: Vec<String>,
    /// Those of its icons that clients may load.
    pub icons: Vec<Icon>,
}

/// What was parsed of a tool's work.
#[derive(Clone, Debug)]
pub enum CheckedToolKind {
    Http(RequestTemplates),
    /// The template of the text, if the answer has one.
    Static(Option<Template>),
}

/// Checks a tool. `None` if a server could not serve it as it is meant: a part of it cannot be parsed or compiled, it does not fit
/// its backend, or its records could not be found. Whatever else is found is of use for people only.
pub(super) fn check(
    tool: &Tool,
    spec: &ServerSpec,
    budget: &mut Budget,
    at: &str,
    findings: &mut Findings,
) -> Option<CheckedTool> {
    let fits = backend(tool, spec, at, findings);
    let arguments = Declared(&tool.input_schema.0);
    let schema = InputSchema::compile(&tool.input_schema.0, budget);
    let schema = schema.map_err(|error| findings.add(format!("{at}.inputSchema"), error)).ok();
    let output = output::check(tool, budget, at, findings);
    listing::annotations(tool, at, findings);
    let icons = listing::icons(tool, at, findings);
    let kind = match &tool.kind {
        ToolKind::Http(http) => {
            request::check(http, arguments, &format!("{at}.http"), findings).map(CheckedToolKind::Http)
        }
        ToolKind::Static(fixed) => static_text(fixed, arguments, &format!("{at}.static"), findings),
    };
    let declared = tool.records.as_ref();
    let has_records = declared
        .is_none_or(|declared| records(declared, arguments, schema.as_ref(), &format!("{at}.records"), findings));
    let recorded = recorded_values(tool, arguments, budget, &format!("{at}.audit.values"), findings);
    let checked = CheckedTool { schema: schema?, output: output?, kind: kind?, recorded, icons };
    (fits && has_records).then_some(checked)
}

/// Whether the backend exists, and is of the tool's kind.
fn backend(tool: &Tool, spec: &ServerSpec, at: &str, findings: &mut Findings) -> bool {
    let name = &tool.backend;
    match spec.backends.iter().find(|backend| backend.name == *name) {
        None => {
            let known = || spec.backends.iter().map(|backend| backend.name.as_str());
            let (suggestion, known) = (suggestion(name.as_str(), known()), listed(known()));
            let message = format!("`{name}` is not a backend of this server{suggestion}; its backends: {known}");
            findings.add(format!("{at}.backend"), message);
            false
        }
        Some(backend) if backend.kind.as_str() != tool.kind.as_str() => {
            let (wanted, found) = (backend.kind.as_str(), tool.kind.as_str());
            findings.add(
                format!("{at}.{found}"),
                format!("backend `{name}` is of the kind {wanted}; set `{wanted}` instead"),
            );
            false
        }
        Some(_) => true,
    }
}

fn static_text(
    fixed: &StaticTool,
    arguments: Declared<'_>,
    at: &str,
    findings: &mut Findings,
) -> Option<CheckedToolKind> {
    if fixed.structured_content.is_none() && fixed.text.is_none() {
        findings.add(at, "structuredContent, text or both must be set");
        return None;
    }
    let Some(text) = &fixed.text else { return Some(CheckedToolKind::Static(None)) };
    text_template(text, arguments, &format!("{at}.text"), findings).map(|text| CheckedToolKind::Static(Some(text)))
}

pub(super) fn text_template(
    text: &str,
    arguments: Declared<'_>,
    at: &str,
    findings: &mut Findings,
) -> Option<Template> {
    let template = Template::parse(text).map_err(|error| findings.add(at, error.to_string())).ok()?;
    arguments.check(template.arguments(), at, findings);
    Some(template)
}

/// Whether the records can be found.
fn records(
    records: &Records,
    arguments: Declared<'_>,
    schema: Option<&InputSchema>,
    at: &str,
    findings: &mut Findings,
) -> bool {
    let mut are_pointers = true;
    for (field, pointer) in [("path", Some(&records.path)), ("cursorPath", records.cursor_path.as_ref())] {
        if pointer.is_some_and(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            findings.add(format!("{at}.{field}"), "must be a JSON pointer such as /items");
            are_pointers = false;
        }
    }
    if let Some(name) = &records.limit_argument {
        limit_argument(name, arguments, schema, &format!("{at}.limitArgument"), findings);
    }
    are_pointers
}

/// The values that may be recorded.
fn recorded_values(
    tool: &Tool,
    arguments: Declared<'_>,
    budget: &mut Budget,
    at: &str,
    findings: &mut Findings,
) -> Vec<String> {
    let mut recorded = Vec::new();
    for (n, name) in tool.audit.iter().flat_map(|audit| &audit.values).enumerate() {
        match arguments.get(name) {
            None => findings.add(format!("{at}[{n}]"), arguments.undeclared(name)),
            Some(property) if arguments.hides_neighbours(property) || !recorded::is_closed(property, budget) => {
                let message = format!(
                    "`{name}` can contain free text; only booleans, integers, enums, strings with `format: uuid`, and strings \
                     with a `pattern` that begins with ^, ends with $ and admits at most {} characters of a narrow class may be \
                     recorded",
                    recorded::LONGEST
                );
                findings.add(format!("{at}[{n}]"), message);
            }
            Some(_) => recorded.push(name.clone()),
        }
    }
    recorded
}
