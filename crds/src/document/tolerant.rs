//! The one reader of YAML and JSON. What JSON cannot represent is a flaw: it is refused with its line, or takes nothing else with it.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::{Map, Number, Value};

use super::{cost::check_steps, fields::path, yaml::SyntaxError};
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

/// Stands for what cannot be read. It is a text, which most fields refuse and some do not: whatever contains it must grant nothing.
pub(crate) const UNREADABLE: &str = "(cannot be read)";

/// What is done about a flaw.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum OnFlaw {
    /// It is an error.
    Refuse,
    /// Its place is kept. Null is in it, or the last value of a key.
    Name,
    /// [`UNREADABLE`] is in its place. Two equal values of a key are none.
    Mark,
}

/// The most bytes of the places of all flaws.
const MOST_BYTES: usize = 256 * 1024;
/// How many times as large as its text the value of a document may be: aliases repeat what they refer to.
const GROWTH: usize = 16;

/// Documents, and the flaws that were named.
pub(super) type Documents = (Vec<Value>, Vec<Flaw>);

/// What is known of a document while it is read.
struct Reading {
    on: OnFlaw,
    flaws: Vec<Flaw>,
    bytes: usize,
    /// How many values and bytes of texts may follow.
    left: usize,
}

impl Reading {
    fn new(text: &str, on: OnFlaw) -> Self {
        Self { on, flaws: Vec::new(), bytes: 0, left: GROWTH * (text.len() + 1024) }
    }

    fn take<E: Error>(&mut self, count: usize) -> Result<(), E> {
        self.left = self.left.checked_sub(count).ok_or_else(|| E::custom("repeats too much by its aliases"))?;
        Ok(())
    }

    fn read<'de, D: Deserializer<'de>>(&mut self, document: D) -> Result<Value, D::Error> {
        Node { segments: &mut Vec::new(), reading: self }.deserialize(document)
    }
}

/// The documents of a YAML stream, and the flaws that were named. Empty documents are left out.
///
/// # Errors
/// Returns an error if the text is not YAML, or if flaws are refused and there is one.
pub(super) fn documents(text: &str, on: OnFlaw) -> Result<Documents, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_steps(text)?;
    let (mut documents, mut reading) = (Vec::new(), Reading::new(text, on));
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = reading.read(document)?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    if reading.bytes > MOST_BYTES {
        let message = "has too many keys that appear twice, or values that JSON does not have";
        return Err(SyntaxError { line: 1, column: 1, message: message.to_owned() });
    }
    Ok((documents, reading.flaws))
}

/// The same of a text that is JSON; `None` if it is not.
pub(super) fn json(text: &str, on: OnFlaw) -> Option<Result<Documents, SyntaxError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut documents, mut reading) = (Vec::new(), Reading::new(text, on));
    let mut deserializer = serde_json::Deserializer::from_str(text);
    while deserializer.end().is_err() {
        match reading.read(&mut deserializer) {
            Ok(document) => documents.push(document),
            // Whatever is wrong with its values, it is no YAML then.
            Err(error) => return is_json(text).then(|| Err(error.into())),
        }
    }
    (reading.bytes <= MOST_BYTES).then_some(Ok((documents, reading.flaws)))
}

/// Whether the syntax of a text is that of JSON.
fn is_json(text: &str) -> bool {
    serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>().all(|document| document.is_ok())
}

/// Reads the only document of a text. A part that cannot be read is null in the value, or has the last of its values.
///
/// # Errors
/// Returns an error if the text is neither YAML nor JSON, does not contain exactly one document, or has too many flaws to name their
/// places.
pub fn tolerant(text: &str) -> Result<(Value, Vec<Flaw>), Finding> {
    let read = documents(text, OnFlaw::Name).map_err(|error| Finding::new("", error.to_string()));
    let read = read.and_then(|(documents, flaws)| Ok((only(documents)?, flaws)));
    // Some JSON is not YAML: characters that are escaped in two halves.
    read.or_else(|finding| {
        let (documents, flaws) = json(text, OnFlaw::Name).and_then(Result::ok).ok_or_else(|| finding.clone())?;
        only(documents).map(|document| (document, flaws)).map_err(|_| finding)
    })
}

