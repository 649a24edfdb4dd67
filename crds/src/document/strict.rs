//! Values decoded strictly: everything that the schema of a type refuses is named, field by field.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::{PatternOptions, Validator};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{
    fields::{self, Rules, path},
    sentence::sentence,
    structural::json_schema,
};
use crate::finding::{Finding, Findings};

/// Decodes a value, and refuses what the schema of its type refuses and every field that the schema does not have.
///
/// # Errors
/// Returns all findings. Their paths begin with `root`.
pub fn decode<T: JsonSchema + DeserializeOwned + 'static>(value: Value, root: &str) -> Result<T, Findings> {
    let schema = CompiledSchema::of::<T>()?;
    let mut findings = Findings::default();
    // The validator checks the types.
    fields::check(&schema.schema, &value, Rules { unknown: true, types: false }, root, &mut findings);
    for error in schema.validator.iter_errors(&value).take(fields::MOST) {
        let (sentence, missing) = sentence(&error, &schema.schema);
        let at = pointer_path(root, error.instance_path().as_str());
        let finding = Finding::new(path(&at, missing.iter().map(String::as_str)), sentence);
        // A text that is too short does not match either.
        if !findings.0.contains(&finding) {
            findings.0.push(finding);
        }
    }
    match serde_path_to_error::deserialize(value) {
        Ok(decoded) => findings.or(decoded),
        Err(error) => {
            if findings.is_empty() {
                findings.add(serde_path(root, error.path()), error.into_inner().to_string());
            }
            Err(findings)
        }
    }
}

/// Decodes a value that an earlier or later release published: bounds and patterns of the schema are not checked, because that
/// release may have had others.
///
/// # Errors
/// Returns an error if there is a field that the type does not have, which may be a restriction, if a value is of another type than
/// the schema's, or if it cannot be represented. Paths begin with `root`.
pub fn decode_published<T: JsonSchema + DeserializeOwned + 'static>(value: &Value, root: &str) -> Result<T, Findings> {
    let schema = CompiledSchema::of::<T>()?;
    let mut findings = Findings::default();
    fields::check(&schema.schema, value, Rules { unknown: true, types: true }, root, &mut findings);
    if findings.is_empty()
        && let Ok(decoded) = T::deserialize(value)
    {
        return Ok(decoded);
    }
    // It says more about what is wrong.
    decode(value.clone(), root).and_then(|decoded| findings.or(decoded))
}

/// Decodes what is known of a value that another release published; `None` if a value is of another type than the schema's, or cannot
/// be represented.
pub fn decode_known<T: JsonSchema + DeserializeOwned + 'static>(value: &Value) -> Option<T> {
    let schema = CompiledSchema::of::<T>().ok()?;
    let mut findings = Findings::default();
    fields::check(&schema.schema, value, Rules { unknown: false, types: true }, "", &mut findings);
    T::deserialize(value).ok().filter(|_| findings.is_empty())
}

/// The fields of a value that its type does not have. Nothing else is looked at: the API server ignores what else is wrong in a status.
pub fn unknown_fields<T: JsonSchema + 'static>(value: &Value, root: &str) -> Findings {
    let mut findings = Findings::default();
    if let Ok(schema) = CompiledSchema::of::<T>() {
        fields::check(&schema.schema, value, Rules { unknown: true, types: false }, root, &mut findings);
    }
    findings
}

/// A value of a manifest as the API server stores it.
pub fn stored<T: JsonSchema + 'static>(mut value: Value) -> Value {
    if let Ok(schema) = CompiledSchema::of::<T>() {
        super::stored::stored(&schema.schema, &mut value);
    }
    value
}

/// The schema of a type, compiled once: that takes longer than any use of it.
struct CompiledSchema {
    schema: Value,
    validator: Validator,
}

static SCHEMAS: LazyLock<Mutex<HashMap<TypeId, Arc<CompiledSchema>>>> = LazyLock::new(Mutex::default);

impl CompiledSchema {
    fn of<T: JsonSchema + 'static>() -> Result<Arc<Self>, Findings> {
        let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = schemas.get(&TypeId::of::<T>()) {
            return Ok(schema.clone());
        }
        let schema = json_schema::<T>();
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&schema)
            .map_err(|error| Finding::new("", format!("the type's own schema is invalid: {error}")))?;
        let compiled = Arc::new(Self { schema, validator });
        schemas.insert(TypeId::of::<T>(), compiled.clone());
        Ok(compiled)
    }
}

/// The path of a JSON pointer (RFC 6901).
fn pointer_path(root: &str, pointer: &str) -> String {
    let segments: Vec<_> = pointer.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~")).collect();
    path(root, segments.iter().map(String::as_str))
}

