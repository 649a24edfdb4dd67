//! What a tool answers with: its schema compiles, and admits what is left of an answer whose records are bounded.

use serde_json::Value;

use crate::{
    Findings,
    contract::{Tool, ToolKind},
    schema::{Budget, Instance, OutputSchema, Steps},
};

/// The steps of the check of an answer that the policy contains: as many as a server takes for one.
const STEPS: Steps = Steps::new(4_000_000);

/// The schema of a tool's structured content, if it has one. `None` if a server could not serve the tool as it is meant.
pub(super) fn check(
    tool: &Tool,
    budget: &mut Budget,
    at: &str,
    findings: &mut Findings,
) -> Option<Option<OutputSchema>> {
    let Some(declared) = &tool.output_schema else { return Some(None) };
    let schema = OutputSchema::compile(&declared.0, budget);
    let schema = schema.map_err(|error| findings.add(format!("{at}.outputSchema"), error)).ok()?;
    bounded(tool, &declared.0, at, findings);
    if let ToolKind::Static(fixed) = &tool.kind {
        let at = format!("{at}.static.structuredContent");
        let Some(content) = &fixed.structured_content else {
            findings.add(at, "must be set, because the tool has an `outputSchema`");
            return None;
        };
        let why = match schema.check(&Instance::new(&Value::Object(content.0.clone())), STEPS) {
            Ok(Ok(())) => return Some(Some(schema)),
            Ok(Err(violation)) => violation.message,
            Err(_) => "it takes too long to check".to_owned(),
        };
        findings.add(at, format!("does not conform to the tool's `outputSchema`: {why}"));
        return None;
    }
    Some(Some(schema))
}

/// Checks that the schema admits what clients with a low maximum of records are given: fewer records, and no cursor.
fn bounded(tool: &Tool, schema: &serde_json::Map<String, Value>, at: &str, findings: &mut Findings) {
    let Some(records) = &tool.records else { return };
    // An answer that is a list is the property `result`.
    let list = schema_at(schema, if records.path.is_empty() { "/result" } else { &records.path });
    if let Some(least) = list.and_then(|list| list.get("minItems")?.as_f64()).filter(|least| *least > 1.0) {
        let message = format!("the records must not have `minItems: {least}`: a client may be given one of them");
        findings.add(format!("{at}.outputSchema"), message);
    }
    let cursor = records.cursor_path.as_deref().and_then(|path| path.rsplit_once('/'));
    let Some((parent, name)) = cursor else { return };
    let required = schema_at(schema, parent).and_then(|parent| parent.get("required")?.as_array());
    if required.is_some_and(|required| required.iter().any(|it| it == name)) {
        let message =
            format!("`{name}` must not be required by `outputSchema`: it is removed if records were left out");
        findings.add(format!("{at}.records.cursorPath"), message);
    }
}

/// The schema of what a pointer refers to, as far as it is plainly said: by `properties`.
fn schema_at<'a>(
    schema: &'a serde_json::Map<String, Value>,
    pointer: &str,
) -> Option<&'a serde_json::Map<String, Value>> {
    pointer.split('/').skip(1).try_fold(schema, |schema, token| schema.get("properties")?.get(token)?.as_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_output_schema_admits_what_clients_are_given() {
        let object = |properties: Value| json!({"type": "object", "required": ["next"], "properties": properties});
        let http = json!({"method": "GET", "path": "/"});
        for (more, is_served, expected) in [
            (json!({"http": http, "outputSchema": {"type": "object"}}), true, None),
            (
                json!({"http": http, "outputSchema": {"type": "array"}}),
                false,
                Some("t.outputSchema: must have `type: object`: the structured content of a result is an object"),
            ),
            (
                json!({"http": http, "outputSchema": {"type": "object", "properties": {"a": {"$ref": "http://elsewhere"}}}}),
                false,
                Some("t.outputSchema: is not a JSON Schema that can be compiled: at `/properties/a/$ref`: "),
            ),
            (
                json!({"http": http, "records": {"path": "/items", "cursorPath": "/next"}, "outputSchema": object(json!({}))}),
                true,
                Some(
                    "t.records.cursorPath: `next` must not be required by `outputSchema`: it is removed if records were left out",
                ),
            ),
            (
                json!({"http": http, "records": {"path": ""}, "outputSchema": object(json!({"result": {"minItems": 2}}))}),
                true,
                Some("t.outputSchema: the records must not have `minItems: 2`: a client may be given one of them"),
            ),
            (json!({"static": {"structuredContent": {"next": 1}}, "outputSchema": object(json!({}))}), true, None),
            (
                json!({"static": {"structuredContent": {}}, "outputSchema": object(json!({}))}),
                false,
                Some(
                    "t.static.structuredContent: does not conform to the tool's `outputSchema`: the required property `next` is missing",
                ),
            ),
            (
                json!({"static": {"text": "x"}, "outputSchema": object(json!({}))}),
                false,
                Some("t.static.structuredContent: must be set, because the tool has an `outputSchema`"),
            ),
        ] {
            let mut tool = json!({"name": "t", "description": "t", "backend": "b"});
            tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let mut findings = Findings::default();
            let checked = check(&serde_json::from_value(tool).unwrap(), &mut Budget::default(), "t", &mut findings);
            assert_eq!(checked.is_some(), is_served, "{more}");
            let found: Vec<_> = findings.0.iter().map(|it| format!("{}: {}", it.path, it.message)).collect();
            match expected {
                Some(expected) => assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}"),
                None => assert_eq!(found, [] as [String; 0], "{more}"),
            }
        }
    }
}
