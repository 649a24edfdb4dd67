//! The arguments of a call: bounded in size, limited to the client's maximum of records, and checked against the tool's schema.

use std::borrow::Cow;

use crate::{
    backend::Unsendable,
    config::Tool,
    identity::Client,
    protocol::strict::{Json, Node},
};

/// The most bytes of a call's arguments, as they were sent.
const MAX_BYTES: usize = 64 * 1024;

/// Why arguments were refused. It contains no value of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidArguments {
    /// For the caller.
    pub message: String,
    /// For the audit log: the keyword of the schema, or `maxBytes`, `unsendable` or `schema`.
    pub keyword: &'static str,
    /// For the audit log: the place in the schema.
    pub path: String,
}

/// The arguments as they were sent.
///
/// # Errors
/// Returns an error if they are not an object, or too large.
pub fn bounded(arguments: Option<Node<'_>>) -> Result<Node<'_>, InvalidArguments> {
    match arguments {
        None => Ok(Node { raw: "{}", value: Json::Object(Vec::new()) }),
        Some(node) if node.as_object().is_none() => Err(invalid("type", "Invalid arguments: they must be an object")),
        Some(node) if node.raw.len() > MAX_BYTES => {
            Err(invalid("maxBytes", "Invalid arguments: they are larger than 64 KiB"))
        }
        Some(node) => Ok(node),
    }
}

/// Sets the argument that limits the records to the client's maximum, if it is absent or higher.
pub fn limited<'a>(mut arguments: Node<'a>, tool: &Tool, client: &'a Client, text: &'a mut String) -> Node<'a> {
    let Some(limit) = tool.records.as_ref().and_then(|records| records.limit.as_ref()) else { return arguments };
    let Json::Object(members) = &mut arguments.value else { return arguments };
    let value = match limit.maximum {
        Some(maximum) if maximum < u64::from(client.max_records) => {
            *text = maximum.to_string();
            text.as_str()
        }
        _ => client.max_records_text.as_str(),
    };
    let bound = Node { raw: value, value: Json::Number(value) };
    match members.iter_mut().find(|(name, _)| *name == limit.name) {
        Some((_, node)) if is_higher(node, client.max_records) => *node = bound,
        Some(_) => {}
        None => members.push((Cow::Owned(limit.name.clone()), bound)),
    }
    arguments
}

fn is_higher(node: &Node<'_>, maximum: u32) -> bool {
    match &node.value {
        // A double is exact enough to compare with 32 bits, and is read from every form of a JSON number.
        Json::Number(digits) => digits.parse::<f64>().is_ok_and(|number| number > f64::from(maximum)),
        _ => false,
    }
}

/// Checks the arguments against the schema of the tool.
///
/// # Errors
/// Returns the first violation.
pub fn validate(arguments: &Node<'_>, tool: &Tool) -> Result<(), InvalidArguments> {
    let Some(schema) = &tool.schema else { return Ok(()) };
    schema.validate(&arguments.to_value()).map_err(|violation| {
        let keyword = keyword(&violation.keyword);
        let at = if violation.instance_path.is_empty() { "/" } else { &violation.instance_path };
        let schema = &violation.schema_path;
        let message = format!("Invalid arguments: the value at `{at}` violates `{keyword}` (schema {schema})");
        InvalidArguments { message, keyword, path: violation.schema_path }
    })
}

impl From<Unsendable> for InvalidArguments {
    fn from(unsendable: Unsendable) -> Self {
        Self {
            message: format!("Invalid arguments: `{}` {}", unsendable.argument, unsendable.why),
            keyword: "unsendable",
            path: format!("/properties/{}", unsendable.argument),
        }
    }
}

fn invalid(keyword: &'static str, message: &str) -> InvalidArguments {
    InvalidArguments { message: message.to_owned(), keyword, path: "/".to_owned() }
}

/// The keywords of draft 2020-12 that a value can violate.
const KEYWORDS: [&str; 33] = [
    "$dynamicRef",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "dependentRequired",
    "dependentSchemas",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "required",
    "type",
];

fn keyword(keyword: &str) -> &'static str {
    KEYWORDS.into_iter().find(|known| *known == keyword).unwrap_or("schema")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        guard::fixtures::{client, tool},
        protocol::strict,
    };

    /// A tool whose `limit` has this schema.
    fn limited_tool(limit: &serde_json::Value) -> Tool {
        tool(&json!({
            "inputSchema": {"type": "object", "properties": {"limit": limit}},
            "records": {"path": "/items", "limitArgument": "limit"},
        }))
    }

    #[test]
    fn the_limit_is_set_if_it_is_absent_and_lowered_if_it_is_higher() {
        let integer = json!({"type": "integer"});
        let bounded = json!({"type": "integer", "minimum": 1, "maximum": 50});
        for (schema, max, sent, expected) in [
            (&integer, 10, "{}", json!({"limit": 10})),
            (&integer, 10, r#"{"limit":9}"#, json!({"limit": 9})),
            (&integer, 10, r#"{"limit":11}"#, json!({"limit": 10})),
            (&integer, 10, r#"{"limit":1e9}"#, json!({"limit": 10})),
            (&integer, 10, r#"{"limit":99999999999999999999}"#, json!({"limit": 10})),
            (&integer, 10, r#"{"limit":"11"}"#, json!({"limit": "11"})),
            // A value that the server sets is never refused by the schema.
            (&bounded, 100, "{}", json!({"limit": 50})),
            (&bounded, 100, r#"{"limit":101}"#, json!({"limit": 50})),
            (&bounded, 100, r#"{"limit":51}"#, json!({"limit": 51})),
        ] {
            let (tool, client) = (limited_tool(schema), client(&json!({"maxRecordsPerQuery": max})));
            let mut text = String::new();
            let arguments = bounded_node(sent);
            let limited = limited(arguments, &tool, &client, &mut text).to_value();
            assert_eq!(limited, expected, "{sent} of at most {max}");
        }
    }

    fn bounded_node(text: &str) -> Node<'_> {
        bounded(Some(strict::parse(text.as_bytes()).unwrap())).unwrap()
    }

    #[test]
    fn a_refusal_names_the_keyword_and_the_place_but_no_value() {
        let tool = limited_tool(&json!({"type": "integer"}));
        let found = validate(&bounded_node(r#"{"limit":"canary"}"#), &tool).unwrap_err();
        assert_eq!(
            found,
            InvalidArguments {
                message: "Invalid arguments: the value at `/limit` violates `type` (schema /properties/limit/type)"
                    .into(),
                keyword: "type",
                path: "/properties/limit/type".into(),
            }
        );
    }
}
