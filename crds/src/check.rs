//! What a schema cannot say about a server: that its parts fit together. Operator, command line and server ask here,
//! so that none of them serves what another would refuse.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, Hir, HirKind, Look};
use serde_json::{Map, Value};

use crate::{
    duration::Duration,
    finding::Findings,
    policy::Serving,
    schema::InputSchema,
    server::{Answer, ClientRule, HttpTool, MethodMode, Rate, Records, StaticTool, Target, Tool},
    template::{JsonTemplate, PathTemplate, Template, TemplateError},
};

/// Names that `/health` gives to its own checks.
const RESERVED_BACKENDS: [&str; 3] = ["audit", "policy", "redis"];
/// What a limit's span may be.
const SPANS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// What a tool's timeout may be.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(600);

/// All that is wrong with a server's half, shared by `replicas` pods; paths begin with `spec`.
pub fn serving(spec: &Serving, replicas: u16) -> Findings {
    let mut findings = Findings::default();
    let mut names = BTreeSet::new();
    for (n, backend) in spec.backends.iter().enumerate() {
        let at = format!("spec.backends[{n}]");
        if !names.insert(backend.name.as_str()) {
            findings.add(format!("{at}.name"), format!("`{}` is there twice", backend.name));
        }
        if RESERVED_BACKENDS.contains(&backend.name.as_str()) {
            findings
                .add(format!("{at}.name"), format!("`{}` is a check of /health; choose another name", backend.name));
        }
        match backend.target() {
            Some(Target::Http(http)) => url(&http.url, &format!("{at}.http.url"), &mut findings),
            Some(Target::Static) => {}
            None => findings.add(at, "exactly one of http and static must be set"),
        }
    }
    let mut names = BTreeSet::new();
    for (n, tool) in spec.tools.iter().enumerate() {
        let at = format!("spec.tools[{n}]");
        if !names.insert(tool.name.as_str()) {
            findings.add(format!("{at}.name"), format!("`{}` is there twice", tool.name));
        }
        self::tool(tool, spec, &at, &mut findings);
    }
    if spec.authentication.api_key.mode == MethodMode::Off {
        findings.add("spec.authentication.apiKey.mode", "at least one method of authentication must be on");
    }
    for (n, rule) in spec.clients.iter().enumerate() {
        client_rule(rule, spec, replicas, &format!("spec.clients[{n}]"), &mut findings);
    }
    limits(spec, replicas, &mut findings);
    findings
}

fn url(url: &str, at: &str, findings: &mut Findings) {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else {
        return findings.add(at, "must begin with http:// or https://");
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty()
        || rest.contains(['?', '#', '@', '\\'])
        || rest.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        findings.add(at, "must be a host, perhaps a port and a path; no user, query or fragment");
    } else if let Some((_, port)) = authority.rsplit_once(':')
        && !authority.ends_with(']')
        && port.parse::<u16>().is_err()
    {
        findings.add(at, "has a port that is no number from 0 to 65535");
    }
    if let Some((_, path)) = rest.split_once('/')
        && !path.is_empty()
        && let Err(error) = PathTemplate::parse(&format!("/{path}"))
    {
        findings.add(at, format!("its path {error}"));
    }
}

fn tool(tool: &Tool, spec: &Serving, at: &str, findings: &mut Findings) {
    let backend = spec.backends.iter().find(|backend| backend.name == tool.backend);
    match (backend.map(|backend| backend.target()), tool.answer()) {
        (_, None) => findings.add(at, "exactly one of http and static must be set"),
        (None, _) => {
            let known: Vec<_> = spec.backends.iter().map(|backend| backend.name.as_str()).collect();
            let message = format!("`{}` is no backend of this server; there are: {}", tool.backend, known.join(", "));
            findings.add(format!("{at}.backend"), message);
        }
        (Some(Some(Target::Http(_))), Some(Answer::Static(_))) => {
            findings.add(
                format!("{at}.static"),
                format!("backend `{}` is http; say how it is asked in `http`", tool.backend),
            );
        }
        (Some(Some(Target::Static)), Some(Answer::Http(_))) => {
            findings
                .add(format!("{at}.http"), format!("backend `{}` is static; say the answer in `static`", tool.backend));
        }
        _ => {}
    }
    if !TIMEOUTS.contains(&tool.timeout) {
        findings.add(format!("{at}.timeout"), format!("must be from {} to {}", TIMEOUTS.start(), TIMEOUTS.end()));
    }
    let schema = &tool.input_schema.0;
    if let Err(error) = InputSchema::compile(schema) {
        findings.add(format!("{at}.inputSchema"), error);
    }
    match tool.answer() {
        Some(Answer::Http(http)) => http_tool(http, schema, &format!("{at}.http"), findings),
        Some(Answer::Static(fixed)) => static_tool(fixed, schema, &format!("{at}.static"), findings),
        None => {}
    }
    if let Some(records) = &tool.records {
        self::records(records, schema, &format!("{at}.records"), findings);
    }
    for (n, name) in tool.audit.iter().flat_map(|audit| &audit.values).enumerate() {
        let at = format!("{at}.audit.values[{n}]");
        match property(schema, name) {
            None => findings.add(at, undeclared(schema, name)),
            Some(property) if !is_closed(property) => findings.add(
                at,
                format!("`{name}` could hold anything; only booleans, integers, enums, and strings with `format: uuid` or a `pattern` that begins with ^, ends with $ and admits at most {LONGEST_RECORDED} characters of a narrow class may be recorded"),
            ),
            Some(_) => {}
        }
    }
}

