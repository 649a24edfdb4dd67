//! Documents read strictly: a syntax error says its line, and what a schema refuses is named field by field.
//!
//! The schema is the very one that the API server gets, so that a file is refused for what a cluster refuses.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{
    duration::Duration,
    finding::{Finding, Findings},
    name::{BackendName, ClientId, ObjectName, ToolName},
};

/// A text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} column {column}: {message}")]
pub struct SyntaxError {
    /// Both count from 1.
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// The documents of a YAML stream, as JSON. Empty ones are left out.
///
/// # Errors
/// The first syntax error or duplicate key.
pub fn split(text: &str) -> Result<Vec<Value>, SyntaxError> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // serde_yaml's own value refuses duplicate keys, serde_json's does not.
        let value = serde_yaml::Value::deserialize(document).map_err(SyntaxError::from)?;
        let value = serde_json::to_value(value).map_err(|_| SyntaxError {
            line: 1,
            column: 1,
            message: "has a key that is no string".into(),
        })?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

impl From<serde_yaml::Error> for SyntaxError {
    fn from(error: serde_yaml::Error) -> Self {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = error.to_string().replacen(&format!(" at line {line} column {column}"), "", 1);
        Self { line, column, message }
    }
}

/// The one document of a text.
///
/// # Errors
/// As [`split`], and where there is none, or more than one.
pub fn single(text: &str) -> Result<Value, Finding> {
    let mut documents = split(text).map_err(|error| Finding::new("", error.to_string()))?;
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(document),
        (None, _) => Err(Finding::new("", "is empty")),
        (Some(_), false) => Err(Finding::new("", "holds several documents; one is expected")),
    }
}

/// The schema of a type as the API server gets it: structural, without references.
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

/// What refuses a value before it is decoded: made once for each type, for that takes longer than any use of it.
struct Strictness {
    schema: Value,
    validator: Validator,
}

static STRICTNESS: LazyLock<Mutex<HashMap<TypeId, Arc<Strictness>>>> = LazyLock::new(Mutex::default);

impl Strictness {
    fn of<T: JsonSchema + 'static>() -> Result<Arc<Self>, Findings> {
        let mut made = STRICTNESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(strictness) = made.get(&TypeId::of::<T>()) {
            return Ok(strictness.clone());
        }
        let mut schema = structural_schema::<T>();
        admit_null(&mut schema);
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&schema)
            .map_err(|error| Finding::new("", format!("the type's own schema is broken: {error}")))?;
        let strictness = Arc::new(Self { schema, validator });
        made.insert(TypeId::of::<T>(), strictness.clone());
        Ok(strictness)
    }
}

/// Decodes a value, refusing what the schema of its type refuses and every field that it does not have.
///
/// # Errors
/// All findings, their paths below `root`.
pub fn decode<T: JsonSchema + DeserializeOwned + 'static>(value: Value, root: &str) -> Result<T, Findings> {
    let strictness = Strictness::of::<T>()?;
    let mut findings = Findings::default();
    unknown_fields(&strictness.schema, &value, root, &mut findings);
    for error in strictness.validator.iter_errors(&value) {
        let path = path(root, error.instance_path().as_str().split('/').skip(1));
        findings.add(path, words(&error));
    }
    match serde_path_to_error::deserialize(value) {
        Ok(decoded) => findings.or(decoded),
        Err(error) => {
            if findings.is_empty() {
                findings.add(decoded_path(root, error.path()), error.into_inner().to_string());
            }
            Err(findings)
        }
    }
}

/// The path of what serde refused.
fn decoded_path(root: &str, at: &serde_path_to_error::Path) -> String {
    let segments = at.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    let segments: Vec<_> = segments.collect();
    path(root, segments.iter().map(String::as_str))
}

/// A sentence without the value; for the patterns of this crate's own types, what is allowed instead of the pattern.
fn words(error: &ValidationError<'_>) -> String {
    let known = [
        (Duration::PATTERN, Duration::ALLOWED),
        (ToolName::PATTERN, ToolName::ALLOWED),
        (BackendName::PATTERN, BackendName::ALLOWED),
        (ObjectName::PATTERN, ObjectName::ALLOWED),
        (ClientId::PATTERN, ClientId::ALLOWED),
    ];
    let allowed = match error.kind() {
        ValidationErrorKind::Pattern { pattern } => known.iter().find(|(known, _)| known == pattern),
        _ => None,
    };
    allowed.map_or_else(|| error.masked_with("this").to_string(), |(_, allowed)| (*allowed).to_owned())
}

