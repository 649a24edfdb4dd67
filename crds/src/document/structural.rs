//! The schema of a type as the API server gets it: structural, without references.

use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

/// The OpenAPI schema of a type.
pub fn structural_schema<T: JsonSchema>() -> Value {
    SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// The same schema as JSON Schema, which has no `nullable`, and no integer that may be a string: there are several types instead.
pub(super) fn json_schema<T: JsonSchema>() -> Value {
    let mut schema = structural_schema::<T>();
    state_types(&mut schema);
    schema
}

fn state_types(schema: &mut Value) {
    if let Value::Object(map) = schema {
        if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            map.insert("type".into(), json!(["integer", "string"]));
        }
        if map.get("nullable") == Some(&Value::Bool(true)) {
            if let Some(Value::String(kind)) = map.get("type").cloned() {
                map.insert("type".into(), json!([kind, "null"]));
            }
            if let Some(Value::Array(values)) = map.get_mut("enum")
                && !values.contains(&Value::Null)
            {
                values.push(Value::Null);
            }
        }
        map.values_mut().for_each(state_types);
    } else if let Value::Array(items) = schema {
        items.iter_mut().for_each(state_types);
    }
}
