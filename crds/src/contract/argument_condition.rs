//! A condition on the arguments of calls. Each part that cannot be right is refused when it is read, so that a condition never means
//! less than what is written.

use std::{cmp::Ordering, collections::BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::{
    Finding, Findings, argument_condition,
    name::{ConditionName, ToolName},
    schema,
};

/// The most bytes of all conditions of an access or of a rule: one client must not take the room of others in the policy.
const MOST_BYTES: usize = 16 * 1024;
/// The most values of a condition, and the most bytes of a text among them.
const MOST_VALUES: usize = 256;
const LONGEST_TEXT: usize = 1024;

/// A condition on an argument of a tool.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(try_from = "Fields", into = "Fields")]
#[schemars(try_from = "Fields", into = "Fields")]
pub struct ArgumentCondition {
    pub name: ConditionName,
    pub tool: ToolName,
    pub argument: ArgumentPointer,
    pub test: ArgumentTest,
}

/// The place of an argument: a JSON pointer (RFC 6901) that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArgumentPointer {
    text: String,
    /// The names of the members, from the outermost one. There is at least one.
    names: Vec<String>,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentTest {
    /// One of these texts, numbers and booleans. There is at least one.
    In(Vec<Value>),
    /// A text that begins so.
    Prefix(String),
    /// A number in a range, of which at least one end is set.
    Range { minimum: Option<Number>, maximum: Option<Number> },
}

/// A part of a condition that cannot be right: its field, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {allowed}")]
pub struct ConditionError {
    field: &'static str,
    allowed: &'static str,
}

/// A condition as it is written in the document.
#[derive(Serialize, Deserialize, JsonSchema, Clone)]
#[serde(rename_all = "camelCase")]
struct Fields {
    /// The name by which the audit log records that it was not met.
    name: ConditionName,
    /// The tool.
    tool: ToolName,
    /// The argument: a JSON pointer (RFC 6901), such as `/region`. Of a list every item must meet the condition, and there must be one.
    #[schemars(length(min = 2, max = 256))]
    argument: String,
    /// The values that the argument may have: texts, numbers, and booleans. Exactly one of `in`, `prefix`, and `minimum` with `maximum`
    /// is set.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    one_of: Option<Vec<Value>>,
    /// What the argument begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    prefix: Option<String>,
    /// The lowest number that the argument may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum: Option<Number>,
    /// The highest number that the argument may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maximum: Option<Number>,
}

impl ArgumentCondition {
    /// The contract's form of a condition at the path `at` of a resource.
    ///
    /// # Errors
    /// Returns a finding with the path of the field that cannot be right.
    pub fn of(condition: &argument_condition::ArgumentCondition, at: &str) -> Result<Self, Finding> {
        let argument_condition::ArgumentCondition { name, tool, argument, one_of, prefix, minimum, maximum } =
            condition.clone();
        let one_of = one_of.map(|values| values.into_iter().map(|value| value.0).collect());
        let fields = Fields { name, tool, argument, one_of, prefix, minimum, maximum };
        Self::try_from(fields).map_err(|error| Finding::new(format!("{at}.{}", error.field), error.allowed))
    }

    /// The contract's form of all conditions at the path `at`; what cannot be right is left out, and is a finding. So is a name that
    /// appears twice, although both conditions count.
    pub fn all_of(
        conditions: &[argument_condition::ArgumentCondition],
        at: &str,
        findings: &mut Findings,
    ) -> Vec<Self> {
        let mut names = BTreeSet::new();
        for (n, condition) in conditions.iter().enumerate() {
            if !names.insert(&condition.name) {
                findings.add(format!("{at}[{n}].name"), format!("`{}` appears twice", condition.name));
            }
        }
        let conditions = conditions.iter().enumerate();
        let all: Vec<Self> =
            conditions.filter_map(|(n, condition)| findings.keep(Self::of(condition, &format!("{at}[{n}]")))).collect();
        let bytes: usize = all.iter().map(|condition| condition.order().2.len()).sum();
        if bytes > MOST_BYTES {
            findings.add(at, format!("has {bytes} bytes as JSON; at most {MOST_BYTES} are allowed"));
        }
        all
    }

    /// All of these conditions together, sorted, each once.
    pub fn union<'a>(conditions: impl IntoIterator<Item = &'a Self>) -> Vec<Self> {
        let mut all: Vec<Self> = conditions.into_iter().cloned().collect();
        all.sort_by_cached_key(Self::order);
        all.dedup();
        all
    }

    /// The same for the same content, and unlike for any other.
    pub(super) fn order(&self) -> (ToolName, ConditionName, String) {
        let text = serde_json::to_string(self).unwrap_or_default();
        (self.tool.clone(), self.name.clone(), text)
    }
}

