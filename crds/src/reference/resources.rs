//! The page of the two resources.

use serde_json::Value;

use super::fields::{fields, row};
use crate::{
    condition::{ConditionType, Reason},
    manifest,
};

/// The page, as Markdown.
pub fn resources() -> String {
    let mut page = String::from(
        "# The resources\n\n\
         `portcullis.dev/v1alpha1`. Printed from the types by `make generate`; `kubectl explain mcpserver.spec` prints the same.\n\n\
         A grant is an intersection: what an McpClient requests, within what the McpServer's rule for its namespace allows.\n\
         A duration is whole numbers with the units `h`, `m`, `s` and `ms`, such as `30s`, `1m30s` or `720h`; a time has seconds and an\n\
         offset, such as `2027-01-01T00:00:00Z`. [operator.md](operator.md#manifests) has the forms of all texts.\n",
    );
    for (_, definition) in manifest::all() {
        let kind = &definition.spec.names.kind;
        let schema = serde_json::to_value(&definition).expect("a definition must have a JSON form");
        for part in ["spec", "status"] {
            let schema = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part];
            page.push_str(&format!("\n## {kind} `{part}`\n\n| field | type | meaning |\n|---|---|---|\n"));
            // Kubernetes documents the fields of these.
            for field in fields(part, schema, &|name| matches!(name, "conditions" | "resources")) {
                let more = match (&field.default, field.is_required) {
                    (Some(default), _) => format!(", default {default}"),
                    (None, true) => ", required".to_owned(),
                    (None, false) => String::new(),
                };
                row(&mut page, &[&format!("`{}`", field.path), &(field.kind + &more), &field.description]);
            }
            let mut rules = Vec::new();
            cel_rules(part, schema, &mut rules);
            if !rules.is_empty() {
                page.push_str("\nThe API server also enforces these rules:\n\n");
                page.extend(rules.iter().map(|(at, message)| format!("* `{at}`: {message}\n")));
            }
        }
    }
    page.push_str("\n## Conditions\n\n| type | meaning |\n|---|---|\n");
    for condition in ConditionType::ALL {
        row(&mut page, &[condition.as_str(), condition.sentence()]);
    }
    page.push_str("\n## Reasons\n\nThe reasons of conditions and of events.\n\n| reason | meaning |\n|---|---|\n");
    for reason in Reason::ALL {
        row(&mut page, &[reason.as_str(), reason.sentence()]);
    }
    page
}

/// The message of each CEL rule below a schema, with the path of what it is about.
fn cel_rules(at: &str, schema: &Value, rules: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        rules.push((at.to_owned(), rule["message"].as_str().unwrap_or_default().to_owned()));
    }
    if schema["type"] == "array" {
        return cel_rules(&format!("{at}[]"), &schema["items"], rules);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        cel_rules(&format!("{at}.{name}"), field, rules);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_printed_from_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/resources.md");
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(file, super::resources(), "run `make generate`: docs/resources.md differs from the types");
    }
}
