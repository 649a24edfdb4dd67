//! The arguments of a call: bounded in size, limited to the client's maximum of records, and checked against the tool's schema.

use std::borrow::Cow;

use portcullis_crds::schema::{Exhausted, Instance, Json, Number, Shape, Steps, Violation};

use super::checks::PendingCheck;
use crate::{
    audit::record::NoKeyword,
    backend::Unsendable,
    config::Tool,
    protocol::strict::{self, Node},
};

/// The steps of a check on a thread that serves: less than a millisecond. Ordinary arguments take hundreds.
pub(super) const AT_ONCE: Steps = Steps::new(20_000);
/// The steps of any check: what the largest arguments take with an ordinary schema, several times.
pub(super) const AT_MOST: Steps = Steps::new(4_000_000);
/// How many limits are tried with the whole schema.
const MOST_TRIED: usize = 4;
/// The most bytes of a call's arguments, as they were sent.
const MAX_BYTES: usize = 64 * 1024;

/// Why arguments were refused. It contains no value of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidArguments {
    /// For the caller.
    pub message: String,
    /// For the audit log: the keyword of the schema, or a [`NoKeyword`].
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
        None | Some(Node { value: strict::Json::Null, .. }) => {
            Ok(Node { raw: "{}", value: strict::Json::Object(Vec::new()) })
        }
        Some(node) if node.as_object().is_none() => {
            let invalid = invalid("type", "Invalid arguments: they must be an object");
            Err(InvalidArguments { is_malformed: true, ..invalid })
        }
        Some(node) if node.raw.len() > MAX_BYTES => {
            Err(invalid(NoKeyword::MaxBytes.as_str(), "Invalid arguments: they are larger than 64 KiB"))
        }
        Some(node) => Ok(node),
    }
}

/// The arguments without those that are null instead of absent.
pub fn without_nulls<'a>(mut arguments: Node<'a>, tool: &Tool) -> Node<'a> {
    if let strict::Json::Object(members) = &mut arguments.value {
        members.retain(|(name, node)| node.value != strict::Json::Null || !tool.absent_if_null.contains(&**name));
    }
    arguments
}

/// Sets the argument that limits the records to the client's maximum if it is absent or higher: to the greatest number up to that
/// maximum which the schema accepts. If it accepts none, the arguments stay as they are. Returns the number that was set.
///
/// The schema has judged what was sent; this is never held against the caller, and meets no demand in the caller's place.
pub fn limited<'a>(arguments: &mut Node<'a>, tool: &Tool, max: u32, text: &'a mut String) -> Option<u64> {
    let limit = tool.records.as_ref()?.limit.as_ref()?;
    let strict::Json::Object(members) = &mut arguments.value else { return None };
    let at = members.iter().position(|(name, _)| *name == limit.name);
    if at.is_some_and(|at| !is_higher(&members[at].1, max)) {
        return None;
    }
    let sent = at.map(|at| members.swap_remove(at));
    let mut accepted = limit.numbers.accepted(max.into());
    let number = match limit.numbers.is_alone {
        true => accepted.next(),
        false => accepted.take(MOST_TRIED).find(|number| fits_with(members, &limit.name, *number, tool)),
    };
    match number {
        Some(number) => {
            *text = number.to_string();
            members.push((Cow::Owned(limit.name.clone()), Node { raw: text, value: strict::Json::Number(text) }));
        }
        None => members.extend(sent),
    }
    number
}

/// Whether the whole schema accepts the arguments with this one. What takes long to decide is not asked.
fn fits_with(members: &[(Cow<'_, str>, Node<'_>)], name: &str, number: u64, tool: &Tool) -> bool {
    let Some(schema) = &tool.schema else { return true };
    let digits = number.to_string();
    let mut members = members.to_vec();
    members.push((Cow::Borrowed(name), Node { raw: &digits, value: strict::Json::Number(&digits) }));
    let arguments = Node { raw: "", value: strict::Json::Object(members) };
    schema.check(&Instance::new(&arguments), AT_ONCE).is_ok_and(|verdict| verdict.is_ok())
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
        invalid(NoKeyword::Complexity.as_str(), message)
    }
}

impl Json for Node<'_> {
    fn shape(&self) -> Shape<'_, Self> {
        match &self.value {
            strict::Json::Null => Shape::Null,
            strict::Json::Bool(value) => Shape::Bool(*value),
            // The parser accepts no number that is not finite.
            strict::Json::Number(digits) => Number::parse(digits).map_or(Shape::Null, Shape::Number),
            strict::Json::String(text) => Shape::String(Cow::Borrowed(text)),
            strict::Json::Array(items) => Shape::Array(Cow::Borrowed(items)),
            strict::Json::Object(members) => Shape::Object(
                members.iter().map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(value))).collect(),
            ),
        }
    }
}

