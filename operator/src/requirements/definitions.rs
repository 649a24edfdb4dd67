//! Whether a CustomResourceDefinition of the cluster has what this operator uses of it. A newer one, with more fields, does.
//!
//! Only what the API server would drop or refuse counts: a field, a word of an enum, a type, or a part of an object of any fields. The
//! bounds of values do not: by those of the cluster the API server tells an author more or less early what the operator says anyway.

use serde_json::Value;

/// How many fields a message names.
const NAMED: usize = 5;

/// What is wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Missing,
    Terminating,
    NotEstablished,
    /// A version of the kind is not served.
    NotServed(String),
    /// It lacks these, by their paths.
    Older(Vec<String>),
}

/// What is wrong with `theirs`, which the cluster has, for a program that was made for `ours`.
pub fn problem(ours: &Value, theirs: Option<&Value>) -> Option<Problem> {
    let Some(theirs) = theirs else { return Some(Problem::Missing) };
    if !theirs["metadata"]["deletionTimestamp"].is_null() {
        return Some(Problem::Terminating);
    }
    let mut lacking = Vec::new();
    for version in versions(ours) {
        let name = version["name"].as_str().unwrap_or_default();
        let same = versions(theirs).find(|it| it["name"] == version["name"] && it["served"] == true);
        let Some(same) = same else { return Some(Problem::NotServed(name.to_owned())) };
        if version["subresources"]["status"].is_object() && !same["subresources"]["status"].is_object() {
            lacking.push("the subresource status".to_owned());
        }
        let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
        compare("", &schema(version), &schema(same), &mut lacking);
    }
    if !lacking.is_empty() {
        return Some(Problem::Older(lacking));
    }
    let conditions = theirs["status"]["conditions"].as_array().into_iter().flatten();
    let is_established = conditions.into_iter().any(|it| it["type"] == "Established" && it["status"] == "True");
    (!is_established).then_some(Problem::NotEstablished)
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition["spec"]["versions"].as_array().into_iter().flatten()
}

/// Adds what `ours` has and `theirs` lacks, by its path.
fn compare(path: &str, ours: &Value, theirs: &Value, lacking: &mut Vec<String>) {
    const ANY_FIELDS: &str = "x-kubernetes-preserve-unknown-fields";
    if ours[ANY_FIELDS] == true && theirs[ANY_FIELDS] != true {
        lacking.push(format!("fields of any name in {path}"));
    }
    if is_other(&ours["type"], &theirs["type"]) {
        lacking.push(format!("the type {} of {path}", ours["type"].as_str().unwrap_or_default()));
        return;
    }
    // Without an enum every word is admitted.
    if let (Some(ours), Some(theirs)) = (ours["enum"].as_array(), theirs["enum"].as_array()) {
        let words = ours.iter().filter(|word| !theirs.contains(word));
        lacking.extend(words.map(|word| format!("{word} of {path}")));
    }
    let keeps_any = theirs[ANY_FIELDS] == true;
    for (name, ours) in ours["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match theirs["properties"].get(name) {
            Some(theirs) => compare(&path, ours, theirs, lacking),
            None if keeps_any => {}
            None => lacking.push(path),
        }
    }
    for (of, shown) in [("items", "[]"), ("additionalProperties", ".*")] {
        match (ours.get(of), theirs.get(of)) {
            (Some(ours), Some(theirs)) => compare(&format!("{path}{shown}"), ours, theirs, lacking),
            (Some(_), None) if !keeps_any => lacking.push(format!("{path}{shown}")),
            _ => {}
        }
    }
}

/// Whether there are two types, and they differ.
fn is_other(ours: &Value, theirs: &Value) -> bool {
    ours.is_string() && theirs.is_string() && ours != theirs
}

