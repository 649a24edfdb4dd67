//! The schema of a tool's structured content as clients see it, and what a tool that wrote says in the place of its content.
//!
//! Clients take a result that does not conform for a failed call. A call that wrote must not be repeated because of the form of its
//! answer, so the listed schema of a tool that writes has one more form, in which the server says that the call succeeded.

use portcullis_crds::{contract::Effect, json_object::JsonObject};
use serde_json::{Value, json};

use crate::{fingerprint::Fingerprint, protocol::json};

/// The property of that form: a sentence.
const UNSTRUCTURED: &str = "portcullis.dev/unstructured";

/// The structured content of a call that wrote and whose answer does not conform.
pub fn unstructured(why: &str) -> String {
    json::value(&json!({UNSTRUCTURED: why}))
}

/// The schema as clients see it.
pub(super) fn listed(schema: &JsonObject, effect: Effect) -> Value {
    let mut schema = schema.0.clone();
    if effect == Effect::Read {
        return schema.into();
    }
    let mut listed = json!({"type": "object"});
    if let Some(dialect) = schema.remove("$schema") {
        listed["$schema"] = dialect;
    }
    let text = json::value(&Value::Object(schema.clone()));
    // References begin at the root of the schema, which an identifier of its own keeps.
    if (text.contains(r#""$ref""#) || text.contains(r#""$dynamicRef""#)) && !schema.contains_key("$id") {
        let id = format!("urn:portcullis:{}", hex::encode(Fingerprint::of(&[&text]).as_bytes()));
        schema.insert("$id".into(), id.into());
    }
    listed["anyOf"] = json!([schema, {
        "type": "object",
        "required": [UNSTRUCTURED],
        "properties": {UNSTRUCTURED: {
            "type": "string",
            "description": "The call succeeded, and this says why its answer does not have the other form. Do not repeat the call.",
        }},
    }]);
    listed
}

#[cfg(test)]
mod tests {
    use portcullis_crds::schema::{Budget, Instance, OutputSchema, Steps};

    use super::*;

    #[test]
    fn the_listed_schema_of_a_write_admits_its_own_form_and_the_one_of_the_server() {
        for declared in [
            json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}),
            json!({"type": "object", "required": ["id"], "properties": {"id": {"$ref": "#/$defs/id"}, "in": {"$ref": "#"}},
                "$defs": {"id": {"type": "string"}}}),
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["id"],
                "properties": {"id": {"$ref": "#/definitions/id"}, "in": {"$ref": "#"}}, "definitions": {"id": {"type": "string"}}}),
        ] {
            let declared = JsonObject(declared.as_object().unwrap().clone());
            assert_eq!(listed(&declared, Effect::Read), Value::Object(declared.0.clone()));
            let listed = listed(&declared, Effect::Write);
            let schema = OutputSchema::compile(listed.as_object().unwrap(), &mut Budget::default()).unwrap();
            let library = jsonschema::validator_for(&listed).unwrap();
            let own: Value = serde_json::from_str(&unstructured("The call succeeded.")).unwrap();
            for (content, conforms) in [
                (json!({"id": "1"}), true),
                (own, true),
                (json!({"id": 1}), false),
                (json!({}), false),
                (json!({UNSTRUCTURED: 1}), false),
            ] {
                let verdict = schema.check(&Instance::new(&content), Steps::new(20_000)).unwrap().is_ok();
                assert_eq!((verdict, library.is_valid(&content)), (conforms, conforms), "{content}");
            }
        }
    }
}
