//! The arguments that a tool's schema declares.

use serde_json::{Map, Value};

use crate::Findings;

/// The properties of a tool's `inputSchema`, as templates and other fields refer to them.
#[derive(Clone, Copy)]
pub(super) struct Declared<'a>(pub &'a Map<String, Value>);

impl<'a> Declared<'a> {
    /// The schema of an argument.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get("properties")?.get(name)
    }

    pub fn is_required(self, name: &str) -> bool {
        let required = self.0.get("required").and_then(Value::as_array);
        required.into_iter().flatten().any(|required| required == name)
    }

    /// Adds a finding for each of the names that is not declared.
    pub fn check<'n>(self, names: impl IntoIterator<Item = &'n str>, at: &str, findings: &mut Findings) {
        for name in names {
            if self.get(name).is_none() {
                findings.add(at, self.undeclared(name));
            }
        }
    }

    /// The message about an argument that is not declared.
    pub fn undeclared(self, name: &str) -> String {
        let known = self.0.get("properties").and_then(Value::as_object);
        let known: Vec<_> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("`{name}` is not a property of inputSchema; its properties: {known}")
    }
}

/// Checks the argument that limits the number of records. It is set to the maximum of the client that calls, so every integer
/// from 1 up must be valid.
pub(super) fn limit_argument(name: &str, arguments: Declared<'_>, at: &str, findings: &mut Findings) {
    let Some(property) = arguments.get(name) else { return findings.add(at, arguments.undeclared(name)) };
    if property.get("type").and_then(Value::as_str) != Some("integer") {
        findings.add(at, format!("`{name}` must have `type: integer` in inputSchema"));
    }
    let is_above =
        |keyword: &str, most: f64| property.get(keyword).and_then(Value::as_f64).is_some_and(|least| least > most);
    if is_above("minimum", 1.0) || is_above("exclusiveMinimum", 0.0) {
        let message =
            format!("`{name}` must accept 1 in inputSchema: a client with a smaller maximum could never call the tool");
        findings.add(at, message);
    }
    for keyword in ["const", "enum", "multipleOf"] {
        if property.get(keyword).is_some() {
            let message = format!(
                "`{name}` must not have `{keyword}` in inputSchema: it is set to the maximum of the client that calls"
            );
            findings.add(at, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_limit_argument_must_accept_every_maximum() {
        let found = |property: Value| {
            let schema = json!({"properties": {"limit": property}});
            let mut findings = Findings::default();
            limit_argument("limit", Declared(schema.as_object().unwrap()), "at", &mut findings);
            findings.0.len()
        };
        assert_eq!(found(json!({"type": "integer", "minimum": 1, "maximum": 500})), 0);
        for property in [
            json!({"type": "integer", "minimum": 20}),
            json!({"type": "integer", "exclusiveMinimum": 1}),
            json!({"type": "integer", "enum": [10, 20]}),
            json!({"type": "string"}),
        ] {
            assert_eq!(found(property.clone()), 1, "{property}");
        }
    }
}