/// `spec.tools[3].backend` of the segments `tools`, `3`, `backend` below `spec`.
fn path<'a>(root: &str, segments: impl Iterator<Item = &'a str>) -> String {
    let mut path = root.to_owned();
    for segment in segments {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&segment);
        }
    }
    path
}

/// Each field that the schema does not have, with those that it has; and what is in a set twice.
fn unknown_fields(schema: &Value, value: &Value, at: &str, findings: &mut Findings) {
    match value {
        Value::Object(fields) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                if let Some(items) = schema.get("additionalProperties").filter(|s| s.is_object()) {
                    for (name, value) in fields {
                        unknown_fields(items, value, &path(at, std::iter::once(name.as_str())), findings);
                    }
                }
                return;
            };
            for (name, value) in fields {
                let here = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                match properties.get(name) {
                    Some(schema) => unknown_fields(schema, value, &here, findings),
                    None => {
                        let known: Vec<_> = properties.keys().map(String::as_str).collect();
                        findings.add(here, format!("unknown field; there are: {}", known.join(", ")));
                    }
                }
            }
        }
        Value::Array(items) => {
            let is_set = schema.get("x-kubernetes-list-type").is_some_and(|kind| kind == "set");
            if let Some(schema) = schema.get("items") {
                for (n, item) in items.iter().enumerate() {
                    if is_set && items[..n].contains(item) {
                        findings.add(format!("{at}[{n}]"), "is there twice");
                    }
                    unknown_fields(schema, item, &format!("{at}[{n}]"), findings);
                }
            }
        }
        _ => {}
    }
}

/// JSON Schema does not know OpenAPI's `nullable`: says the same in its own words.
fn admit_null(schema: &mut Value) {
    if let Value::Object(map) = schema {
        if map.get("nullable") == Some(&Value::Bool(true)) {
            if let Some(Value::String(kind)) = map.get("type").cloned() {
                map.insert("type".into(), serde_json::json!([kind, "null"]));
            }
            if let Some(Value::Array(values)) = map.get_mut("enum")
                && !values.contains(&Value::Null)
            {
                values.push(Value::Null);
            }
        }
        map.values_mut().for_each(admit_null);
    } else if let Value::Array(items) = schema {
        items.iter_mut().for_each(admit_null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::McpClientSpec, server::McpServerSpec};

    fn findings<T: JsonSchema + DeserializeOwned + 'static>(text: &str) -> Vec<String> {
        let decoded = decode::<T>(single(text).unwrap(), "spec");
        decoded.err().map_or_else(Vec::new, |findings| findings.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let text = "
backends: [{name: crm, http: {url: 'ftp://x', colour: red}}]
tools: [{name: 'a b', description: x, backend: crm, effect: Erase, timeout: soon}]
limits: {perClient: {requests: 0, per: 1m}}
";
        insta::assert_snapshot!(findings::<McpServerSpec>(text).join("\n"));
    }

    #[test]
    fn a_missing_field_is_named_by_its_parent() {
        let text = "access: [{serverRef: {name: crm}, tools: []}]\ncredentials: {}";
        assert_eq!(
            findings::<McpClientSpec>(text),
            vec![r#"spec.access[0]: "maxRecordsPerQuery" is a required property"#]
        );
    }

    #[test]
    fn a_syntax_error_says_its_line() {
        let error = split("a: 1\nb: [1,\nc: }").unwrap_err();
        assert_eq!((error.line, error.column), (3, 4), "{error}");
        let error = split("a: 1\na: 2").unwrap_err();
        assert!(error.message.contains("duplicate"), "{error}");
    }

    #[test]
    fn a_text_may_hold_several_documents() {
        assert_eq!(split("a: 1\n---\n---\nb: 2\n").unwrap().len(), 2);
        assert!(single("a: 1\n---\nb: 2\n").is_err());
        assert!(single("# nothing\n").is_err());
    }
}
