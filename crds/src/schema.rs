//! The JSON Schema of a tool's arguments (draft 2020-12), compiled so that nothing an argument says can make it slow
//! or reach out: a linear-time regex engine, no reference that leaves the document.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

/// The most bytes that a schema may have, written as JSON without white space.
pub const MAX_BYTES: usize = 64 * 1024;

/// A compiled schema of a tool's arguments.
#[derive(Clone, Debug)]
pub struct InputSchema {
    validator: std::sync::Arc<Validator>,
}

/// Arguments were refused. The texts hold names of the schema and places in the arguments, never their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The keyword of the schema that refuses: `maxLength`.
    pub keyword: String,
    /// Where in the arguments, as a JSON pointer. May hold names that the caller made up.
    pub instance_path: String,
    /// Where in the schema, as a JSON pointer. Holds nothing of the caller's.
    pub schema_path: String,
}

impl InputSchema {
    /// # Errors
    /// A sentence about why this is no schema that can be served.
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
            return Err(format!("refers to `{reference}`; only references into the document itself (#…) are allowed"));
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex().size_limit(1 << 20))
            .should_validate_formats(true)
            .offline()
            .build(&schema)
            .map_err(|error| {
                format!("is no JSON Schema that can be compiled: at `{}`: {error}", error.instance_path())
            })?;
        Ok(Self { validator: std::sync::Arc::new(validator) })
    }

    /// # Errors
    /// The first thing that the schema refuses.
    pub fn validate(&self, arguments: &Value) -> Result<(), Violation> {
        self.validator.validate(arguments).map_err(|error| Violation {
            keyword: error.kind().keyword().to_owned(),
            instance_path: error.instance_path().to_string(),
            schema_path: error.schema_path().to_string(),
        })
    }
}

/// A `$ref` or `$dynamicRef` that leaves the document, or an `$id` that would move its root.
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
    fn a_refusal_names_the_keyword_and_the_place_and_no_value() {
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
    fn schemas_that_reach_out_or_backtrack_are_refused() {
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
