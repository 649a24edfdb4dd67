//! The arguments that a tool's schema declares.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::listed;
use crate::{
    Findings,
    nearest::{self, suggestion_within},
    schema::{self, InputSchema},
};

/// How many undeclared names of one place are named.
const MOST_NAMED: usize = 16;

/// The properties of a tool's `inputSchema`, as templates and other fields refer to them.
#[derive(Clone, Copy)]
pub(super) struct Declared<'a>(pub &'a Map<String, Value>);

impl<'a> Declared<'a> {
    /// The schema of an argument.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get("properties")?.get(name)
    }

    /// Whether `$ref` makes everything beside it in the schema of an argument void, as in draft 7.
    pub fn hides_neighbours(self, property: &Value) -> bool {
        property.get("$ref").is_some() && schema::is_draft_7(self.0)
    }

    pub fn is_required(self, name: &str) -> bool {
        let required = self.0.get("required").and_then(Value::as_array);
        required.into_iter().flatten().any(|required| required == name)
    }

    /// Adds a finding for each of the names that is not declared, up to 16 of them, and one for all others.
    pub fn check<'n>(self, names: impl IntoIterator<Item = &'n str>, at: &str, findings: &mut Findings) {
        let (mut seen, mut work) = (HashSet::new(), nearest::WORK);
        for name in names {
            if self.get(name).is_none() && seen.insert(name) && seen.len() <= MOST_NAMED {
                findings.add(at, self.undeclared_within(name, &mut work));
            }
        }
        if let Some(more @ 1..) = seen.len().checked_sub(MOST_NAMED) {
            findings.add(at, format!("{more} more names are not properties of inputSchema"));
        }
    }

    /// The message about an argument that is not declared.
    pub fn undeclared(self, name: &str) -> String {
        self.undeclared_within(name, &mut { nearest::WORK })
    }

    fn undeclared_within(self, name: &str, work: &mut usize) -> String {
        let known = self.0.get("properties").and_then(Value::as_object);
        let known = || known.into_iter().flat_map(Map::keys).map(String::as_str);
        let (suggestion, known) = (suggestion_within(name, known(), work), listed(known()));
        format!("`{name}` is not a property of inputSchema{suggestion}; its properties: {known}")
    }
}

/// Checks the argument that limits the number of records: a number that is put in for callers must be one that it accepts.
pub(super) fn limit_argument(
    name: &str,
    arguments: Declared<'_>,
    schema: Option<&InputSchema>,
    at: &str,
    findings: &mut Findings,
) {
    if arguments.get(name).is_none() {
        return findings.add(at, arguments.undeclared(name));
    }
    let accepts_none = |schema: &InputSchema| schema.whole_numbers(name).accepted(u32::MAX.into()).next().is_none();
    if schema.is_some_and(accepts_none) {
        findings.add(
            at,
            format!("`{name}` accepts no whole number from 1 up in inputSchema: it could never limit anything"),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn many_names_that_are_not_declared_take_neither_time_nor_room() {
        let names: Map<String, Value> = (0..4_000).map(|n| (format!("p{n:04}"), json!({}))).collect();
        let schema = json!({"properties": names});
        let mut findings = Findings::default();
        let undeclared: Vec<_> = (0..100_000).map(|n| format!("u{}", n % 50_000)).collect();
        Declared(schema.as_object().unwrap()).check(undeclared.iter().map(String::as_str), "at", &mut findings);
        assert_eq!(findings.0.len(), MOST_NAMED + 1);
        assert_eq!(findings.0[MOST_NAMED].message, "49984 more names are not properties of inputSchema");
        let first = &findings.0[0].message;
        assert!(first.starts_with("`u0` is not a property of inputSchema; its properties: p0000, p0001, "), "{first}");
        assert!(first.ends_with("p0055, p0056 and 3943 more"), "{first}");
    }

    #[test]
    fn in_draft_7_a_reference_hides_what_is_beside_it() {
        let property = json!({"$ref": "#/definitions/x", "enum": ["a"]});
        for (dialect, is_hidden) in [
            (json!("http://json-schema.org/draft-07/schema#"), true),
            (json!("https://json-schema.org/draft/2020-12/schema"), false),
        ] {
            let schema = json!({"$schema": dialect});
            assert_eq!(Declared(schema.as_object().unwrap()).hides_neighbours(&property), is_hidden);
        }
    }

    #[test]
    fn the_limit_argument_must_accept_some_number() {
        let found = |property: Value| {
            let schema = json!({"type": "object", "properties": {"limit": property}, "$defs": {"x": {"maximum": 0.5}}});
            let schema = schema.as_object().unwrap();
            let compiled = InputSchema::compile(schema, &mut schema::Budget::default()).unwrap();
            let mut findings = Findings::default();
            limit_argument("limit", Declared(schema), Some(&compiled), "at", &mut findings);
            findings.0.len()
        };
        for (property, count) in [
            (json!({"type": "integer", "minimum": 1, "maximum": 500}), 0),
            (json!({"type": "integer", "minimum": 20}), 0),
            (json!({"type": "number", "exclusiveMinimum": 7.5}), 0),
            (json!({"enum": [10, 20, null]}), 0),
            (json!({"type": ["integer", "null"], "multipleOf": 7}), 0),
            (json!({"enum": ["all"]}), 1),
            (json!({"type": "string"}), 1),
            (json!({"type": "integer", "maximum": 0}), 1),
            (json!({"type": "integer", "$ref": "#/$defs/x"}), 1),
            (json!({"allOf": [{"minimum": 5}, {"maximum": 4.5}]}), 1),
            (json!(false), 1),
        ] {
            assert_eq!(found(property.clone()), count, "{property}");
        }
    }
}