impl Problem {
    /// The sentence about the definition of this name.
    pub fn sentence(&self, name: &str) -> String {
        let definition = format!("CustomResourceDefinition {name}");
        match self {
            Self::Missing => format!("{definition} is missing"),
            Self::Terminating => format!("{definition} is being deleted"),
            Self::NotEstablished => format!("{definition} is not established"),
            Self::NotServed(version) => format!("{definition} does not serve the version {version}"),
            Self::Older(lacking) => {
                let named = lacking.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
                let more = match lacking.len().saturating_sub(NAMED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("{definition} is older than this operator: it lacks {named}{more}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_crds::manifest;
    use serde_json::json;

    use super::*;

    /// The definitions of this operator, as a cluster has them.
    fn ours() -> Vec<Value> {
        let established = json!({"conditions": [{"type": "Established", "status": "True"}]});
        let all = manifest::all().into_iter().map(|(_, definition)| serde_json::to_value(definition).unwrap());
        all.map(|mut definition| {
            definition["status"] = established.clone();
            definition
        })
        .collect()
    }

    fn schema(spec: &Value) -> Value {
        json!({
            "spec": {"versions": [{
                "name": "v1", "served": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        })
    }

    #[test]
    fn a_definition_lacks_what_the_api_server_would_drop_or_refuse() {
        let spec = json!({"type": "object", "properties": {
            "mode": {"type": "string", "enum": ["A", "B"]},
            "list": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let (ours, of) = (schema(&spec), "/spec/versions/0/schema/openAPIV3Schema/properties/spec");
        let older = |what: &str| Some(Problem::Older(vec![what.to_owned()]));
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        for (path, value, expected) in [
            ("/metadata", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), Some(Problem::Terminating)),
            ("/status", json!({}), Some(Problem::NotEstablished)),
            ("/spec/versions/0/served", json!(false), Some(Problem::NotServed("v1".into()))),
            ("/spec/versions/0/name", json!("v2"), Some(Problem::NotServed("v1".into()))),
            ("/spec/versions/0/subresources", json!({}), older("the subresource status")),
            (of, any, None),
            ("mode/enum", json!(["B", "A", "C"]), None),
            ("mode/enum", json!(["A"]), older("\"B\" of spec.mode")),
            ("mode", json!({"type": "string", "maxLength": 1}), None),
            ("mode", json!({"type": "integer"}), older("the type string of spec.mode")),
            ("list/items", json!({"type": "object", "properties": {}}), older("spec.list[].name")),
            ("labels", json!({"type": "object"}), older("spec.labels.*")),
            ("any", json!({"type": "object"}), older("fields of any name in spec.any")),
            ("later", json!({"type": "object"}), None),
        ] {
            let mut theirs = ours.clone();
            let path = if path.starts_with('/') { path.to_owned() } else { format!("{of}/properties/{path}") };
            let (parent, key) = path.rsplit_once('/').unwrap();
            theirs.pointer_mut(parent).unwrap()[key] = value;
            assert_eq!(problem(&ours, Some(&theirs)), expected, "{path}");
        }
        assert_eq!(problem(&ours, None), Some(Problem::Missing));
    }

    #[test]
    fn this_operators_own_definitions_lack_nothing() {
        for definition in ours() {
            assert_eq!(problem(&definition, Some(&definition)), None);
        }
    }

    /// The places of all properties and enums of a schema: the pointer in the document, and the path for people.
    fn places(pointer: &str, path: &str, schema: &Value, found: &mut Vec<(String, String)>) {
        for (number, word) in schema["enum"].as_array().into_iter().flatten().enumerate() {
            found.push((format!("{pointer}/enum/{number}"), format!("{word} of {path}")));
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let pointer = format!("{pointer}/properties/{}", name.replace('~', "~0").replace('/', "~1"));
            places(&pointer, &path, property, found);
            found.push((pointer, path));
        }
        for (of, shown) in [("items", "[]"), ("additionalProperties", ".*")] {
            if let Some(schema) = schema.get(of) {
                places(&format!("{pointer}/{of}"), &format!("{path}{shown}"), schema, found);
            }
        }
    }

    #[test]
    fn each_property_and_each_word_of_an_enum_that_is_removed_is_named() {
        for definition in ours() {
            let (root, mut found) = ("/spec/versions/0/schema/openAPIV3Schema", Vec::new());
            places(root, "", definition.pointer(root).unwrap(), &mut found);
            assert!(found.len() > 40, "{}", found.len());
            for (pointer, path) in found {
                let mut theirs = definition.clone();
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                match theirs.pointer_mut(parent).unwrap() {
                    Value::Array(words) => drop(words.remove(key.parse().unwrap())),
                    parent => {
                        let key = key.replace("~1", "/").replace("~0", "~");
                        assert!(parent.as_object_mut().unwrap().remove(&key).is_some(), "{pointer}");
                    }
                }
                assert_eq!(problem(&definition, Some(&theirs)), Some(Problem::Older(vec![path])));
            }
        }
    }

    #[test]
    fn a_message_names_the_first_fields() {
        let lacking: Vec<String> = (1..=7).map(|number| format!("spec.a{number}")).collect();
        let said = [2, 7].map(|count| Problem::Older(lacking[..count].to_vec()).sentence("x.example.com"));
        let older = "CustomResourceDefinition x.example.com is older than this operator: it lacks";
        assert_eq!(
            said,
            [
                format!("{older} spec.a1, spec.a2"),
                format!("{older} spec.a1, spec.a2, spec.a3, spec.a4, spec.a5 and 2 more")
            ]
        );
    }
}
