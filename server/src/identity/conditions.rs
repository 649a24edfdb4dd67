//! The conditions on arguments that a client's calls must meet, and whether a call meets them.
//!
//! What cannot be told is not met: an argument that is absent, of another type, an empty list, or more values than are looked at.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use portcullis_crds::{
    ToolName,
    contract::{ArgumentCondition, ArgumentTest, is_resolved_elsewhere},
    schema::Number,
};
use serde_json::Value;

use crate::protocol::strict::{Json, Node};

/// How many values are looked at for a call, for all of its conditions together: well under a millisecond.
const MOST_VALUES: usize = 20_000;

/// The conditions of a client, by tool.
#[derive(Default)]
pub struct Conditions(HashMap<ToolName, Vec<Condition>>);

struct Condition {
    spec: ArgumentCondition,
    values: Values,
}

/// What is looked up for each value.
#[derive(Default)]
struct Values {
    texts: HashSet<Box<str>>,
    /// Sorted.
    numbers: Vec<Number>,
    booleans: Vec<bool>,
}

impl Conditions {
    pub fn new(conditions: &[ArgumentCondition]) -> Self {
        let mut by_tool: HashMap<_, Vec<_>> = HashMap::new();
        for spec in conditions {
            let condition = Condition { spec: spec.clone(), values: Values::of(&spec.test) };
            by_tool.entry(spec.tool.clone()).or_default().push(condition);
        }
        Self(by_tool)
    }

    /// The name of the first condition of a tool that these arguments do not meet.
    pub fn unmet(&self, tool: &ToolName, arguments: &Node<'_>) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let mut left = MOST_VALUES;
        let unmet = self.0.get(tool)?.iter().find(|condition| {
            let names = condition.spec.argument.names();
            !condition.is_met(names, arguments, &mut left)
        });
        unmet.map(|condition| condition.spec.name.as_str())
    }

    /// The name of the first condition of a tool that is not among `earlier`: a call that was judged by those may not meet it.
    pub fn added(&self, tool: &ToolName, earlier: &Self) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let known = earlier.0.get(tool).map_or(&[][..], Vec::as_slice);
        let added = self.0.get(tool)?.iter().find(|it| !known.iter().any(|known| known.spec == it.spec));
        added.map(|condition| condition.spec.name.as_str())
    }
}

impl Condition {
    fn is_met(&self, names: &[String], node: &Node<'_>, left: &mut usize) -> bool {
        let Some(rest) = left.checked_sub(1) else { return false };
        *left = rest;
        match (&node.value, names) {
            // The depth of arguments is bounded.
            (Json::Array(items), _) => !items.is_empty() && items.iter().all(|item| self.is_met(names, item, left)),
            (Json::Object(members), [name, names @ ..]) => {
                let member = members.iter().find(|(member, _)| member == name);
                member.is_some_and(|(_, node)| self.is_met(names, node, left))
            }
            (_, [_, ..]) => false,
            (value, []) => self.admits(value),
        }
    }

    fn admits(&self, value: &Json<'_>) -> bool {
        match (&self.spec.test, value) {
            (ArgumentTest::In(_), Json::String(text)) => self.values.texts.contains(&**text),
            (ArgumentTest::In(_), Json::Number(digits)) => {
                let is_listed = |number: Number| self.values.numbers.binary_search_by(|it| it.compare(number)).is_ok();
                Number::parse(digits).is_some_and(is_listed)
            }
            (ArgumentTest::In(_), Json::Bool(value)) => self.values.booleans.contains(value),
            (ArgumentTest::Prefix(prefix), Json::String(text)) => {
                text.starts_with(prefix.as_str()) && !is_resolved_elsewhere(text)
            }
            (ArgumentTest::Range { minimum, maximum }, Json::Number(digits)) => {
                let is_not = |number: Number, end: &Option<serde_json::Number>, order: Ordering| {
                    end.as_ref().is_none_or(|end| number.compare(Number::from(end)) != order)
                };
                Number::parse(digits).is_some_and(|number| {
                    is_not(number, minimum, Ordering::Less) && is_not(number, maximum, Ordering::Greater)
                })
            }
            _ => false,
        }
    }
}

