//! Which arguments may appear with their value in the audit log: those that cannot contain free text.

use serde_json::Value;

use crate::schema::Budget;

/// The longest string that may be recorded, in characters.
pub(super) const LONGEST: usize = 64;
/// A character class with more members than this admits free text.
const WIDEST_CLASS: usize = 80;

/// Whether an argument with this schema cannot contain free text. A pattern closes it if it covers the whole string (patterns of
/// JSON Schema are not anchored), bounds its length, and has no wide character class; it draws on the budget of the schemas, in
/// which it was compiled already.
pub(super) fn is_closed(property: &Value, budget: &mut Budget) -> bool {
    let kind = property.get("type").and_then(Value::as_str);
    let text = |name: &str| property.get(name).and_then(Value::as_str);
    property.get("enum").is_some_and(Value::is_array)
        || matches!(kind, Some("boolean" | "integer"))
        || (kind == Some("string")
            && (text("format") == Some("uuid")
                || text("pattern").is_some_and(|pattern| budget.is_closed_pattern(pattern, LONGEST, WIDEST_CLASS))))
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
            json!({"type": "string", "pattern": r"^\d{4}(-\d{2}){0,2}$|^none$"}),
        ] {
            assert!(is_closed(&closed, &mut Budget::default()), "{closed}");
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
            json!({"type": "string", "pattern": "(^a$)?"}),
            json!({"type": "string", "pattern": "(?m)^a$"}),
            json!({"type": "string", "pattern": r"^\p{L}{3}$"}),
            json!({"type": "string", "pattern": "^(a*)*$"}),
            json!({"type": "string", "pattern": format!("^{}$", "a".repeat(65))}),
            json!({"type": "string", "pattern": "("}),
            json!({"type": "string", "pattern": "^[a-z]{1,65}$"}),
            json!({"type": "string", "format": "email"}),
        ] {
            assert!(!is_closed(&open, &mut Budget::default()), "{open}");
        }
    }
}
