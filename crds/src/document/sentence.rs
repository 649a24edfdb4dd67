//! What a finding says of a value that a schema refuses: what is right there, with an example. The value itself is not repeated.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;

use crate::{
    duration::Duration,
    name::{BackendName, ClientId, ConditionName, DataKey, HeaderName, ObjectName, ToolName},
    nearest::suggestion,
    time,
};

/// The patterns of the schemas, and what a finding states instead of the pattern.
const PATTERNS: [(&str, &str); 20] = [
    (Duration::PATTERN, Duration::ALLOWED),
    (ToolName::PATTERN, ToolName::ALLOWED),
    (BackendName::PATTERN, BackendName::ALLOWED),
    (ConditionName::PATTERN, ConditionName::ALLOWED),
    (ObjectName::PATTERN, ObjectName::ALLOWED),
    (ClientId::PATTERN, ClientId::ALLOWED),
    (HeaderName::PATTERN, HeaderName::ALLOWED),
    (DataKey::PATTERN, DataKey::ALLOWED),
    (time::PATTERN, time::ALLOWED),
    (
        "^https?://[^/?#@]+(/[^?#]*)?$",
        "must be a URL such as http://crm.sales.svc:8080/v1, with http or https, and without a user, query or fragment",
    ),
    ("^https?://", "must be a URL such as https://crm.example.com/mcp, with http or https"),
    ("^/[^#]*$", "must be a path such as /health, which begins with /, and has no fragment"),
    (
        "^/[^?#]*$",
        "must be a path such as /contacts/{id}, which begins with /, and has no query or fragment; parameters are in `query`",
    ),
    (
        r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9_-]+=[A-Za-z0-9_.-]+)*$",
        "must be a media type such as text/csv or text/plain; charset=utf-8",
    ),
    ("^(/.*)?$", "must be a JSON pointer (RFC 6901) such as /items, or empty for the whole response"),
    ("^(/([^/~]|~[01])+)+$", "must be a JSON pointer (RFC 6901) to an argument, such as /region"),
    ("^/.*$", "must be a JSON pointer (RFC 6901) such as /next"),
    (
        r"^(https://[^/\s]\S*|data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/]+=*)$",
        "must be an https:// URL, or an image as a data: URI in base64, such as data:image/png;base64,…; a client must load nothing else",
    ),
    (r"^image/[a-z0-9.+-]+$", "must be the media type of an image, such as image/png"),
    (r"^([1-9][0-9]{0,4}x[1-9][0-9]{0,4}|any)$", "must be a width and a height such as 48x48, or any"),
];

/// The sentence about an error, and the name of the field that is missing, if that is what is wrong. `schema` is the whole schema.
pub(super) fn sentence(error: &ValidationError<'_>, schema: &Value) -> (String, Option<String>) {
    let instance: &Value = error.instance();
    let sentence = match error.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } => {
            return ("is missing".to_owned(), Some(name.clone()));
        }
        ValidationErrorKind::Pattern { .. } | ValidationErrorKind::MinLength { .. } => allowed(error, schema),
        ValidationErrorKind::Format { format } if format == "date-time" => Some(time::ALLOWED),
        ValidationErrorKind::Enum { options } => return (not_one_of(options, instance), None),
        // A number is the mistake that is made most often.
        ValidationErrorKind::Type { .. } => {
            allowed(error, schema).filter(|allowed| [Duration::ALLOWED, time::ALLOWED].contains(allowed))
        }
        _ => None,
    };
    let sentence = match sentence {
        Some(Duration::ALLOWED) => without_unit(instance).unwrap_or_else(|| Duration::ALLOWED.to_owned()),
        Some(sentence) => sentence.to_owned(),
        None => error.masked_with("the value").to_string(),
    };
    (sentence, None)
}

/// What is allowed where an error is.
fn allowed(error: &ValidationError<'_>, schema: &Value) -> Option<&'static str> {
    let pointer = error.schema_path().as_str();
    let (parent, _) = pointer.rsplit_once('/')?;
    let pattern = schema.pointer(parent)?.get("pattern")?.as_str()?;
    PATTERNS.iter().find(|(known, _)| *known == pattern).map(|(_, allowed)| *allowed)
}

/// The sentence about a number where a duration is expected.
fn without_unit(value: &Value) -> Option<String> {
    let digits = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_number = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| {
        format!("{digits} has no unit; write {digits}ms, {digits}s, {digits}m or {digits}h; {}", Duration::ALLOWED)
    })
}

fn not_one_of(options: &Value, value: &Value) -> String {
    let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let suggestion = suggestion(value.as_str().unwrap_or_default(), options.iter().copied());
    format!("is not one of {}{suggestion}", options.join(", "))
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;
    use crate::{McpClientSpec, McpServerSpec, document::structural_schema};

    fn unknown_patterns<T: JsonSchema>() -> Vec<String> {
        let (mut unknown, mut rest) = (Vec::new(), vec![structural_schema::<T>()]);
        while let Some(value) = rest.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(pattern)) = fields.get("pattern")
                        && !PATTERNS.iter().any(|(known, _)| known == pattern)
                    {
                        unknown.push(pattern.clone());
                    }
                    rest.extend(fields.into_iter().map(|(_, value)| value));
                }
                Value::Array(items) => rest.extend(items),
                _ => {}
            }
        }
        unknown
    }

    #[test]
    fn each_pattern_of_the_resources_has_a_sentence() {
        assert_eq!([unknown_patterns::<McpServerSpec>(), unknown_patterns::<McpClientSpec>()].concat(), [""; 0]);
    }
}
