//! The entry of a tool in `tools/list`, in which each client sees its own maximum of records.

use portcullis_crds::{
    contract::{self, Effect},
    schema::WholeNumbers,
};
use serde_json::{Value, json};

use super::tool::LimitArgument;
use crate::protocol::json;

/// An entry, as JSON.
pub struct Definition {
    plain: String,
    limited: Option<Limited>,
}

/// The same around the `maximum` of the argument that limits the records.
struct Limited {
    before: String,
    after: String,
    numbers: WholeNumbers,
}

impl Definition {
    pub(super) fn new(tool: &contract::Tool, limit: Option<&LimitArgument>) -> Self {
        let mut entry = json!({
            "name": tool.name.as_str(),
            "description": tool.description,
            "inputSchema": tool.input_schema.0,
            "annotations": {"readOnlyHint": tool.effect() == Effect::Read},
        });
        if let Some(title) = &tool.title {
            entry["title"] = title.as_str().into();
        }
        let plain = json::value(&entry);
        let limited = limit.and_then(|limit| Limited::new(entry, &plain, limit));
        Self { plain, limited }
    }

    /// The most bytes that it takes.
    pub fn most_bytes(&self) -> usize {
        self.plain.len() + 32
    }

    /// Appends the entry for a client with this maximum of records.
    pub fn push(&self, max_records: u32, out: &mut String) {
        let limited = self.limited.as_ref();
        match limited.and_then(|limited| Some((limited, limited.numbers.accepted(max_records.into()).next()?))) {
            Some((Limited { before, after, .. }, most)) => {
                out.extend([before.as_str(), &most.to_string(), after]);
            }
            None => out.push_str(&self.plain),
        }
    }
}

impl Limited {
    fn new(mut entry: Value, plain: &str, limit: &LimitArgument) -> Option<Self> {
        let property = entry["inputSchema"].get_mut("properties")?.get_mut(&limit.name)?.as_object_mut()?;
        // In draft 7 it would hide what is beside it.
        if property.contains_key("$ref") {
            return None;
        }
        let mark = (0..).map(|n| format!("maximum {n}")).find(|mark| !plain.contains(&json::string(mark)))?;
        property.insert("maximum".into(), mark.as_str().into());
        let marked = json::value(&entry);
        let (before, after) = marked.split_once(&json::string(&mark))?;
        Some(Self { before: before.into(), after: after.into(), numbers: limit.numbers.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::fixtures::tool;

    #[test]
    fn a_client_sees_its_own_maximum_in_the_schema_of_the_limit() {
        let shown = |limit: &Value, max: u32| {
            let tool = tool(&json!({"title": "maximum 0", "records": {"path": "/items", "limitArgument": "limit"},
                "inputSchema": {"type": "object", "properties": {"limit": limit, "q": {"maximum": 7}},
                    "$defs": {"x": {"maximum": 9}}}}));
            let mut text = String::new();
            tool.definition.push(max, &mut text);
            assert!(text.len() <= tool.definition.most_bytes());
            let entry: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (&entry["title"], &entry["inputSchema"]["properties"]["q"]),
                (&json!("maximum 0"), &json!({"maximum": 7}))
            );
            entry["inputSchema"]["properties"]["limit"].clone()
        };
        for (limit, max, expected) in [
            (json!({"type": "integer"}), 10, json!({"type": "integer", "maximum": 10})),
            (json!({"type": "integer", "maximum": 50.0}), 10, json!({"type": "integer", "maximum": 10})),
            (json!({"type": "integer", "maximum": 50.0}), 100, json!({"type": "integer", "maximum": 50})),
            // A limit that the client would not be given stays as it is: its records are bounded in the result.
            (json!({"type": "integer", "minimum": 20}), 10, json!({"type": "integer", "minimum": 20})),
            (json!({"$ref": "#/$defs/x"}), 5, json!({"$ref": "#/$defs/x"})),
        ] {
            assert_eq!(shown(&limit, max), expected, "{limit} {max}");
        }
    }
}