impl Values {
    fn of(test: &ArgumentTest) -> Self {
        let mut values = Self::default();
        let ArgumentTest::In(listed) = test else { return values };
        for value in listed {
            match value {
                Value::String(text) => drop(values.texts.insert(text.as_str().into())),
                Value::Number(number) => values.numbers.push(number.into()),
                Value::Bool(value) => values.booleans.push(*value),
                // The contract has no others.
                Value::Null | Value::Array(_) | Value::Object(_) => {}
            }
        }
        values.numbers.sort_by(|a, b| a.compare(*b));
        values
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::protocol::strict;

    fn conditions(all: &Value) -> Conditions {
        Conditions::new(&serde_json::from_value::<Vec<ArgumentCondition>>(all.clone()).unwrap())
    }

    fn one(test: &Value) -> Conditions {
        let mut condition = json!({"name": "rule", "tool": "t", "argument": "/a"});
        condition.as_object_mut().unwrap().extend(test.as_object().unwrap().clone());
        conditions(&json!([condition]))
    }

    fn is_met(conditions: &Conditions, arguments: &str) -> bool {
        conditions.unmet(&"t".parse().unwrap(), &strict::parse(arguments.as_bytes()).unwrap()).is_none()
    }

    #[test]
    fn values_are_compared_as_json_and_what_is_absent_or_of_another_type_is_not_met() {
        for (test, met, unmet) in [
            (
                json!({"in": ["EU", 1, 2.5, true]}),
                vec![
                    r#""EU""#,
                    r#""\u0045U""#,
                    "1",
                    "1.0",
                    "10e-1",
                    "2.5",
                    "25e-1",
                    "true",
                    r#"["EU",1.0]"#,
                    r#"[["EU"],[1]]"#,
                ],
                vec![
                    r#""eu""#,
                    r#""EU ""#,
                    r#""1""#,
                    "true1",
                    "false",
                    "null",
                    "{}",
                    "[]",
                    r#"["EU","US"]"#,
                    "[[]]",
                    r#"["EU",[]]"#,
                    "2",
                    "1.0000001",
                    r#"{"a":"EU"}"#,
                ],
            ),
            (
                json!({"in": [9_007_199_254_740_993_i64]}),
                vec!["9007199254740993"],
                vec!["9007199254740992", "9007199254740994"],
            ),
            (
                json!({"prefix": "acme/"}),
                vec![r#""acme/a""#, r#""acme/""#, r#""acme/a..b""#, r#""acme/100%""#, r#"["acme/x","acme/y"]"#],
                vec![
                    r#""acme""#,
                    r#""Acme/a""#,
                    r#""acme/../b""#,
                    r#""acme/.""#,
                    r#""acme/..;x/b""#,
                    r#""acme/\u0000b""#,
                    r#""acme/a\\..\\b""#,
                    r#""acme/%2e%2e/b""#,
                    r#""acme/a%2F""#,
                    "1",
                    r#"["acme/x","b"]"#,
                ],
            ),
            (
                json!({"minimum": 1, "maximum": 10}),
                vec!["1", "10", "1.0", "1e1", "5.5", "[1,2]"],
                vec!["0", "11", "10.000001", "-1", r#""5""#, "true", "1e300"],
            ),
            (json!({"maximum": 3}), vec!["-1e300", "3"], vec!["3.1"]),
        ] {
            let conditions = one(&test);
            for value in met {
                assert!(is_met(&conditions, &format!(r#"{{"a":{value}}}"#)), "{test} {value}");
            }
            for value in unmet.into_iter().filter(|value| strict::parse(value.as_bytes()).is_ok()) {
                assert!(!is_met(&conditions, &format!(r#"{{"a":{value}}}"#)), "{test} {value}");
            }
            for arguments in ["{}", r#"{"b":"EU"}"#, r#"{"A":"EU"}"#] {
                assert!(!is_met(&conditions, arguments), "{test} {arguments}");
            }
        }
    }

    #[test]
    fn of_a_list_on_the_way_every_item_counts() {
        let rows = conditions(&json!([{"name": "rule", "tool": "t", "argument": "/rows/id", "in": ["x"]}]));
        for (arguments, expected) in [
            (r#"{"rows":[{"id":"x"},{"id":["x","x"]}]}"#, true),
            (r#"{"rows":{"id":"x"}}"#, true),
            (r#"{"rows":[{"id":"x"},{"id":"y"}]}"#, false),
            (r#"{"rows":[{"id":"x"},{}]}"#, false),
            (r#"{"rows":[{"id":"x"},"x"]}"#, false),
            (r#"{"rows":[]}"#, false),
        ] {
            assert_eq!(is_met(&rows, arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn all_conditions_of_a_tool_hold_and_those_of_others_do_not() {
        let all = json!([
            {"name": "one", "tool": "t", "argument": "/a", "minimum": 1},
            {"name": "two", "tool": "t", "argument": "/a", "maximum": 5},
            {"name": "other", "tool": "other", "argument": "/b", "in": [1]},
        ]);
        let conditions = conditions(&all);
        let unmet = |arguments: &str| {
            conditions.unmet(&"t".parse().unwrap(), &strict::parse(arguments.as_bytes()).unwrap()).map(str::to_owned)
        };
        assert_eq!(
            [unmet(r#"{"a":3}"#), unmet(r#"{"a":0}"#), unmet(r#"{"a":6}"#)],
            [None, Some("one".into()), Some("two".into())]
        );
    }

    #[test]
    fn what_was_added_is_known_whatever_its_name_is() {
        let [before, same, changed] =
            [json!({"in": [1, 2]}), json!({"in": [1, 2]}), json!({"in": [1]})].map(|it| one(&it));
        let tool = "t".parse().unwrap();
        assert_eq!(same.added(&tool, &before), None);
        assert_eq!(changed.added(&tool, &before), Some("rule"));
        assert_eq!(Conditions::default().added(&tool, &before), None);
        assert_eq!(before.added(&tool, &Conditions::default()), Some("rule"));
    }

    #[test]
    fn more_values_than_are_looked_at_are_not_met() {
        let list = |count: usize| format!(r#"{{"a":[{}]}}"#, vec!["1"; count].join(","));
        let conditions = one(&json!({"in": [1]}));
        assert!(is_met(&conditions, &list(MOST_VALUES - 10)) && !is_met(&conditions, &list(MOST_VALUES + 1)));
    }

    proptest! {
        /// Whatever a value is within: a condition is met exactly if each value that the argument has is listed.
        #[test]
        fn no_list_hides_a_value(values in prop::collection::vec(0_u8..4, 0..6), depth in 0_usize..4) {
            let conditions = one(&json!({"in": [0, 1, 2]}));
            let mut node = json!(values);
            for _ in 0..depth {
                node = json!([node]);
            }
            let expected = !values.is_empty() && values.iter().all(|it| *it < 3);
            prop_assert_eq!(is_met(&conditions, &json!({"a": node}).to_string()), expected);
        }
    }
}
