//! Structs that are read from a mapping only. The decoder that serde derives takes a list too, for the fields in their order, and the
//! defaults for those that the list does not have: what another party wrote would mean something that nobody wrote.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A struct that was read from a mapping.
#[derive(Debug)]
pub struct Mapping<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Mapping<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfMapping(PhantomData)).map(Self)
    }
}

/// A field that is such a struct, or absent.
///
/// # Errors
/// Returns an error if the field is neither.
pub fn optional<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Mapping<T>>::deserialize(deserializer)?.map(|Mapping(value)| value))
}

struct OfMapping<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMapping<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Point {
        x: u8,
        #[serde(default)]
        y: u8,
        #[serde(default, deserialize_with = "optional")]
        from: Option<Box<Point>>,
    }

    #[test]
    fn a_struct_is_read_from_a_mapping_and_from_nothing_else() {
        let from = |x, from| Point { x, y: 0, from };
        for (text, expected) in [
            (r#"{"x": 1, "from": {"x": 2}}"#, Some(from(1, Some(Box::new(from(2, None)))))),
            (r#"{"x": 1, "from": null}"#, Some(from(1, None))),
            (r#"{"x": 1, "from": [2, 3, null]}"#, None),
            (r#"{"x": 1, "x": 2}"#, None),
            ("[1]", None),
            ("[1, 2, null]", None),
            ("[]", None),
            ("7", None),
        ] {
            assert_eq!(serde_json::from_str::<Mapping<Point>>(text).ok().map(|it| it.0), expected, "{text}");
        }
        assert_eq!(
            serde_json::from_str::<Point>("[1, 2, null]").unwrap(),
            Point { x: 1, y: 2, from: None },
            "as derived"
        );
    }
}
