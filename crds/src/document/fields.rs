//! What decoding by itself accepts and the API server refuses: unknown fields, sets with duplicates, and lists in place of mappings.

use serde_json::{Map, Value};

use crate::{finding::Findings, nearest::suggestion};

/// The most findings about one value: whoever mends these sees the others afterwards.
pub(super) const MOST: usize = 1_000;

/// Says that an object may have fields that its schema does not have.
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Fields that the schema does not have, and duplicates in a set.
    pub unknown: bool,
    /// Values of another type than the schema's. The decoder by itself takes a list for a mapping: the fields in their order, and
    /// their defaults for those that the list does not have.
    pub types: bool,
}

/// Adds a finding for each value that breaks the rules.
pub(super) fn check(schema: &Value, value: &Value, rules: Rules, at: &str, findings: &mut Findings) {
    if findings.0.len() >= MOST {
        return;
    }
    if rules.types
        && let Some(expected) = schema.get("type").filter(|expected| !admits(expected, value))
    {
        findings.add(at, format!("is not of type {expected}"));
        return;
    }
    match value {
        Value::Object(fields) => {
            match (schema.get("properties").and_then(Value::as_object), schema.get("additionalProperties")) {
                (Some(properties), _) => check_fields(properties, fields, rules, at, findings),
                (None, Some(schema)) if schema.is_object() => {
                    for (name, value) in fields {
                        check(schema, value, rules, &path(at, [name.as_str()]), findings);
                    }
                }
                // The schema of a type without fields.
                (None, None) if names(&schema["type"], "object") && schema.get(PRESERVE).is_none() => {
                    check_fields(&Map::new(), fields, rules, at, findings);
                }
                (None, _) => {}
            }
        }
        Value::Array(items) => {
            let Some(item_schema) = schema.get("items") else { return };
            let is_set = schema.get("x-kubernetes-list-type").is_some_and(|kind| kind == "set");
            for (n, item) in items.iter().enumerate() {
                if rules.unknown && is_set && items[..n].contains(item) {
                    findings.add(format!("{at}[{n}]"), "appears twice");
                }
                check(item_schema, item, rules, &format!("{at}[{n}]"), findings);
            }
        }
        _ => {}
    }
}

fn check_fields(
    properties: &Map<String, Value>,
    fields: &Map<String, Value>,
    rules: Rules,
    at: &str,
    findings: &mut Findings,
) {
    for (name, value) in fields {
        let at = path(at, [name.as_str()]);
        match properties.get(name) {
            Some(schema) => check(schema, value, rules, &at, findings),
            None if findings.0.len() >= MOST => return,
            None if rules.unknown => {
                findings.add(at, unknown_field(name, properties.keys().map(String::as_str)));
            }
            None => {}
        }
    }
}

/// The message about a field that does not exist.
pub fn unknown_field<'a>(name: &str, allowed: impl Iterator<Item = &'a str> + Clone) -> String {
    let suggestion = suggestion(name, allowed.clone());
    let allowed: Vec<_> = allowed.collect();
    let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
    format!("unknown field{suggestion}; allowed fields: {allowed}")
}

/// Whether a value is of this type, or of one of these. The decoder decides about null, and about numbers that are not integers.
fn admits(expected: &Value, value: &Value) -> bool {
    let name = match value {
        Value::Null => return true,
        Value::Bool(_) => "boolean",
        Value::Number(_) => return ["integer", "number"].iter().any(|name| names(expected, name)),
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    names(expected, name)
}

fn names(expected: &Value, name: &str) -> bool {
    expected == name || expected.as_array().is_some_and(|all| all.iter().any(|one| one == name))
}

/// The path of a field: `spec.tools[3].backend` for the segments `tools`, `3`, `backend` below `spec`.
pub(super) fn path<'a>(root: &str, segments: impl IntoIterator<Item = &'a str>) -> String {
    let mut path = root.to_owned();
    for segment in segments {
        if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(segment);
        }
    }
    path
}
