//! The JSON Schema of a tool's arguments (draft 2020-12), compiled so that no argument can make it slow or cause requests: regular
//! expressions are matched in linear time, and references stay inside the document.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

/// The maximum size of a schema in bytes, as JSON without white space.
pub const MAX_BYTES: usize = 64 * 1024;

/// A compiled schema of a tool's arguments.
#[derive(Clone, Debug)]
pub struct InputSchema {
    validator: std::sync::Arc<Validator>,
}

/// Why arguments are refused. The texts contain names of the schema and paths in the arguments, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The keyword of the schema that refuses them, such as `maxLength`.
    pub keyword: String,
    /// Where in the arguments, as a JSON pointer. It may contain names that the caller chose.
    pub instance_path: String,
    /// Where in the schema, as a JSON pointer. It contains nothing from the caller.
    pub schema_path: String,
}

impl InputSchema {
    /// # Errors
    /// Returns why the schema is refused, as the message of a finding.
    pub fn compile(schema: &Map<String, Value>) -> Result<Self, String> {
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err("must have `type: object`: MCP passes arguments by name".into());
        }
        let schema = Value::Object(schema.clone());
        let bytes = schema.to_string().len();
        if bytes > MAX_BYTES {
            return Err(format!("has {bytes} bytes; at most {MAX_BYTES} are allowed"));
        }
        if let Some(reference) = foreign_reference(&schema) {
            return Err(format!("refers to `{reference}`; only references inside the document (#…) are allowed"));
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex().size_limit(1 << 20))
            .should_validate_formats(true)
            .offline()
            .build(&schema)
            .map_err(|error| {
                format!("is not a JSON Schema that can be compiled: at `{}`: {error}", error.instance_path())
            })?;
        Ok(Self { validator: std::sync::Arc::new(validator) })
    }

    /// # Errors
    /// Returns the first violation.
    pub fn validate(&self, arguments: &Value) -> Result<(), Violation> {
        self.validator.validate(arguments).map_err(|error| Violation {
            keyword: error.kind().keyword().to_owned(),
            instance_path: error.instance_path().to_string(),
            schema_path: error.schema_path().to_string(),
        })
    }
}

/// A `$ref` or `$dynamicRef` that leaves the document, or an `$id`, which would change what references mean.
fn foreign_reference(value: &Value) -> Option<&str> {
    match value {
        Value::Object(map) => map.iter().find_map(|(key, value)| match (key.as_str(), value) {
            ("$ref" | "$dynamicRef", Value::String(text)) if !text.starts_with('#') => Some(text.as_str()),
            ("$id", Value::String(text)) => Some(text.as_str()),
            _ => foreign_reference(value),
        }),
        Value::Array(items) => items.iter().find_map(foreign_reference),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(schema: Value) -> Result<InputSchema, String> {
        InputSchema::compile(schema.as_object().unwrap())
    }

    #[test]
    fn a_violation_names_the_keyword_and_the_path_but_no_value() {
        let schema = compile(json!({"type": "object", "required": ["q"], "additionalProperties": false,
            "properties": {"q": {"type": "string", "maxLength": 3}}}))
        .unwrap();
        assert_eq!(schema.validate(&json!({"q": "abc"})), Ok(()));
        let refused = |value| schema.validate(&value).unwrap_err();
        assert_eq!(
            refused(json!({"q": "canary"})),
            Violation {
                keyword: "maxLength".into(),
                instance_path: "/q".into(),
                schema_path: "/properties/q/maxLength".into(),
            }
        );
        assert_eq!(refused(json!({})).keyword, "required");
        assert_eq!(refused(json!({"q": "a", "canary": 1})).schema_path, "/additionalProperties");
    }

    #[test]
    fn schemas_with_foreign_references_or_backtracking_patterns_are_refused() {
        for (schema, part) in [
            (json!({"type": "string"}), "type: object"),
            (json!({"type": "object", "properties": {"a": {"$ref": "https://x.example/s"}}}), "https://x.example/s"),
            (json!({"type": "object", "$id": "https://x.example/s"}), "https://x.example/s"),
            (json!({"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}), "compiled"),
            (json!({"type": "object", "properties": {"a": {"type": "text"}}}), "compiled"),
            (json!({"type": "object", "description": "x".repeat(MAX_BYTES)}), "bytes"),
        ] {
            let error = compile(schema.clone()).unwrap_err();
            assert!(error.contains(part), "{schema}: {error}");
        }
        let local =
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "null"}}});
        assert!(compile(local).is_ok());
    }
}