/// The one of these documents.
pub(super) fn only(mut documents: Vec<Value>) -> Result<Value, Finding> {
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(document),
        (None, _) => Err(Finding::new("", "is empty")),
        (Some(_), false) => Err(Finding::new("", "contains several documents; one is expected")),
    }
}

/// A value, with the place where it is.
struct Node<'a> {
    segments: &'a mut Vec<String>,
    reading: &'a mut Reading,
}

impl Node<'_> {
    fn flaw<E: Error>(&mut self, message: &str) -> Result<Value, E> {
        let reading = &mut *self.reading;
        match reading.on {
            OnFlaw::Refuse => Err(E::custom(message)),
            OnFlaw::Mark => Ok(UNREADABLE.into()),
            OnFlaw::Name => {
                reading.bytes += self.segments.iter().map(|segment| segment.len() + size_of::<String>()).sum::<usize>();
                if reading.bytes <= MOST_BYTES {
                    reading.flaws.push(Flaw { segments: self.segments.clone(), message: message.to_owned() });
                }
                Ok(Value::Null)
            }
        }
    }

    /// Reads what is below this value.
    fn below<T>(&mut self, segment: String, read: impl FnOnce(Node<'_>) -> T) -> T {
        self.segments.push(segment);
        let value = read(Node { segments: self.segments, reading: self.reading });
        self.segments.pop();
        value
    }

    /// The text of a key, and whether it may be one: a number or a boolean is a text for JSON, if it is not known to be a mistake.
    fn key(&self, key: Value) -> (String, bool) {
        let is_named = self.reading.on == OnFlaw::Name;
        match key {
            Value::String(key) => {
                let is_text = key != UNREADABLE || self.reading.on == OnFlaw::Refuse;
                (key, is_text)
            }
            other => (other.to_string(), !is_named && (other.is_i64() || other.is_boolean())),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.reading.take(1)?;
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
        self.flaw(TOO_LARGE)
    }

    fn visit_u128<E: Error>(mut self, _: u128) -> Result<Value, E> {
        self.flaw(TOO_LARGE)
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map_or_else(|| self.flaw("is not a number that JSON has"), |it| Ok(Value::Number(it)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.reading.take(value.len())?;
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
            // What is wrong with a key is named at its value.
            let on = if self.reading.on == OnFlaw::Refuse { OnFlaw::Refuse } else { OnFlaw::Mark };
            let mut of_key = Reading { on, flaws: Vec::new(), bytes: 0, left: self.reading.left };
            let key = members.next_key_seed(Node { segments: &mut Vec::new(), reading: &mut of_key })?;
            self.reading.left = of_key.left;
            let Some(key) = key else { return Ok(object.into()) };
            let (key, is_text) = self.key(key);
            let (before, on) = (object.remove(&key), self.reading.on);
            if before.is_some() && on == OnFlaw::Refuse {
                return Err(A::Error::custom(format_args!("duplicate entry with key {key:?}")));
            }
            let value = self.below(key.clone(), |mut node| {
                if !is_text {
                    node.flaw("has a key that is not a string")?;
                }
                if before.is_some() && on == OnFlaw::Name {
                    node.flaw("appears twice")?;
                }
                members.next_value_seed(node)
            })?;
            let is_unreadable = on == OnFlaw::Mark && (!is_text || before.is_some_and(|before| before != value));
            object.insert(key, if is_unreadable { UNREADABLE.into() } else { value });
        }
    }

    fn visit_enum<A: EnumAccess<'de>>(mut self, tagged: A) -> Result<Value, A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant::<IgnoredAny>()?;
        self.flaw(TAG)
    }
}

const TOO_LARGE: &str = "is a number that is too large";
/// kubectl reads some tags otherwise than others, and ignores the rest.
pub(super) const TAG: &str = "has a tag; JSON has none";

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
            ("{a: [{!x b: c}], d: 4}", "a[0].(cannot be read): has a key that is not a string"),
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
        assert!(found.contains("has too many keys that appear twice"), "{found}");
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
