//! A YAML document read part by part: what JSON cannot represent is named by its place, and takes nothing else with it.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::{Map, Number, Value};

use super::fields::path;
use crate::finding::Finding;

/// A part of a document that cannot be read: two values of one key, a key that is not a string, a number that JSON does not have,
/// a tag. Which value was meant would be a guess, so whatever contains it must not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The keys and positions from the root of the document.
    pub segments: Vec<String>,
    message: String,
}

impl Flaw {
    /// Whether the flaw is in the value at these segments, or in what contains it.
    pub fn concerns(&self, segments: &[&str]) -> bool {
        self.segments.iter().zip(segments).all(|(own, of_value)| own == of_value)
    }

    pub fn finding(&self) -> Finding {
        Finding::new(path("", self.segments.iter().map(String::as_str)), self.message.clone())
    }
}

/// The most bytes of the places of all flaws.
const MOST_BYTES: usize = 256 * 1024;

/// The flaws of a document, while it is read.
#[derive(Default)]
struct Flaws {
    found: Vec<Flaw>,
    bytes: usize,
}

/// Reads the only document of a text. A part that cannot be read is null in the value, or has the last of its values.
///
/// # Errors
/// Returns an error if the text is neither YAML nor JSON, does not contain exactly one document, or has too many flaws to name their
/// places.
pub fn tolerant(text: &str) -> Result<(Value, Vec<Flaw>), Finding> {
    // Some JSON is not YAML: characters that are escaped in two halves.
    yaml(text).or_else(|finding| json(text).ok_or(finding))
}

fn json(text: &str) -> Option<(Value, Vec<Flaw>)> {
    let (mut flaws, mut deserializer) = (Flaws::default(), serde_json::Deserializer::from_str(text));
    let node = Node { segments: &mut Vec::new(), flaws: &mut flaws };
    let value = node.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    (flaws.bytes <= MOST_BYTES).then_some((value, flaws.found))
}

fn yaml(text: &str) -> Result<(Value, Vec<Flaw>), Finding> {
    super::yaml::check_steps(text).map_err(|error| Finding::new("", error.to_string()))?;
    let (mut found, mut flaws) = (None, Flaws::default());
    for document in serde_yaml::Deserializer::from_str(text) {
        let node = Node { segments: &mut Vec::new(), flaws: &mut flaws };
        let value = node
            .deserialize(document)
            .map_err(|error| Finding::new("", super::SyntaxError::from(error).to_string()))?;
        if value.is_null() {
            continue;
        }
        if found.replace(value).is_some() {
            return Err(Finding::new("", "contains several documents; one is expected"));
        }
    }
    if flaws.bytes > MOST_BYTES {
        return Err(Finding::new("", "has too many keys that appear twice, or values that JSON does not have"));
    }
    Ok((found.ok_or_else(|| Finding::new("", "is empty"))?, flaws.found))
}

/// A value, with the place where it is.
struct Node<'a> {
    segments: &'a mut Vec<String>,
    flaws: &'a mut Flaws,
}

