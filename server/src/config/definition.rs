//! The entry of a tool in `tools/list`: each client sees its own maximum of records, and what its revision of MCP knows.

use portcullis_crds::{
    contract::{self, Effect, Icon, Theme},
    schema::WholeNumbers,
};
use serde_json::{Value, json};

use super::{output, tool::LimitArgument};
use crate::protocol::{era::Version, json};

/// An entry, as JSON.
pub struct Definition {
    /// What all revisions know, without the brace at its end.
    plain: String,
    limited: Option<Limited>,
    /// The annotations in 2025-03-26, with the title.
    titled_annotations: String,
    /// The annotations, the title and the schema of the structured content in 2025-06-18.
    later: String,
    /// What came with 2025-11-25: the icons.
    icons: String,
}

/// The same around the `maximum` of the argument that limits the records.
struct Limited {
    before: String,
    after: String,
    numbers: WholeNumbers,
}

impl Definition {
    /// `icons` are those that clients may load.
    pub(super) fn new(tool: &contract::Tool, icons: &[Icon], limit: Option<&LimitArgument>) -> Self {
        let entry = json!({
            "name": tool.name.as_str(),
            "description": tool.description,
            "inputSchema": tool.input_schema.0,
        });
        let plain = open(&entry);
        let limited = limit.and_then(|limit| Limited::new(entry, &plain, limit));
        let annotations = annotations(tool);
        let mut titled = annotations.clone();
        let mut later = member("annotations", &annotations);
        if let Some(title) = &tool.title {
            titled["title"] = title.as_str().into();
            later.push_str(&member("title", &title.as_str().into()));
        }
        if let Some(schema) = &tool.output_schema {
            later.push_str(&member("outputSchema", &output::listed(schema, tool.effect())));
        }
        let icons = match icons {
            [] => String::new(),
            icons => member("icons", &icons.iter().map(icon).collect()),
        };
        Self { plain, limited, titled_annotations: member("annotations", &titled), later, icons }
    }

    /// The most bytes that it takes.
    pub fn most_bytes(&self) -> usize {
        self.plain.len() + self.titled_annotations.len() + self.later.len() + self.icons.len() + 32
    }

    /// Appends the entry for a client with this maximum of records, as its revision has it. Later revisions are as the latest here.
    pub fn push(&self, max_records: u32, version: Version, out: &mut String) {
        let limited = self.limited.as_ref();
        match limited.and_then(|limited| Some((limited, limited.numbers.accepted(max_records.into()).next()?))) {
            Some((Limited { before, after, .. }, most)) => {
                out.extend([before.as_str(), &most.to_string(), after]);
            }
            None => out.push_str(&self.plain),
        }
        out.push_str(match version {
            Version::V2025_03_26 => &self.titled_annotations,
            Version::V2025_06_18 | Version::V2025_11_25 => &self.later,
        });
        if version == Version::V2025_11_25 {
            out.push_str(&self.icons);
        }
        out.push('}');
    }
}

/// The hints that were set. Clients assume the default of any other one.
fn annotations(tool: &contract::Tool) -> Value {
    let mut annotations = json!({"readOnlyHint": tool.effect() == Effect::Read});
    let set = tool.annotations.unwrap_or_default();
    for (name, hint) in [
        ("destructiveHint", set.destructive_hint),
        ("idempotentHint", set.idempotent_hint),
        ("openWorldHint", set.open_world_hint),
    ] {
        if let Some(hint) = hint {
            annotations[name] = hint.into();
        }
    }
    annotations
}

fn icon(icon: &Icon) -> Value {
    let mut shown = json!({"src": icon.src});
    if let Some(media) = &icon.mime_type {
        shown["mimeType"] = media.as_str().into();
    }
    if !icon.sizes.is_empty() {
        shown["sizes"] = json!(icon.sizes);
    }
    if let Some(theme) = icon.theme {
        let theme = match theme {
            Theme::Light => "light",
            Theme::Dark => "dark",
        };
        shown["theme"] = theme.into();
    }
    shown
}

/// An object without the brace at its end.
fn open(object: &Value) -> String {
    let mut text = json::value(object);
    text.pop();
    text
}

/// A member that follows others.
fn member(name: &str, value: &Value) -> String {
    format!(",\"{name}\":{}", json::value(value))
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
        let marked = open(&entry);
        let (before, after) = marked.split_once(&json::string(&mark))?;
        Some(Self { before: before.into(), after: after.into(), numbers: limit.numbers.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::fixtures::tool;

    fn shown(more: &Value, max: u32, version: Version) -> Value {
        let tool = tool(more);
        let mut text = String::new();
        tool.definition.push(max, version, &mut text);
        assert!(text.len() <= tool.definition.most_bytes());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_client_sees_its_own_maximum_in_the_schema_of_the_limit() {
        let shown = |limit: &Value, max: u32| {
            let more = json!({"title": "maximum 0", "records": {"path": "/items", "limitArgument": "limit"},
                "inputSchema": {"type": "object", "properties": {"limit": limit, "q": {"maximum": 7}},
                    "$defs": {"x": {"maximum": 9}}}});
            let entry = shown(&more, max, Version::LATEST);
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

    #[test]
    fn a_client_sees_what_its_revision_knows() {
        let more = json!({
            "title": "Find", "outputSchema": {"type": "object", "required": ["items"]},
            "annotations": {"idempotentHint": true, "openWorldHint": false},
            "icons": [{"src": "https://a.example/b.png", "mimeType": "image/png", "sizes": ["48x48"], "theme": "Dark"}],
        });
        let hints = json!({"readOnlyHint": true, "idempotentHint": true, "openWorldHint": false});
        let entry = |more: Value| {
            let tool = shown(&json!({}), 1, Version::V2025_03_26);
            let mut entry =
                json!({"name": tool["name"], "description": tool["description"], "inputSchema": tool["inputSchema"]});
            entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            entry
        };
        let mut titled = hints.clone();
        titled["title"] = json!("Find");
        assert_eq!(shown(&more, 1, Version::V2025_03_26), entry(json!({"annotations": titled})));
        let mut later =
            json!({"annotations": hints, "title": "Find", "outputSchema": {"type": "object", "required": ["items"]}});
        assert_eq!(shown(&more, 1, Version::V2025_06_18), entry(later.clone()));
        later["icons"] =
            json!([{"src": "https://a.example/b.png", "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}]);
        assert_eq!(shown(&more, 1, Version::V2025_11_25), entry(later));
    }
}
