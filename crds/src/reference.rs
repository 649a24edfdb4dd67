//! The reference page of the two resources, printed from their schemas and vocabularies, so that it cannot be out of date.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    condition::{ConditionType, Reason},
    manifest,
};

/// The page, as Markdown.
pub fn resources() -> String {
    let mut page = String::from(
        "# The resources\n\n\
         `portcullis.dev/v1alpha1`. Printed from the types by `make generate`; `kubectl explain mcpserver.spec` says the same.\n\n\
         A grant is an intersection: what a McpClient asks for, within what the McpServer's rule for its namespace allows.\n\
         Durations are written `30s`, `1m30s`, `720h`.\n",
    );
    for (_, definition) in manifest::all() {
        let kind = &definition.spec.names.kind;
        let schema = serde_json::to_value(&definition).unwrap_or_default();
        for part in ["spec", "status"] {
            let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}");
            if let Some(schema) = schema.pointer(&pointer) {
                write_part(&mut page, kind, part, schema);
            }
        }
    }
    page.push_str("\n## Conditions\n\n| type | meaning |\n|---|---|\n");
    for condition in ConditionType::ALL {
        row(&mut page, &[condition.as_str(), condition.sentence()]);
    }
    page.push_str("\n## Reasons\n\nOf conditions, and of events.\n\n| reason | meaning |\n|---|---|\n");
    for reason in Reason::ALL {
        row(&mut page, &[reason.as_str(), reason.sentence()]);
    }
    page
}

fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('\n', " ").replace('|', "\\|")).collect();
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}

fn write_part(page: &mut String, kind: &str, part: &str, schema: &Value) {
    page.push_str(&format!("\n## {kind} `{part}`\n\n| field | type | meaning |\n|---|---|---|\n"));
    let mut rules = Vec::new();
    fields(page, part, schema, &mut rules);
    if !rules.is_empty() {
        page.push_str("\nThe API server also refuses what breaks these:\n\n");
        for (at, message) in rules {
            page.push_str(&format!("* `{at}`: {message}\n"));
        }
    }
}

/// One row for each field below `schema`, depth first; the CEL rules are collected on the way.
fn fields(page: &mut String, at: &str, schema: &Value, rules: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        rules.push((at.to_owned(), rule["message"].as_str().unwrap_or_default().to_owned()));
    }
    if schema["type"] == "array" {
        return fields(page, &format!("{at}[]"), &schema["items"], rules);
    }
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let here = format!("{at}.{name}");
        let description = field["description"].as_str().unwrap_or_default();
        let cells = [format!("`{here}`"), kind_of(field, required.contains(&name.as_str())), description.to_owned()];
        row(page, &cells.each_ref().map(String::as_str));
        // What Kubernetes defines is described there.
        if !matches!(name.as_str(), "conditions" | "resources") {
            fields(page, &here, field, rules);
        }
    }
}

/// `string, required`, `integer 1..100, default 1`.
fn kind_of(field: &Value, is_required: bool) -> String {
    let mut text = match (field["type"].as_str(), field["items"]["type"].as_str()) {
        (Some("array"), Some(items)) => format!("list of {items}"),
        (Some(kind), _) => kind.to_owned(),
        (None, _) => "any".to_owned(),
    };
    let values: Vec<_> = field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !values.is_empty() {
        text = values.join(" or ");
    }
    for (low, high) in [("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")] {
        if let (Some(low), Some(high)) = (field[low].as_f64(), field[high].as_f64()) {
            let unit = if low == high {
                ""
            } else {
                match field["type"].as_str() {
                    Some("string") => " characters",
                    Some("array") => " items",
                    _ => "",
                }
            };
            let _ = write!(text, ", {low} to {high}{unit}");
        }
    }
    match &field["default"] {
        Value::Null if is_required => text.push_str(", required"),
        Value::Null | Value::Object(_) | Value::Array(_) => {}
        default => {
            let _ = write!(text, ", default {default}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_what_the_types_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/resources.md");
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(file, super::resources(), "run `make generate`: docs/resources.md is not what the types say");
    }
}
