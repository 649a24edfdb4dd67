//! A value as the API server stores it, which differs from what a file says.
//!
//! A null is dropped where the schema has a field or a map, because no field of the resources is nullable: it is the same as an
//! absent field. Within a list it stays, and is refused. A number is an integer if it has no fraction, whether or not it was written
//! with one; and one beyond 64 bits with a sign is inexact.

use serde_json::{Number, Value};

/// The value as it is stored; its schema is that of the resources.
pub(super) fn stored(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let of = |name: &str| {
                schema["properties"]
                    .get(name)
                    .or_else(|| schema.get("additionalProperties"))
                    .filter(|it| it.is_object())
            };
            fields.retain(|name, value| !value.is_null() || of(name).is_none());
            for (name, value) in fields {
                stored(of(name).unwrap_or(&Value::Null), value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| stored(&schema["items"], item)),
        Value::Number(number) => {
            if let Some(inexact) = number.as_f64().filter(|_| !number.is_i64()) {
                *number =
                    integer(inexact).map(Number::from).or_else(|| Number::from_f64(inexact)).unwrap_or(number.clone());
            }
        }
        _ => {}
    }
}

fn integer(number: f64) -> Option<i64> {
    /// The first number that has no 64 bits with a sign.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is in the range")]
    (number.fract() == 0.0 && (-BEYOND..BEYOND).contains(&number)).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the API server itself does is compared by `tests/tests/operator/admitted.rs`.
    #[test]
    fn a_null_is_an_absent_field_and_an_integer_may_be_written_with_a_fraction() {
        let schema = json!({"properties": {
            "a": {"type": "integer"}, "b": {"items": {"type": "string"}}, "c": {"additionalProperties": {"type": "string"}},
            "d": {"x-kubernetes-preserve-unknown-fields": true}, "e": {"properties": {"f": {}}},
        }});
        for (value, expected) in [
            (json!({"a": null, "x": null}), json!({"x": null})),
            (json!({"b": [null, "x"], "c": {"x": null, "y": "z"}}), json!({"b": [null, "x"], "c": {"y": "z"}})),
            (json!({"d": {"x": null}, "e": {"f": null}}), json!({"d": {"x": null}, "e": {}})),
            (
                json!({"a": 1.0, "d": {"x": [-2.0, 1e18, 0.5]}}),
                json!({"a": 1, "d": {"x": [-2, 1_000_000_000_000_000_000_u64, 0.5]}}),
            ),
            (json!({"a": u64::MAX, "d": -0.0}), json!({"a": 18_446_744_073_709_551_616.0, "d": 0})),
            (json!({"a": 1e300, "d": i64::MIN}), json!({"a": 1e300, "d": i64::MIN})),
            (json!(null), json!(null)),
        ] {
            let mut found = value.clone();
            stored(&schema, &mut found);
            assert_eq!(found, expected, "{value}");
        }
    }
}
