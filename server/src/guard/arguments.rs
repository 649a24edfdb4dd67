//! The arguments of a call: bounded in size, limited to the client's maximum of records, and checked against the tool's schema.

use std::borrow::Cow;

use portcullis_crds::schema::{Exhausted, Instance, Json, Number, Shape, Steps, Violation};

use super::checks::PendingCheck;
use crate::{
    backend::Unsendable,
    config::Tool,
    identity::Client,
    protocol::strict::{self, Node},
};

/// The steps of a check on a thread that serves: less than a millisecond. Ordinary arguments take hundreds.
const AT_ONCE: Steps = Steps::new(20_000);
/// The steps of any check: what the largest arguments take with an ordinary schema, several times.
const AT_MOST: Steps = Steps::new(4_000_000);
/// The most bytes of a call's arguments, as they were sent.
const MAX_BYTES: usize = 64 * 1024;

/// Why arguments were refused. It contains no value of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidArguments {
    /// For the caller.
    pub message: String,
    /// For the audit log: the keyword of the schema, or `complexity`, `maxBytes`, `unsendable` or `disconnected`.
    pub keyword: &'static str,
    /// For the audit log: the place in the schema.
    pub path: String,
    /// Whether this is no call of a tool at all: there are no arguments by name.
    pub is_malformed: bool,
}

/// The arguments as they were sent.
///
/// # Errors
/// Returns an error if they are not an object, or too large.
pub fn bounded(arguments: Option<Node<'_>>) -> Result<Node<'_>, InvalidArguments> {
    match arguments {
        None => Ok(Node { raw: "{}", value: strict::Json::Object(Vec::new()) }),
        Some(node) if node.as_object().is_none() => {
            let invalid = invalid("type", "Invalid arguments: they must be an object");
            Err(InvalidArguments { is_malformed: true, ..invalid })
        }
        Some(node) if node.raw.len() > MAX_BYTES => {
            Err(invalid("maxBytes", "Invalid arguments: they are larger than 64 KiB"))
        }
        Some(node) => Ok(node),
    }
}

/// Sets the argument that limits the records to the client's maximum, if it is absent or higher.
pub fn limited<'a>(mut arguments: Node<'a>, tool: &Tool, client: &'a Client, text: &'a mut String) -> Node<'a> {
    let Some(limit) = tool.records.as_ref().and_then(|records| records.limit.as_ref()) else { return arguments };
    let strict::Json::Object(members) = &mut arguments.value else { return arguments };
    let value = match limit.maximum {
        Some(maximum) if maximum < u64::from(client.max_records) => {
            *text = maximum.to_string();
            text.as_str()
        }
        _ => client.max_records_text.as_str(),
    };
    let bound = Node { raw: value, value: strict::Json::Number(value) };
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
        strict::Json::Number(digits) => digits.parse::<f64>().is_ok_and(|number| number > f64::from(maximum)),
        _ => false,
    }
}

/// Checks the arguments against the schema of the tool. Returns what is to be checked elsewhere, if it takes long.
///
/// # Errors
/// Returns the first violation.
pub fn validate(arguments: &Node<'_>, tool: &Tool) -> Result<Option<PendingCheck>, InvalidArguments> {
    let Some(schema) = &tool.schema else { return Ok(None) };
    let instance = Instance::new(arguments);
    match schema.check(&instance, AT_ONCE) {
        Ok(verdict) => verdict.map(|()| None).map_err(Into::into),
        Err(Exhausted) => Ok(Some(PendingCheck { schema: schema.clone(), arguments: instance, steps: AT_MOST })),
    }
}

impl From<Violation> for InvalidArguments {
    fn from(violation: Violation) -> Self {
        let Violation { keyword, schema_path: path, message, .. } = violation;
        let space = if message.starts_with('\n') { "" } else { " " };
        Self { message: format!("Invalid arguments:{space}{message}"), keyword, path, is_malformed: false }
    }
}

impl From<Exhausted> for InvalidArguments {
    fn from(_: Exhausted) -> Self {
        let message = "Invalid arguments: checking them against the tool's schema takes too long; send fewer or less nested values";
        invalid("complexity", message)
    }
}

impl Json for Node<'_> {
    fn shape(&self) -> Shape<'_, Self> {
        match &self.value {
            strict::Json::Null => Shape::Null,
            strict::Json::Bool(value) => Shape::Bool(*value),
            // The parser accepts no number that is not finite.
            strict::Json::Number(digits) => Number::parse(digits).map_or(Shape::Null, Shape::Number),
            strict::Json::String(text) => Shape::String(text),
            strict::Json::Array(items) => Shape::Array(items),
            strict::Json::Object(members) => {
                Shape::Object(members.iter().map(|(name, value)| (&**name, value)).collect())
            }
        }
    }
}

impl From<Unsendable> for InvalidArguments {
    fn from(unsendable: Unsendable) -> Self {
        Self {
            message: format!("Invalid arguments: `{}` {}", unsendable.argument, unsendable.why),
            keyword: "unsendable",
            path: format!("/properties/{}", unsendable.argument),
            is_malformed: false,
        }
    }
}

fn invalid(keyword: &'static str, message: &str) -> InvalidArguments {
    InvalidArguments { message: message.to_owned(), keyword, path: "/".to_owned(), is_malformed: false }
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
                message: "Invalid arguments: `/limit` must be an integer (`type`)".into(),
                keyword: "type",
                path: "/properties/limit/type".into(),
                is_malformed: false,
            }
        );
    }
}