impl ArgumentPointer {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the members, from the outermost one.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn parse(text: String) -> Option<Self> {
        let names: Option<Vec<String>> = text.strip_prefix('/')?.split('/').map(unescaped).collect();
        let names = names?;
        // The last one is never the index of an item: of a list every item counts.
        let is_index = |name: &String| name == "-" || name.bytes().all(|byte| byte.is_ascii_digit());
        let is_named = names.iter().all(|name| !name.is_empty()) && !names.last().is_some_and(is_index);
        is_named.then_some(Self { text, names })
    }
}

/// A token of a pointer without its escapes; `None` if a `~` escapes nothing.
fn unescaped(token: &str) -> Option<String> {
    let mut name = String::with_capacity(token.len());
    let mut parts = token.split('~');
    name.push_str(parts.next()?);
    for part in parts {
        let (escaped, rest) = match part.split_at_checked(1)? {
            ("0", rest) => ('~', rest),
            ("1", rest) => ('/', rest),
            _ => return None,
        };
        name.push(escaped);
        name.push_str(rest);
    }
    Some(name)
}

impl TryFrom<Fields> for ArgumentCondition {
    type Error = ConditionError;

    fn try_from(fields: Fields) -> Result<Self, ConditionError> {
        let error = |field, allowed| ConditionError { field, allowed };
        let Fields { name, tool, argument, one_of, prefix, minimum, maximum } = fields;
        let argument = ArgumentPointer::parse(argument).ok_or(error(
            "argument",
            "must be a JSON pointer to a member, such as /region: it begins with `/`, has `~0` for `~` and `~1` for `/`, and does not \
             end in an index",
        ))?;
        let test = match (one_of, prefix, minimum.is_some() || maximum.is_some()) {
            (Some(values), None, false) => {
                let is_scalar = |it: &Value| match it {
                    Value::String(text) => text.len() <= LONGEST_TEXT,
                    Value::Number(_) | Value::Bool(_) => true,
                    Value::Null | Value::Array(_) | Value::Object(_) => false,
                };
                if !(1..=MOST_VALUES).contains(&values.len()) || !values.iter().all(is_scalar) {
                    return Err(error(
                        "in",
                        "must be 1 to 256 texts, numbers or booleans, and a text at most 1024 bytes long",
                    ));
                }
                ArgumentTest::In(values)
            }
            (None, Some(prefix), false) => {
                if prefix.is_empty() || is_resolved_elsewhere(&prefix) {
                    return Err(error(
                        "prefix",
                        "must not be empty, and have no segment `.` or `..` and no percent-encoding: no value would meet it",
                    ));
                }
                ArgumentTest::Prefix(prefix)
            }
            (None, None, true) => {
                let ends = minimum.as_ref().zip(maximum.as_ref());
                let number = |number: &Number| schema::Number::from(number);
                if ends.is_some_and(|(low, high)| number(low).compare(number(high)) == Ordering::Greater) {
                    return Err(error("minimum", "must not be above `maximum`: no value would meet it"));
                }
                ArgumentTest::Range { minimum, maximum }
            }
            _ => {
                return Err(error("in", "or `prefix`, or `minimum` with `maximum`, must be set, and only one of them"));
            }
        };
        Ok(Self { name, tool, argument, test })
    }
}

impl From<ArgumentCondition> for Fields {
    fn from(condition: ArgumentCondition) -> Self {
        let ArgumentCondition { name, tool, argument, test } = condition;
        let fields =
            Self { name, tool, argument: argument.text, one_of: None, prefix: None, minimum: None, maximum: None };
        match test {
            ArgumentTest::In(values) => Self { one_of: Some(values), ..fields },
            ArgumentTest::Prefix(prefix) => Self { prefix: Some(prefix), ..fields },
            ArgumentTest::Range { minimum, maximum } => Self { minimum, maximum, ..fields },
        }
    }
}

