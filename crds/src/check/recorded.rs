//! Which arguments may appear with their value in the audit log: those that cannot contain free text.

use regex_syntax::hir::{Class, Hir, HirKind, Look};
use serde_json::Value;

/// The longest string that may be recorded, in characters.
pub(super) const LONGEST: usize = 64;
/// A character class with more members than this admits free text.
const WIDEST_CLASS: usize = 80;

/// Whether an argument with this schema cannot contain free text.
pub(super) fn is_closed(property: &Value) -> bool {
    let kind = property.get("type").and_then(Value::as_str);
    let text = |name: &str| property.get(name).and_then(Value::as_str);
    property.get("enum").is_some_and(Value::is_array)
        || matches!(kind, Some("boolean" | "integer"))
        || (kind == Some("string")
            && (text("format") == Some("uuid") || text("pattern").is_some_and(is_closed_pattern)))
}

/// Whether a pattern covers the whole string (patterns of JSON Schema are not anchored), bounds its length, and has no wide
/// character class.
fn is_closed_pattern(pattern: &str) -> bool {
    let Ok(pattern) = regex_syntax::parse(pattern) else { return false };
    let properties = pattern.properties();
    properties.look_set_prefix().contains(Look::Start)
        && properties.look_set_suffix().contains(Look::End)
        && properties.maximum_len().is_some_and(|length| length <= LONGEST)
        && !has_wide_class(&pattern)
}

fn has_wide_class(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Class(Class::Unicode(class)) => class.iter().map(|range| range.len()).sum::<usize>() > WIDEST_CLASS,
        HirKind::Class(Class::Bytes(class)) => class.iter().map(|range| range.len()).sum::<usize>() > WIDEST_CLASS,
        HirKind::Repetition(repetition) => has_wide_class(&repetition.sub),
        HirKind::Capture(capture) => has_wide_class(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_wide_class),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Look(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_arguments_that_cannot_contain_free_text_may_be_recorded() {
        for closed in [
            json!({"type": "boolean"}),
            json!({"type": "integer"}),
            json!({"enum": ["a", "b"]}),
            json!({"type": "string", "format": "uuid"}),
            json!({"type": "string", "pattern": "^c-[0-9]{4}$"}),
            json!({"type": "string", "pattern": "^(?:lead|won)$"}),
        ] {
            assert!(is_closed(&closed), "{closed}");
        }
        for open in [
            json!({"type": "string"}),
            json!({"type": "string", "maxLength": 10}),
            json!({"type": "number"}),
            json!({"type": "string", "pattern": "[a-z]"}),
            json!({"type": "string", "pattern": "^[a-z]+$"}),
            json!({"type": "string", "pattern": "^.{1,20}$"}),
            json!({"type": "string", "pattern": "^[^x]{1,20}$"}),
            json!({"type": "string", "pattern": "^a|b$"}),
            json!({"type": "string", "pattern": "^[a-z]{1,65}$"}),
            json!({"type": "string", "format": "email"}),
        ] {
            assert!(!is_closed(&open), "{open}");
        }
    }
}
