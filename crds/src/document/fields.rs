//! What a validator of JSON Schema accepts and the API server refuses: unknown fields, and sets with duplicates.

use serde_json::Value;

use crate::finding::Findings;

/// The most findings about one value: whoever mends these sees the others afterwards.
pub(super) const MOST: usize = 1_000;

/// Adds a finding for each field that the schema does not have, and for each duplicate in a set.
pub(super) fn check(schema: &Value, value: &Value, at: &str, findings: &mut Findings) {
    if findings.0.len() >= MOST {
        return;
    }
    match value {
        Value::Object(fields) => match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => {
                for (name, value) in fields {
                    let at = path(at, [name.as_str()]);
                    match properties.get(name) {
                        Some(schema) => check(schema, value, &at, findings),
                        None if findings.0.len() >= MOST => return,
                        None => {
                            let known: Vec<_> = properties.keys().map(String::as_str).collect();
                            findings.add(at, format!("unknown field; allowed fields: {}", known.join(", ")));
                        }
                    }
                }
            }
            None => {
                if let Some(schema) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
                    for (name, value) in fields {
                        check(schema, value, &path(at, [name.as_str()]), findings);
                    }
                }
            }
        },
        Value::Array(items) => {
            let Some(item_schema) = schema.get("items") else { return };
            let is_set = schema.get("x-kubernetes-list-type").is_some_and(|kind| kind == "set");
            for (n, item) in items.iter().enumerate() {
                if is_set && items[..n].contains(item) {
                    findings.add(format!("{at}[{n}]"), "appears twice");
                }
                check(item_schema, item, &format!("{at}[{n}]"), findings);
            }
        }
        _ => {}
    }
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
