//! A revision: the SHA-256 of a document's content. Operator and server identify documents by revisions, never by times.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// 64 hexadecimal digits, lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

impl Revision {
    /// The message of a finding.
    pub(crate) const ALLOWED: &str =
        "must be 64 hexadecimal digits in lower case; leave it out of a document written by hand";

    /// The revision of a value: the SHA-256 of its JSON without white space, with the keys of every object sorted.
    ///
    /// # Errors
    /// Returns an error if the value has no JSON form. Every document of this crate has one.
    pub fn of(content: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        let mut text = String::new();
        canonical(&serde_json::to_value(content)?, &mut text);
        Ok(Self(hex::encode(Sha256::digest(text))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for messages and annotations.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// JSON with sorted keys and no white space, appended to `text`.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (n, (key, value)) in entries.into_iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

impl TryFrom<String> for Revision {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(is_digit) { Ok(Self(text)) } else { Err(Self::ALLOWED) }
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> String {
        revision.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter_but_the_order_of_items_does() {
        let of = |text: &str| Revision::of(&serde_json::from_str::<Value>(text).unwrap()).unwrap();
        assert_eq!(of(r#"{"b":[1,2],"a":{"d":1,"c":"x"}}"#), of(r#"{"a":{"c":"x","d":1},"b":[1,2]}"#));
        assert_ne!(of("[1,2]"), of("[2,1]"));
        let known = Revision::of(&json!({"a": 1})).unwrap();
        assert_eq!(known.as_str(), hex::encode(Sha256::digest(r#"{"a":1}"#)));
    }
}