fn http_tool(http: &HttpTool, schema: &Map<String, Value>, at: &str, findings: &mut Findings) {
    match PathTemplate::parse(&http.path) {
        Ok(path) => {
            for name in path.arguments() {
                if property(schema, name).is_none() {
                    findings.add(format!("{at}.path"), undeclared(schema, name));
                } else if !required(schema).any(|required| required == name) {
                    findings.add(
                        format!("{at}.path"),
                        format!("`{name}` must be among inputSchema's `required`: a path has no place to leave out"),
                    );
                }
            }
        }
        Err(error) => findings.add(format!("{at}.path"), error.to_string()),
    }
    for (key, text) in &http.query {
        let at = format!("{at}.query.{key}");
        text_arguments(Template::parse(text), schema, &at, findings);
    }
    if let Some(body) = &http.body {
        if http.method.is_read() {
            findings.add(format!("{at}.body"), format!("{} takes no body", http.method.as_str()));
        }
        match JsonTemplate::parse(&Value::Object(body.0.clone())) {
            Ok(body) => declared(body.arguments(), schema, &format!("{at}.body"), findings),
            Err(error) => findings.add(format!("{at}.body"), error.to_string()),
        }
    }
}

fn static_tool(fixed: &StaticTool, schema: &Map<String, Value>, at: &str, findings: &mut Findings) {
    if fixed.structured_content.is_none() && fixed.text.is_none() {
        findings.add(at, "structuredContent, text or both must be set");
    }
    if let Some(text) = &fixed.text {
        text_arguments(Template::parse(text), schema, &format!("{at}.text"), findings);
    }
}

fn text_arguments(
    template: Result<Template, TemplateError>,
    schema: &Map<String, Value>,
    at: &str,
    findings: &mut Findings,
) {
    match template {
        Ok(template) => declared(template.arguments().collect(), schema, at, findings),
        Err(error) => findings.add(at, error.to_string()),
    }
}

fn declared(names: Vec<&str>, schema: &Map<String, Value>, at: &str, findings: &mut Findings) {
    for name in names {
        if property(schema, name).is_none() {
            findings.add(at, undeclared(schema, name));
        }
    }
}

fn records(records: &Records, schema: &Map<String, Value>, at: &str, findings: &mut Findings) {
    for (field, pointer) in [("path", Some(&records.path)), ("cursorPath", records.cursor_path.as_ref())] {
        if let Some(pointer) = pointer
            && !pointer.is_empty()
            && !pointer.starts_with('/')
        {
            findings.add(format!("{at}.{field}"), "must be a JSON pointer such as /items");
        }
    }
    if let Some(name) = &records.limit_argument {
        limit_argument(name, schema, &format!("{at}.limitArgument"), findings);
    }
}

/// The argument is set to the maximum of whichever client calls, so every number from 1 up must be one that it takes.
fn limit_argument(name: &str, schema: &Map<String, Value>, at: &str, findings: &mut Findings) {
    let Some(property) = property(schema, name) else { return findings.add(at, undeclared(schema, name)) };
    if property.get("type").and_then(Value::as_str) != Some("integer") {
        findings.add(at, format!("`{name}` must have `type: integer` in inputSchema"));
    }
    let low = |keyword: &str, most: f64| property.get(keyword).and_then(Value::as_f64).is_some_and(|low| low > most);
    if low("minimum", 1.0) || low("exclusiveMinimum", 0.0) {
        findings.add(
            at,
            format!("`{name}` must take 1 in inputSchema: a client with a smaller maximum could never call the tool"),
        );
    }
    for keyword in ["const", "enum", "multipleOf"] {
        if property.get(keyword).is_some() {
            findings.add(at, format!("`{name}` must not have `{keyword}` in inputSchema: it is set to the maximum of whichever client calls"));
        }
    }
}

fn client_rule(rule: &ClientRule, spec: &Serving, replicas: u16, at: &str, findings: &mut Findings) {
    for (n, name) in rule.allow.tools.iter().enumerate() {
        if name != "*" && !spec.tools.iter().any(|tool| tool.name.as_str() == name) {
            findings.add(format!("{at}.allow.tools[{n}]"), format!("`{name}` is no tool of this server"));
        }
    }
    if let Some(rate) = rule.allow.limits {
        self::rate(rate, &format!("{at}.allow.limits"), findings);
        share(rate.requests, replicas, &format!("{at}.allow.limits.requests"), findings);
    }
}

