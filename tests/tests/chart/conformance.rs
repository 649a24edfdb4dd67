//! Every object of the chart has only the fields of its kind: kubeconform compares it with the OpenAPI documents of the Kubernetes that
//! the tests run, and with the CustomResourceDefinitions.

use std::path::Path;

use portcullis_tests::tool;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::helm::{CHART, Run, files_of_values, objects, rendered_text, run};

#[test]
fn each_object_has_the_fields_of_its_kind_and_no_others() {
    let schemas = Schemas::new();
    for file in files_of_values() {
        let text = rendered_text(&file);
        let Run { succeeded, text: said } = schemas.check(&text);
        assert!(succeeded, "{file}: {said}");
        let valid = format!("Valid: {}, Invalid: 0, Errors: 0, Skipped: 0", objects(&text).len());
        assert!(said.contains(&valid), "{file}: {said}");
    }
}

#[test]
fn a_field_that_is_unknown_or_has_another_type_is_found() {
    let schemas = Schemas::new();
    let text = rendered_text(&files_of_values()[0]);
    for (from, to, expected) in [
        ("automountServiceAccountToken: true", "automountServiceAccountTokens: true", "automountServiceAccountTokens"),
        ("replicas: 1", "replicas: one", "/spec/replicas"),
        ("backoffLimit: 2", "backoffLimits: 2", "backoffLimits"),
        ("runAsUser: 65532", "runAsUser: nobody", "/securityContext/runAsUser"),
        ("tools: [greet]", "tool: [greet]", "additional properties 'tool' not allowed"),
        ("scope: Namespaced", "scoped: Namespaced", "scoped"),
    ] {
        assert!(text.contains(from), "{from}");
        let Run { succeeded, text: said } = schemas.check(&text.replace(from, to));
        assert!(!succeeded && said.contains(expected), "{to}: {said}");
    }
}

/// A folder with a JSON Schema for each kind.
struct Schemas(TempDir);

impl Schemas {
    fn new() -> Self {
        let schemas = Self(tempfile::tempdir().unwrap());
        let openapi = tool("openapi").unwrap();
        for file in [
            "api__v1",
            "apis__apps__v1",
            "apis__batch__v1",
            "apis__rbac.authorization.k8s.io__v1",
            "apis__apiextensions.k8s.io__v1",
        ] {
            schemas.write_kinds(&openapi.join(format!("{file}_openapi.json")));
        }
        for file in ["mcpservers.yaml", "mcpclients.yaml"] {
            let text = std::fs::read_to_string(format!("{CHART}/crds/{file}")).unwrap();
            schemas.write_definition(&serde_yaml::from_str(&text).unwrap());
        }
        schemas
    }

    fn check(&self, text: &str) -> Run {
        let location = format!(
            "{}/{{{{.Group}}}}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json",
            self.0.path().display()
        );
        run("kubeconform", &["-strict", "-summary", "-schema-location", &location], text)
    }

    /// Every kind of an OpenAPI document.
    fn write_kinds(&self, file: &Path) {
        let mut document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut schemas = document["components"]["schemas"].take();
        schemas.as_object_mut().unwrap().values_mut().for_each(strict);
        for (name, schema) in schemas.as_object().unwrap() {
            for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                let schema = json!({"$ref": format!("#/definitions/{name}"), "definitions": schemas});
                self.write(kind["group"].as_str(), kind["kind"].as_str(), kind["version"].as_str(), &schema);
            }
        }
    }

    fn write_definition(&self, definition: &Value) {
        let spec = &definition["spec"];
        for version in spec["versions"].as_array().unwrap() {
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            for common in ["apiVersion", "kind", "metadata"] {
                schema["properties"][common] = json!({});
            }
            strict(&mut schema);
            self.write(spec["group"].as_str(), spec["names"]["kind"].as_str(), version["name"].as_str(), &schema);
        }
    }

    fn write(&self, group: Option<&str>, kind: Option<&str>, version: Option<&str>, schema: &Value) {
        // kubeconform calls the core group by its version.
        let group = group.filter(|group| !group.is_empty()).or(version).unwrap();
        let folder = self.0.path().join(group);
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("{}_{}.json", kind.unwrap().to_lowercase(), version.unwrap());
        std::fs::write(folder.join(name), schema.to_string()).unwrap();
    }
}

/// Makes a schema of OpenAPI one of JSON Schema that refuses fields which are not declared.
fn strict(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(Value::String(reference)) = map.get_mut("$ref") {
        *reference = reference.replace("#/components/schemas/", "#/definitions/");
    }
    let admits_more =
        ["additionalProperties", "x-kubernetes-preserve-unknown-fields"].iter().any(|key| map.contains_key(*key));
    if map.get("properties").is_some_and(Value::is_object) && !admits_more {
        map.insert("additionalProperties".into(), false.into());
    }
    for key in ["items", "additionalProperties", "not"] {
        map.get_mut(key).into_iter().for_each(strict);
    }
    map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut).for_each(strict);
    for key in ["allOf", "anyOf", "oneOf"] {
        map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(strict);
    }
}