/// The path of what serde refused.
fn serde_path(root: &str, at: &serde_path_to_error::Path) -> String {
    let segments = at.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    let segments: Vec<_> = segments.collect();
    path(root, segments.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{client::McpClientSpec, document::single, server::McpServerSpec};

    fn findings<T: JsonSchema + DeserializeOwned + 'static>(text: &str) -> Vec<String> {
        let decoded = decode::<T>(single(text).unwrap(), "spec");
        decoded.err().map_or_else(Vec::new, |findings| findings.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let text = "
backends: [{name: crm, http: {url: 'ftp://x', colour: red}}]
tools: [{name: 'a b', description: x, backend: crm, effect: Erase, timeout: soon}]
clients: [{allow: {tools: [a, a]}}]
limits: {perClient: {requests: 0, per: 1m}}
";
        insta::assert_snapshot!(findings::<McpServerSpec>(text).join("\n"), @r#"
        spec.backends[0].http.colour: unknown field; allowed fields: healthPath, url
        spec.clients[0].allow.tools[1]: appears twice
        spec.backends[0].http.url: must be a URL such as http://crm.sales.svc:8080/v1, with http or https, and without a user, query or fragment
        spec.limits.perClient.requests: the value is less than the minimum of 1
        spec.tools[0].effect: is not one of Read, Write
        spec.tools[0].name: must be 1 to 128 of the characters A-Z, a-z, 0-9, '_', '.', '-'
        spec.tools[0].timeout: must be a duration: whole numbers with the units h, m, s and ms, such as 250ms, 30s, 1m30s or 720h
        "#);
    }

    #[test]
    fn a_list_is_no_mapping_however_it_is_read() {
        let spec = || json!({"access": [{"serverRef": {"name": "crm"}, "tools": ["a"], "maxRecordsPerQuery": 1}], "credentials": {}});
        let with = |pointer: &str, value: Value| {
            let mut spec = spec();
            *spec.pointer_mut(pointer).unwrap() = value;
            spec
        };
        let read = |value: &Value| {
            let (known, published) =
                (decode_known::<McpClientSpec>(value), decode_published::<McpClientSpec>(value, "spec"));
            (
                known.is_some(),
                published.map_err(|found| found.0.into_iter().map(|it| it.to_string()).collect::<Vec<_>>()).map(drop),
            )
        };
        assert_eq!(read(&spec()), (true, Ok(())));
        for (value, finding) in [
            (json!([]), r#"spec: the value is not of type "object""#),
            (
                with("/access/0", json!([["crm"], ["a"], 1, true])),
                r#"spec.access[0]: the value is not of type "object""#,
            ),
            (
                with("/access/0/serverRef", json!(["crm"])),
                r#"spec.access[0].serverRef: the value is not of type "object""#,
            ),
            (with("/access/0/tools", json!({"0": "a"})), r#"spec.access[0].tools: the value is not of type "array""#),
        ] {
            assert_eq!(read(&value), (false, Err(vec![finding.to_owned()])), "{value}");
        }
    }

    #[test]
    fn a_type_without_fields_has_no_unknown_ones_either() {
        let text = "backends: [{name: a, static: {text: x}}]\ntools: [{name: a, description: a, backend: a, static: {text: x, structuredContent: {y: {}}}}]";
        assert_eq!(
            findings::<McpServerSpec>(text),
            ["spec.backends[0].static.text: unknown field; allowed fields: none"]
        );
        let published = single("{name: a, static: {text: x}}").unwrap();
        assert!(decode_published::<crate::contract::Backend>(&published, "").is_err());
    }

    #[test]
    fn findings_about_many_fields_are_bounded() {
        let unknown: String = (0..5_000).map(|n| format!("x{n}: 1, ")).collect();
        let found = findings::<McpServerSpec>(&format!("{{backends: [{{name: a, {unknown}}}], tools: [], {unknown}}}"));
        assert!((fields::MOST..=2 * fields::MOST).contains(&found.len()), "{}", found.len());
    }

    #[test]
    fn a_wrong_value_is_answered_with_the_form_that_is_right() {
        const DURATION: &str =
            "must be a duration: whole numbers with the units h, m, s and ms, such as 250ms, 30s, 1m30s or 720h";
        const TIME: &str = "must be a time with seconds and an offset (RFC 3339), such as 2027-01-01T00:00:00Z or 2027-01-01T09:30:00+09:00";
        let server = |more: &str| {
            let tools = "tools: [{name: a, description: a, backend: a, static: {text: a}}]";
            findings::<McpServerSpec>(&format!("{{backends: [{{name: a, static: {{}}}}], {tools}, {more}}}"))
        };
        let client = |more: &str| {
            findings::<McpClientSpec>(&format!("{{access: [], credentials: {{apiKey: {{secretName: k}}}}, {more}}}"))
        };
        for (value, sentence) in [
            ("10", format!("10 has no unit; write 10ms, 10s, 10m or 10h; {DURATION}")),
            ("'5'", format!("5 has no unit; write 5ms, 5s, 5m or 5h; {DURATION}")),
            ("1d", DURATION.to_owned()),
            ("''", DURATION.to_owned()),
            ("true", DURATION.to_owned()),
        ] {
            let found = server(&format!("limits: {{perClient: {{requests: 1, per: {value}}}}}"));
            assert_eq!(found, [format!("spec.limits.perClient.per: {sentence}")], "{value}");
        }
        for value in [
            "soon",
            "2027-01-01",
            "2027-01-01T00:00Z",
            "2027-01-01T00:00:00+0200",
            "2027-02-30T00:00:00Z",
            "1893456000",
        ] {
            assert_eq!(client(&format!("expiresAt: {value}")), [format!("spec.expiresAt: {TIME}")], "{value}");
        }
        assert_eq!(
            client("suspendet: true"),
            [
                "spec.suspendet: unknown field (did you mean `suspended`?); allowed fields: access, credentials, expiresAt, \
                 suspended"
            ]
        );
        assert_eq!(
            server("clients: [{namespaces: {form: all}}, {namespaces: {from: all}}], logLevel: warning"),
            [
                "spec.clients[0].namespaces.form: unknown field (did you mean `from`?); allowed fields: from",
                "spec.clients[1].namespaces.from: is not one of Same, All (did you mean `All`?)",
                "spec.logLevel: is not one of error, warn, info, debug (did you mean `warn`?)",
            ]
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        let text = "access: [{serverRef: {name: crm}, tools: []}]\ncredentials: {}";
        assert_eq!(findings::<McpClientSpec>(text), ["spec.access[0].maxRecordsPerQuery: is missing"]);
    }
}