fn limits(spec: &Serving, replicas: u16, findings: &mut Findings) {
    let limits = &spec.limits;
    for (name, limit) in
        [("global", limits.global.rate()), ("perClient", limits.per_client), ("expensiveTools", limits.expensive_tools)]
    {
        rate(limit, &format!("spec.limits.{name}"), findings);
        share(limit.requests, replicas, &format!("spec.limits.{name}.requests"), findings);
    }
}

/// A limit's span is within its bounds.
pub fn rate(rate: Rate, at: &str, findings: &mut Findings) {
    if !SPANS.contains(&rate.per) {
        findings.add(format!("{at}.per"), format!("must be from {} to {}", SPANS.start(), SPANS.end()));
    }
    if rate.requests == 0 {
        findings.add(format!("{at}.requests"), "must be at least 1");
    }
}

/// Each of `replicas` pods gets at least one call of a limit.
pub fn share(requests: u32, replicas: u16, at: &str, findings: &mut Findings) {
    if requests > 0 && requests < u32::from(replicas) {
        let message = format!(
            "is {requests} for {replicas} replicas: each pod holds its share, and here that is none; raise it, or run fewer replicas"
        );
        findings.add(at, message);
    }
}

fn property<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn undeclared(schema: &Map<String, Value>, name: &str) -> String {
    let known = schema.get("properties").and_then(Value::as_object);
    let known: Vec<_> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("`{name}` is no property of inputSchema; there are: {known}")
}

/// The longest string that may be recorded.
const LONGEST_RECORDED: usize = 64;
/// A character class with more members than this lets any text through.
const WIDEST_CLASS: usize = 80;

/// A type whose values cannot hold a person's words.
fn is_closed(property: &Value) -> bool {
    let kind = property.get("type").and_then(Value::as_str);
    let text = |name: &str| property.get(name).and_then(Value::as_str);
    property.get("enum").is_some_and(Value::is_array)
        || matches!(kind, Some("boolean" | "integer"))
        || (kind == Some("string")
            && (text("format") == Some("uuid") || text("pattern").is_some_and(is_closed_pattern)))
}

/// A pattern that speaks of the whole string (JSON Schema's are not anchored), bounds its length, and admits no class of
/// characters that is as good as any.
fn is_closed_pattern(pattern: &str) -> bool {
    let Ok(pattern) = regex_syntax::parse(pattern) else { return false };
    let properties = pattern.properties();
    properties.look_set_prefix().contains(Look::Start)
        && properties.look_set_suffix().contains(Look::End)
        && properties.maximum_len().is_some_and(|length| length <= LONGEST_RECORDED)
        && !has_wide_class(&pattern)
}

fn has_wide_class(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Class(Class::Unicode(class)) => class.iter().map(|range| range.len()).sum::<usize>() > WIDEST_CLASS,
        HirKind::Class(Class::Bytes(class)) => class.iter().map(|range| range.len()).sum::<usize>() > WIDEST_CLASS,
        HirKind::Repetition(repetition) => has_wide_class(&repetition.sub),
        HirKind::Capture(capture) => has_wide_class(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_wide_class),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Look(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_cannot_hold_a_persons_words_may_be_recorded() {
        for closed in [
            json!({"type": "boolean"}),
            json!({"type": "integer"}),
            json!({"enum": ["a", "b"]}),
            json!({"type": "string", "format": "uuid"}),
            json!({"type": "string", "pattern": "^c-[0-9]{4}$"}),
            json!({"type": "string", "pattern": "^(?:lead|won)$"}),
        ] {
            assert!(is_closed(&closed), "{closed}");
        }
        for open in [
            json!({"type": "string"}),
            json!({"type": "string", "maxLength": 10}),
            json!({"type": "number"}),
            json!({"type": "string", "pattern": "[a-z]"}),
            json!({"type": "string", "pattern": "^[a-z]+$"}),
            json!({"type": "string", "pattern": "^.{1,20}$"}),
            json!({"type": "string", "pattern": "^[^x]{1,20}$"}),
            json!({"type": "string", "pattern": "^a|b$"}),
            json!({"type": "string", "pattern": "^[a-z]{1,65}$"}),
            json!({"type": "string", "format": "email"}),
        ] {
            assert!(!is_closed(&open), "{open}");
        }
    }

    #[test]
    fn the_argument_that_bounds_the_records_takes_every_maximum() {
        let found = |property: Value| {
            let schema = json!({"properties": {"limit": property}});
            let mut findings = Findings::default();
            limit_argument("limit", schema.as_object().unwrap(), "at", &mut findings);
            findings.0.len()
        };
        assert_eq!(found(json!({"type": "integer", "minimum": 1, "maximum": 500})), 0);
        for property in [
            json!({"type": "integer", "minimum": 20}),
            json!({"type": "integer", "exclusiveMinimum": 1}),
            json!({"type": "integer", "enum": [10, 20]}),
            json!({"type": "string"}),
        ] {
            assert_eq!(found(property.clone()), 1, "{property}");
        }
    }
}