impl Node<'_> {
    fn flaw(&mut self, message: impl Into<String>) -> Value {
        self.flaws.bytes += self.segments.iter().map(|segment| segment.len() + size_of::<String>()).sum::<usize>();
        if self.flaws.bytes <= MOST_BYTES {
            self.flaws.found.push(Flaw { segments: self.segments.clone(), message: message.into() });
        }
        Value::Null
    }

    /// Reads what is below this value.
    fn below<T>(&mut self, segment: String, read: impl FnOnce(Node<'_>) -> T) -> T {
        self.segments.push(segment);
        let value = read(Node { segments: self.segments, flaws: self.flaws });
        self.segments.pop();
        value
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E: Error>(mut self, _: i128) -> Result<Value, E> {
        Ok(self.flaw(TOO_LARGE))
    }

    fn visit_u128<E: Error>(mut self, _: u128) -> Result<Value, E> {
        Ok(self.flaw(TOO_LARGE))
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or_else(|| self.flaw("is not a number that JSON has"), Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = self.below(list.len().to_string(), |node| items.next_element_seed(node))? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        loop {
            let mut flaws_of_key = Flaws::default();
            let key = Node { segments: &mut Vec::new(), flaws: &mut flaws_of_key };
            let Some(key) = members.next_key_seed(key)? else { return Ok(object.into()) };
            let (key, is_text) = match key {
                Value::String(key) => (key, true),
                other => (other.to_string(), false),
            };
            let value = self.below(key.clone(), |mut node| {
                if !is_text {
                    node.flaw("has a key that is not a string");
                }
                if object.contains_key(&key) {
                    node.flaw("appears twice");
                }
                members.next_value_seed(node)
            })?;
            object.insert(key, value);
        }
    }

    fn visit_enum<A: EnumAccess<'de>>(mut self, tagged: A) -> Result<Value, A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant::<IgnoredAny>()?;
        Ok(self.flaw("has a tag; JSON has none"))
    }
}

const TOO_LARGE: &str = "is a number that is too large";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::single;

    fn flaws(text: &str) -> Vec<String> {
        tolerant(text).unwrap().1.iter().map(|flaw| flaw.finding().to_string()).collect()
    }

    #[test]
    fn what_json_cannot_represent_is_named_by_its_place_and_takes_nothing_else_with_it() {
        for (text, flaw) in [
            ("{a: [{b: 1, c: 2, b: 3}], d: 4}", "a[0].b: appears twice"),
            ("{a: [{x: y, 1.5: x}], d: 4}", "a[0].1.5: has a key that is not a string"),
            ("{a: [{b: .nan}], d: 4}", "a[0].b: is not a number that JSON has"),
            ("{a: [{b: -.inf}], d: 4}", "a[0].b: is not a number that JSON has"),
            ("{a: [{b: 18446744073709551616}], d: 4}", "a[0].b: is a number that is too large"),
            ("{a: [{b: !x 1}], d: 4}", "a[0].b: has a tag; JSON has none"),
            ("{a: [{b: !x {e: [1, 2]}}], d: 4}", "a[0].b: has a tag; JSON has none"),
            ("{a: [{? [1] : x}], d: 4}", "a[0].[1]: has a key that is not a string"),
        ] {
            assert_eq!(flaws(text), [flaw], "{text}");
            assert_eq!(tolerant(text).unwrap().0["d"], json!(4), "{text}");
        }
        let (_, flaws) = tolerant("a: {b: 1, b: 2}").unwrap();
        assert!(flaws[0].concerns(&["a"]) && flaws[0].concerns(&["a", "b", "c"]) && !flaws[0].concerns(&["a", "c"]));
    }

    #[test]
    fn json_that_is_not_yaml_is_read_too() {
        let text = r#"{"a": "\ud83d\udd0d", "b": {"c": 1, "c": 2}}"#;
        assert_eq!(
            (&tolerant(text).unwrap().0["a"], flaws(text)),
            (&json!("🔍"), vec!["b.c: appears twice".to_owned()])
        );
        assert!(tolerant(r#"{"a": "\ud83d\udd0d"} x"#).is_err());
    }

    #[test]
    fn a_document_with_too_many_flaws_is_refused() {
        let text = |flaws: usize| format!("{{{}: {{a: 1{}}}}}", "k".repeat(1000), ", a: 1".repeat(flaws));
        assert_eq!(tolerant(&text(200)).unwrap().1.len(), 200);
        let found = tolerant(&text(300)).unwrap_err().to_string();
        assert!(found.starts_with("has too many keys that appear twice"), "{found}");
    }

    #[test]
    fn a_text_without_flaws_is_read_as_elsewhere() {
        for text in [
            "a: 1\nb: [~, true, -5, 1.5, 18446744073709551615, '1', 1e3, 0x10, 2020-01-01]\nc: {}\nd: []\n",
            "x: &x {y: 1}\nz: *x\n",
            r#"{"a": {"b": "\u00fc\n"}, "c": null}"#,
            "# comment\n---\na: |\n  text\n",
            "- 1\n",
            "text",
        ] {
            assert_eq!(tolerant(text), Ok((single(text).unwrap(), vec![])), "{text}");
        }
        for text in ["a: [", "a: 1\n---\nb: 2", "# nothing", "---\n---\n", "}{"] {
            assert_eq!(tolerant(text).unwrap_err(), single(text).unwrap_err(), "{text}");
        }
    }
}