/// Whether a text means something else once it is resolved as a path, or decoded. Some servers take `..;a` for `..`, and some end a text
/// at a control character.
pub fn is_resolved_elsewhere(text: &str) -> bool {
    let segments = text.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default());
    let has_dots = segments.into_iter().any(|segment| segment == "." || segment == "..");
    let is_encoded = |part: &[u8]| matches!(part, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    has_dots || text.chars().any(char::is_control) || text.as_bytes().windows(3).any(is_encoded)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: &Value) -> Result<ArgumentCondition, String> {
        let mut fields = json!({"name": "own-region", "tool": "find", "argument": "/region"});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(fields).map_err(|error| error.to_string())
    }

    #[test]
    fn a_condition_that_would_mean_nothing_or_something_else_is_refused() {
        let ends_in_name = "must be a JSON pointer to a member";
        for (more, expected) in [
            (json!({"in": ["EU", 1, true]}), None),
            (json!({"prefix": "acme/"}), None),
            (json!({"prefix": "100%"}), None),
            (json!({"minimum": 1}), None),
            (json!({"maximum": 2.5}), None),
            (json!({"minimum": 2, "maximum": 2.0}), None),
            (json!({"argument": "/a/b~1c~0d", "in": [1]}), None),
            (json!({"argument": "/0/b", "in": [1]}), None),
            (json!({}), Some("must be set, and only one")),
            (json!({"in": [1], "prefix": "a"}), Some("must be set, and only one")),
            (json!({"prefix": "a", "maximum": 1}), Some("must be set, and only one")),
            (json!({"in": []}), Some("must be 1 to 256 texts")),
            (json!({"in": ["x".repeat(1025)]}), Some("must be 1 to 256 texts")),
            (json!({"in": vec![1; 257]}), Some("must be 1 to 256 texts")),
            (json!({"in": [null]}), Some("must be 1 to 256 texts")),
            (json!({"in": [["EU"]]}), Some("must be 1 to 256 texts")),
            (json!({"prefix": ""}), Some("must not be empty")),
            (json!({"prefix": "a/../b"}), Some("must not be empty")),
            (json!({"prefix": "a%2e"}), Some("must not be empty")),
            (json!({"minimum": 3, "maximum": 2}), Some("must not be above")),
            (
                json!({"minimum": 9_007_199_254_740_993_i64, "maximum": 9_007_199_254_740_992_i64}),
                Some("must not be above"),
            ),
            (json!({"argument": "", "in": [1]}), Some(ends_in_name)),
            (json!({"argument": "region", "in": [1]}), Some(ends_in_name)),
            (json!({"argument": "/", "in": [1]}), Some(ends_in_name)),
            (json!({"argument": "/a//b", "in": [1]}), Some(ends_in_name)),
            (json!({"argument": "/a~2", "in": [1]}), Some(ends_in_name)),
            (json!({"argument": "/a~", "in": [1]}), Some(ends_in_name)),
            (json!({"argument": "/items/0", "in": [1]}), Some(ends_in_name)),
            (json!({"argument": "/items/-", "in": [1]}), Some(ends_in_name)),
            (json!({"name": "Own region", "in": [1]}), Some("must be a DNS label")),
        ] {
            let found = read(&more);
            let is_as_expected = match (&found, expected) {
                (Ok(_), None) => true,
                (Err(message), Some(expected)) => message.contains(expected),
                _ => false,
            };
            assert!(is_as_expected, "{more}: {found:?}");
        }
    }

    #[test]
    fn conditions_are_bounded_together_and_a_name_is_there_once() {
        let condition = |name: &str, length: usize| -> argument_condition::ArgumentCondition {
            let values = vec!["x".repeat(length); 16];
            serde_json::from_value(json!({"name": name, "tool": "t", "argument": "/a", "in": values})).unwrap()
        };
        for (conditions, expected) in [
            (vec![condition("a", 500), condition("b", 400)], vec![]),
            (vec![condition("a", 900), condition("b", 900)], vec!["spec.where: has"]),
            (vec![condition("a", 5), condition("a", 6)], vec!["spec.where[1].name: `a` appears twice"]),
        ] {
            let mut findings = Findings::default();
            assert_eq!(ArgumentCondition::all_of(&conditions, "spec.where", &mut findings).len(), 2);
            let found: Vec<String> = findings.0.iter().map(ToString::to_string).collect();
            assert!(
                found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| a.starts_with(b)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_condition_is_written_as_it_is_read_and_a_union_has_each_once() {
        let [a, b, c] = [json!({"in": ["EU", 1.5]}), json!({"name": "a", "prefix": "x"}), json!({"maximum": 3})]
            .map(|more| read(&more).unwrap());
        for condition in [&a, &b, &c] {
            let written = serde_json::to_value(condition).unwrap();
            assert_eq!(serde_json::from_value::<ArgumentCondition>(written).unwrap(), *condition);
        }
        assert_eq!(read(&json!({"argument": "/a~01/b~1c", "in": [1]})).unwrap().argument.names(), ["a~1", "b/c"]);
        let union = ArgumentCondition::union([&c, &a, &b, &a]);
        assert_eq!((union.len(), &union[0]), (3, &b));
        assert_eq!(union, ArgumentCondition::union([&b, &c, &a]));
    }
}