impl From<Unsendable> for InvalidArguments {
    fn from(unsendable: Unsendable) -> Self {
        Self {
            message: format!("Invalid arguments: `{}` {}", unsendable.argument, unsendable.why),
            keyword: NoKeyword::Unsendable.as_str(),
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
    use crate::{guard::fixtures::tool, protocol::strict};

    /// A tool whose `limit` has this schema.
    fn limited_tool(limit: &serde_json::Value) -> Tool {
        tool(&json!({
            "inputSchema": {"type": "object", "properties": {"limit": limit}, "$defs": {"most": {"maximum": 30}}},
            "records": {"path": "/items", "limitArgument": "limit"},
        }))
    }

    #[test]
    fn the_limit_is_set_within_its_schema_if_it_is_absent_and_lowered_if_it_is_higher() {
        for (schema, max, sent, expected) in [
            (json!({"type": "integer"}), 10, "{}", json!({"limit": 10})),
            (json!({"type": "integer"}), 10, r#"{"limit":9}"#, json!({"limit": 9})),
            (json!({"type": "integer"}), 10, r#"{"limit":11}"#, json!({"limit": 10})),
            (json!({"type": "integer"}), 10, r#"{"limit":1e9}"#, json!({"limit": 10})),
            (json!({"type": "integer"}), 10, r#"{"limit":99999999999999999999}"#, json!({"limit": 10})),
            (json!({"type": "integer", "maximum": 50.0}), 100, "{}", json!({"limit": 50})),
            (json!({"type": "integer", "exclusiveMaximum": 50}), 100, "{}", json!({"limit": 49})),
            (json!({"type": "integer", "maximum": 50.5}), 100, "{}", json!({"limit": 50})),
            (json!({"type": "integer", "allOf": [{"maximum": 40}, {"maximum": 60}]}), 100, "{}", json!({"limit": 40})),
            (json!({"type": "integer", "$ref": "#/$defs/most"}), 100, "{}", json!({"limit": 30})),
            (json!({"type": "integer", "maximum": 50, "multipleOf": 20}), 100, "{}", json!({"limit": 40})),
            (json!({"anyOf": [{"type": "integer", "maximum": 25}, {"const": "all"}]}), 100, "{}", json!({"limit": 25})),
            (json!({"enum": [50, 10, 25, 100]}), 60, "{}", json!({"limit": 50})),
            (json!({"enum": [50, 10, 25, 100]}), 60, r#"{"limit":100}"#, json!({"limit": 50})),
            (json!({"not": {"const": 10}}), 10, "{}", json!({})),
            // What the schema does not accept is not put in, and what was sent stays.
            (json!({"type": "integer", "minimum": 20}), 10, "{}", json!({})),
            (json!({"type": "integer", "minimum": 20}), 10, r#"{"limit":25}"#, json!({"limit": 25})),
        ] {
            assert_eq!(limited_by(&limited_tool(&schema), max, sent), expected, "{schema} {sent} of at most {max}");
        }
    }

    fn limited_by(tool: &Tool, max: u32, sent: &str) -> serde_json::Value {
        let mut arguments = bounded_node(sent);
        assert_eq!(validate(&arguments, tool).unwrap().map(|_| ()), None);
        let mut text = String::new();
        limited(&mut arguments, tool, max, &mut text);
        arguments.to_value()
    }

    #[test]
    fn a_rule_about_all_arguments_is_about_what_was_sent() {
        let limited_by = |rule: serde_json::Value, sent: &str| {
            let mut schema = json!({"type": "object", "properties": {"limit": {"type": "integer"}, "a": true}});
            schema.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
            let tool = tool(&json!({"inputSchema": schema, "records": {"path": "/items", "limitArgument": "limit"}}));
            match validate(&bounded_node(sent), &tool) {
                Ok(_) => Ok(limited_by(&tool, 10, sent)),
                Err(invalid) => Err(invalid.keyword),
            }
        };
        for (rule, sent, expected) in [
            (json!({"minProperties": 1}), "{}", Err("minProperties")),
            (json!({"minProperties": 1}), r#"{"a":1}"#, Ok(json!({"a": 1, "limit": 10}))),
            (json!({"maxProperties": 1}), r#"{"a":1}"#, Ok(json!({"a": 1}))),
            (json!({"maxProperties": 1}), "{}", Ok(json!({"limit": 10}))),
            (json!({"dependentRequired": {"limit": ["a"]}}), "{}", Ok(json!({}))),
            (json!({"dependentRequired": {"limit": ["a"]}}), r#"{"a":1}"#, Ok(json!({"a": 1, "limit": 10}))),
            (json!({"anyOf": [{"required": ["a"]}, {"required": ["limit"]}]}), "{}", Err("anyOf")),
            (json!({"oneOf": [{"required": ["a"]}, {"required": ["limit"]}]}), r#"{"a":1}"#, Ok(json!({"a": 1}))),
            (json!({"allOf": [{"properties": {"limit": {"maximum": 7}}}]}), "{}", Ok(json!({"limit": 7}))),
            (
                json!({"if": {"required": ["a"]}, "then": {"properties": {"limit": {"maximum": 3}}}}),
                r#"{"a":1}"#,
                Ok(json!({"a": 1, "limit": 3})),
            ),
            (json!({"not": {"required": ["limit"]}}), "{}", Ok(json!({}))),
        ] {
            assert_eq!(limited_by(rule.clone(), sent), expected, "{rule} {sent}");
        }
    }

    #[test]
    fn null_is_absent_where_an_argument_is_optional_and_may_not_be_null() {
        let tool = tool(&json!({"inputSchema": {"type": "object", "required": ["must"], "properties": {
            "must": {"type": "string"}, "may": {"type": "string"}, "nullable": {"type": ["string", "null"]},
            "any": true, "by_reference": {"$ref": "#/$defs/x"}, "deep": {"type": "object"}},
            "$defs": {"x": {"enum": ["a"]}}}}));
        let sent =
            r#"{"must":null,"may":null,"nullable":null,"any":null,"by_reference":null,"deep":{"x":null},"other":null}"#;
        let kept = json!({"must": null, "nullable": null, "any": null, "deep": {"x": null}, "other": null});
        assert_eq!(without_nulls(bounded_node(sent), &tool).to_value(), kept);
        assert_eq!(bounded_node("null").to_value(), json!({}));
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
