//! The fields of a schema, as rows of a page.

use std::fmt::Write;

use serde_json::Value;

use crate::duration::Duration;

/// One field of a schema.
pub(super) struct Field {
    /// Such as `spec.tools[].name`.
    pub path: String,
    /// The type and its bounds, such as `integer, 1 to 100`.
    pub kind: String,
    pub is_required: bool,
    /// As JSON; `None` if the schema has no default, or one that is an object or a list.
    pub default: Option<String>,
    pub description: String,
}

/// All fields below a schema, depth first. `is_leaf` selects the fields whose own fields are described elsewhere.
pub(super) fn fields(at: &str, schema: &Value, is_leaf: &impl Fn(&str) -> bool) -> Vec<Field> {
    if schema["type"] == "array" {
        return fields(&format!("{at}[]"), &schema["items"], is_leaf);
    }
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut all = Vec::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        all.push(Field {
            path: path.clone(),
            kind: kind(field),
            is_required: required.contains(&name.as_str()),
            default: default(&field["default"]),
            description: field["description"].as_str().unwrap_or_default().to_owned(),
        });
        if !is_leaf(name) {
            all.extend(fields(&path, field, is_leaf));
        }
    }
    all
}

/// Adds a row to a Markdown table.
pub(super) fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('\n', " ").replace('|', "\\|")).collect();
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}

fn default(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) | Value::Array(_) => None,
        value => Some(value.to_string()),
    }
}

fn kind(field: &Value) -> String {
    if field["pattern"] == Duration::PATTERN {
        return "duration".to_owned();
    }
    if field["format"] == "date-time" {
        return "time (RFC 3339)".to_owned();
    }
    let of = |field: &Value| field["type"].as_str().unwrap_or("any").to_owned();
    let mut text = match &field["additionalProperties"]["type"] {
        Value::String(kind) => format!("map of {kind}"),
        _ if field["type"] == "array" => format!("list of {}", of(&field["items"])),
        _ => of(field),
    };
    let values: Vec<_> = field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !values.is_empty() {
        text = values.join(" or ");
    }
    let bounds =
        [("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items")];
    for (low, high, unit) in bounds {
        let _ = match (field[low].as_f64().filter(|low| *low > 0.0 || unit.is_empty()), field[high].as_f64()) {
            (Some(low), Some(high)) => write!(text, ", {low} to {high}{unit}"),
            (None, Some(high)) => write!(text, ", at most {high}{unit}"),
            _ => Ok(()),
        };
    }
    text
}
