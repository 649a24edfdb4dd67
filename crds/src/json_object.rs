//! A JSON object of any content, and JSON text that may be deeper than a program may read.
//!
//! The API server bounds the depth of nothing that it stores. What is deeper than [`MAX_DEPTH`] is skipped without recursion, so that
//! neither decoding it nor anything that is done with the value later uses the stack for its depth.

use std::{borrow::Cow, cell::Cell, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// How many levels of objects and lists a [`JsonObject`] may have, itself included.
pub const MAX_DEPTH: usize = 64;

/// A JSON object that is kept unchanged.
#[derive(Serialize, Clone, Debug, Default, PartialEq)]
#[serde(transparent)]
pub struct JsonObject(pub Map<String, Value>);

/// A JSON value of any kind that is kept unchanged, with at most [`MAX_DEPTH`] levels.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct JsonValue(pub Value);

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match JsonValue::deserialize(deserializer)?.0 {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(D::Error::custom("must be an object")),
        }
    }
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let is_cut = Cell::new(false);
        let value = Shallow { levels: MAX_DEPTH, is_cut: &is_cut }.deserialize(deserializer)?;
        // Only here, so that the error is at the path of this value.
        if is_cut.get() {
            return Err(D::Error::custom(format_args!("is nested more than {MAX_DEPTH} levels deep")));
        }
        Ok(Self(value))
    }
}

impl JsonSchema for JsonObject {
    fn schema_name() -> Cow<'static, str> {
        "JsonObject".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

impl JsonSchema for JsonValue {
    fn schema_name() -> Cow<'static, str> {
        "JsonValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-preserve-unknown-fields": true})
    }
}

/// Reads JSON text of any depth. An object or list below [`MAX_DEPTH`] levels is left out, and an empty text is in its place.
///
/// # Errors
/// Returns an error if the text is not JSON.
pub fn shallow(text: &str) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Shallow { levels: MAX_DEPTH, is_cut: &Cell::new(false) }.deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

/// Reads a value with at most so many levels.
#[derive(Clone, Copy)]
struct Shallow<'a> {
    levels: usize,
    /// Whether anything was left out.
    is_cut: &'a Cell<bool>,
}

impl Shallow<'_> {
    fn below(self) -> Option<Self> {
        let levels = self.levels.checked_sub(1);
        if levels.is_none() {
            self.is_cut.set(true);
        }
        levels.map(|levels| Self { levels, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Shallow<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shallow<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Some(below) = self.below() else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::String(String::new()));
        };
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let Some(below) = self.below() else {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::String(String::new()));
        };
        let mut object = Map::new();
        while let Some(name) = fields.next_key()? {
            object.insert(name, fields.next_value_seed(below)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An object with so many levels.
    fn nested(levels: usize) -> String {
        format!("{}{}{}", r#"{"a":"#.repeat(levels), 1, "}".repeat(levels))
    }

    #[test]
    fn an_object_has_at_most_64_levels_and_no_depth_uses_the_stack() {
        assert_eq!(
            serde_json::from_str::<Value>(&nested(64)).unwrap(),
            json!(serde_json::from_str::<JsonObject>(&nested(64)).unwrap())
        );
        for levels in [65, 128, 500_000] {
            let error = serde_json::from_str::<JsonObject>(&nested(levels)).unwrap_err();
            assert!(error.to_string().starts_with("is nested more than 64 levels deep"), "{levels}: {error}");
        }
        for other in ["7", "[]", "null", "{"] {
            assert!(serde_json::from_str::<JsonObject>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_too_deep_is_left_out_of_a_text_and_everything_else_is_read() {
        let lists = format!("{}{}", "[".repeat(300_000), "]".repeat(300_000));
        let text =
            format!(r#"{{"a":[1,-2,3.5,true,null,"\u00fc"],"deep":{},"lists":{lists},"b":{{}}}}"#, nested(200_000));
        let read = shallow(&text).unwrap();
        assert_eq!((&read["a"], &read["b"]), (&json!([1, -2, 3.5, true, null, "ü"]), &json!({})));
        assert!(read["deep"].is_object() && read["lists"].is_array());
        for bad in ["", "{} {}", "{\"a\":[1}", &text[..text.len() - 9]] {
            assert!(shallow(bad).is_err());
        }
    }
}
