//! The CustomResourceDefinitions, as files for `kubectl apply -f crds/`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{client::McpClient, server::McpServer};

/// The annotation of a definition that says of which release it is.
pub const RELEASE: &str = "portcullis.dev/release";

/// The name of each file in the folder of this crate, and its definition.
pub fn all() -> [(&'static str, CustomResourceDefinition); 2] {
    [("mcpclients.yaml", finish(McpClient::crd())), ("mcpservers.yaml", finish(McpServer::crd()))]
}

/// The text of a file: a comment about its origin, and the definition.
///
/// # Errors
/// Returns an error of the serializer. The definitions of this crate cause none.
pub fn print(definition: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let text = serde_yaml::to_string(definition)?;
    let lines: String = text.lines().map(|line| quoted(line) + "\n").collect();
    Ok(format!("# Printed by `portcullis-operator crds`; edit the types in crds/src instead.\n{lines}"))
}

/// A line, with its value in quotes if kubectl, which reads YAML 1.1, would read the value as a boolean.
fn quoted(line: &str) -> String {
    let (before, word) = line.rsplit_once(' ').unwrap_or(("", line));
    let is_boolean = ["y", "n", "yes", "no", "on", "off"].iter().any(|it| word.eq_ignore_ascii_case(it));
    let is_value = before.ends_with('-') || before.ends_with(':');
    if is_boolean && is_value { format!("{before} '{word}'") } else { line.to_owned() }
}

/// Adds what the derived schema lacks, and replaces what an API server takes otherwise.
fn finish(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(&definition).expect("a definition must have a JSON form");
    adapt(&mut value);
    // Until the operator has observed the object, a missing status must not be read as success.
    let versions = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        if let Some(status) = version.pointer_mut("/schema/openAPIV3Schema/properties/status") {
            status["default"] = json!({"observedGeneration": -1});
        }
    }
    value["metadata"]["annotations"] = json!({RELEASE: env!("CARGO_PKG_VERSION")});
    serde_json::from_value(value).expect("a definition with other formats must stay one")
}

/// Kubernetes has the formats `int32` and `int64`; the range of an unsigned number is stated by its minimum. No field is nullable: the
/// API server keeps a null of a nullable field, for which CEL and the `scale` subresource do not take it as absent, and drops any other.
fn adapt(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(format)) = map.get_mut("format")
                && format.starts_with("uint")
            {
                *format = "int32".into();
            }
            if map.get("nullable").is_some_and(Value::is_boolean) {
                map.remove("nullable");
                if let Some(Value::Array(words)) = map.get_mut("enum") {
                    words.retain(|word| !word.is_null());
                }
            }
            map.values_mut().for_each(adapt);
        }
        Value::Array(items) => items.iter_mut().for_each(adapt),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_files_are_what_the_types_say() {
        for (name, definition) in super::all() {
            let printed = super::print(&definition).unwrap();
            for folder in [".", "../charts/portcullis/crds"] {
                let path = format!("{}/{folder}/{name}", env!("CARGO_MANIFEST_DIR"));
                let file = std::fs::read_to_string(&path).unwrap_or_default();
                assert_eq!(file, printed, "run `make generate`: {path} is not what the types say");
            }
        }
    }
}
