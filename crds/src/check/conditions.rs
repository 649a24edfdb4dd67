//! Conditions on arguments that no call could meet: a mistake, because their tool would always be denied.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::{
    contract::{ArgumentCondition, ArgumentTest, Tool},
    schema::Number,
};

/// Keywords beside which `properties` does not say everything about a value.
const OTHER_KEYWORDS: [&str; 9] = [
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "patternProperties",
    "dependentSchemas",
    "unevaluatedProperties",
];

/// What is known of the values at a place.
enum Place<'a> {
    Schema(&'a Map<String, Value>),
    /// There is no such place.
    Missing,
    /// The schema is not as simple as to tell.
    Unknown,
}

/// Why no call of the tool can meet the condition; `None` if one may. It says nothing of the tool that whoever wrote the condition does
/// not know.
pub fn never_met(condition: &ArgumentCondition, tool: &Tool) -> Option<String> {
    let argument = condition.argument.as_str();
    match place(&tool.input_schema.0, condition.argument.names()) {
        Place::Unknown => None,
        Place::Missing => {
            Some(format!("`{argument}` is not an argument of `{}`: every call would be denied", tool.name))
        }
        Place::Schema(schema) => {
            let is_possible = match &condition.test {
                ArgumentTest::In(values) => values.iter().any(|value| admits(schema, value)),
                ArgumentTest::Prefix(prefix) => {
                    has_type(schema, &["string"])
                        && is_one_of(schema, |it| it.as_str().is_some_and(|it| it.starts_with(prefix)))
                }
                ArgumentTest::Range { .. } => has_type(schema, &["number", "integer"]),
            };
            let why = || {
                format!("no value that `{argument}` of `{}` can have meets it: every call would be denied", tool.name)
            };
            (!is_possible).then(why)
        }
    }
}

/// The place that a pointer names, which goes on in each item of a list.
fn place<'a>(root: &'a Map<String, Value>, names: &[String]) -> Place<'a> {
    let mut schema = root;
    for (depth, name) in names.iter().enumerate() {
        schema = match items(schema) {
            Some(schema) => schema,
            None => return Place::Unknown,
        };
        if OTHER_KEYWORDS.iter().any(|keyword| schema.contains_key(*keyword)) {
            return Place::Unknown;
        }
        let named = schema.get("properties").and_then(|properties| properties.get(name));
        schema = match named {
            Some(Value::Object(named)) => named,
            Some(Value::Bool(false)) => return Place::Missing,
            Some(_) => return Place::Unknown,
            // Arguments that the tool does not declare are not sent. Within an argument whatever its schema allows is.
            None if depth == 0 || schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                return Place::Missing;
            }
            None => return Place::Unknown,
        };
    }
    match items(schema) {
        Some(schema) if !OTHER_KEYWORDS.iter().any(|keyword| schema.contains_key(*keyword)) => Place::Schema(schema),
        _ => Place::Unknown,
    }
}

/// The schema of the items, if the value is a list and nothing else; otherwise the schema itself. `None` if it is not known.
fn items(mut schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    while schema.get("type").is_some_and(|it| it == "array") {
        schema = schema.get("items")?.as_object()?;
    }
    // A list beside other types.
    let is_other =
        schema.get("type").and_then(Value::as_array).is_some_and(|types| types.iter().any(|it| it == "array"));
    (!is_other).then_some(schema)
}

fn admits(schema: &Map<String, Value>, value: &Value) -> bool {
    let types: &[&str] = match value {
        Value::String(_) => &["string"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if Number::from(number).is_integer() => &["number", "integer"],
        _ => &["number"],
    };
    has_type(schema, types) && is_one_of(schema, |it| is_equal(it, value))
}

/// Whether the schema says one of these types, or none at all.
fn has_type(schema: &Map<String, Value>, types: &[&str]) -> bool {
    let is_named = |name: &Value| name.as_str().is_some_and(|name| types.contains(&name));
    match schema.get("type") {
        Some(Value::Array(all)) => all.iter().any(is_named),
        Some(name) => is_named(name),
        None => true,
    }
}

/// Whether one of the values that the schema lists is such; true if it lists none.
fn is_one_of(schema: &Map<String, Value>, is_such: impl Fn(&Value) -> bool) -> bool {
    let constant = schema.get("const").is_none_or(&is_such);
    constant && schema.get("enum").and_then(Value::as_array).is_none_or(|values| values.iter().any(is_such))
}

fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Number::from(a).compare(Number::from(b)) == Ordering::Equal,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_call_can_meet_is_found_and_what_one_may_is_not() {
        let tool: Tool = serde_json::from_value(json!({
            "name": "find", "description": "Finds.", "backend": "x", "static": {"text": "a"},
            "inputSchema": {"type": "object", "properties": {
                "region": {"type": "string", "enum": ["EU", "US"]}, "limit": {"type": "integer"}, "any": {}, "all": true,
                "none": false, "either": {"type": ["string", "null"]}, "tags": {"type": "array", "items": {"type": "string"}},
                "open": {"type": "object", "properties": {"a": {"type": "number"}}}, "lists": {"type": ["array", "string"]},
                "closed": {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": false},
                "ref": {"$ref": "#/$defs/x"}, "rows": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
            }, "$defs": {"x": {"type": "string"}}},
        }))
        .unwrap();
        for (argument, test, is_found) in [
            ("/region", json!({"in": ["EU", "CH"]}), false),
            ("/region", json!({"in": ["CH"]}), true),
            ("/region", json!({"in": [1]}), true),
            ("/region", json!({"prefix": "E"}), false),
            ("/region", json!({"prefix": "X"}), true),
            ("/region", json!({"minimum": 1}), true),
            ("/limit", json!({"maximum": 10}), false),
            ("/limit", json!({"in": [1.0]}), false),
            ("/limit", json!({"in": [1.5, "1", true]}), true),
            ("/limit", json!({"prefix": "1"}), true),
            ("/any", json!({"prefix": "1"}), false),
            ("/all", json!({"prefix": "1"}), false),
            ("/none", json!({"prefix": "1"}), true),
            ("/either", json!({"in": ["a"]}), false),
            ("/either", json!({"in": [1]}), true),
            ("/tags", json!({"in": ["a"]}), false),
            ("/tags", json!({"minimum": 1}), true),
            ("/rows/id", json!({"prefix": "a"}), false),
            ("/rows/id", json!({"in": [true]}), true),
            ("/rows/name", json!({"in": ["a"]}), false),
            ("/open/a", json!({"in": ["a"]}), true),
            ("/open/b", json!({"in": ["a"]}), false),
            ("/closed/a", json!({"in": [1.0]}), false),
            ("/closed/a", json!({"in": [2]}), true),
            ("/closed/b", json!({"in": [2]}), true),
            ("/lists", json!({"minimum": 1}), false),
            ("/ref", json!({"minimum": 1}), false),
            ("/regoin", json!({"in": ["EU"]}), true),
        ] {
            let mut condition = json!({"name": "a", "tool": "find", "argument": argument});
            condition.as_object_mut().unwrap().extend(test.as_object().unwrap().clone());
            let condition: ArgumentCondition = serde_json::from_value(condition).unwrap();
            let found = never_met(&condition, &tool);
            assert_eq!(found.is_some(), is_found, "{argument} {test}: {found:?}");
        }
    }
}
