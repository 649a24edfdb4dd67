//! What is recorded of a call's arguments: the names that the tool declares, their types and sizes, and a keyed digest of
//! all of them. A value is recorded only if the policy lists its argument, and only if its type is closed.

use std::collections::BTreeMap;

use aws_lc_rs::rand;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::fields::Field;
use crate::protocol::{
    json::{push_number, push_string},
    strict::{Json, Node},
};

/// How many bytes of names and types a record contains; further arguments are counted.
const MOST_SHAPE: usize = 2_048;
/// The longest string whose value is recorded, in bytes.
const MOST_VALUE: usize = 64;

/// What may be recorded of a tool's arguments. Built once for each tool of a policy.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Each name, and whether its value may be recorded.
    names: BTreeMap<Box<str>, bool>,
}

/// What is recorded of the arguments of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentShape {
    /// Fields of the record: `{…},"argsUndeclared":0,…`, to follow the name `args`.
    pub(super) fields: String,
}

/// Computes digests of arguments that only the holder of the key can compare: equal arguments have equal digests.
#[derive(Clone)]
pub struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    /// With the same key, the digests of all replicas of a server can be compared.
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC must take a key of any length"))
    }

    /// With a new key: digests can be compared within this process only.
    pub fn random() -> Self {
        let mut key = [0; 32];
        rand::fill(&mut key).expect("the system must have randomness");
        Self::new(&key)
    }

    /// Appends a digest, as hexadecimal digits.
    fn push_digest(&self, text: &str, out: &mut String) {
        let mut digits = [0; 64];
        let digest = self.0.clone().chain_update(text).finalize().into_bytes();
        hex::encode_to_slice(digest, &mut digits).expect("an HMAC-SHA-256 must have 32 bytes");
        out.push_str(str::from_utf8(&digits).expect("hexadecimal digits must be ASCII"));
    }
}

impl Declared {
    /// `names` are the properties of the tool's schema. Of those in `values` the value is recorded too, if it is a boolean, a
    /// number, or a string of at most 64 bytes (the policy lists closed types only).
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: BTreeMap<Box<str>, bool> = names.into_iter().map(|name| (name.into(), false)).collect();
        for value in values {
            if let Some(is_recorded) = names.get_mut(value) {
                *is_recorded = true;
            }
        }
        Self { names }
    }

    /// The shape of `arguments` as they were sent, before a limit is injected or clamped.
    pub fn shape_of(&self, arguments: &Node<'_>, key: &DigestKey) -> ArgumentShape {
        let mut fields = String::with_capacity(256);
        let mut values = String::new();
        let (mut undeclared, mut omitted) = (0, 0);
        fields.push('{');
        for (name, node) in arguments.as_object().unwrap_or_default() {
            let Some(is_recorded) = self.names.get(&**name) else {
                undeclared += 1;
                continue;
            };
            if fields.len() + values.len() + 2 * name.len() + MOST_VALUE > MOST_SHAPE {
                omitted += 1;
                continue;
            }
            separate(&mut fields);
            push_string(&mut fields, name);
            fields.push(':');
            write_shape(&mut fields, &node.value);
            if *is_recorded && is_short_scalar(node) {
                separate(&mut values);
                push_string(&mut values, name);
                values.push(':');
                values.push_str(node.raw);
            }
        }
        fields.push('}');
        if !values.is_empty() {
            push_name(&mut fields, Field::ArgsValues);
            fields.push('{');
            fields.push_str(&values);
            fields.push('}');
        }
        for (field, count) in [(Field::ArgsUndeclared, undeclared), (Field::ArgsOmitted, omitted)] {
            if count > 0 {
                push_name(&mut fields, field);
                push_number(&mut fields, count);
            }
        }
        push_name(&mut fields, Field::ArgsDigest);
        fields.push('"');
        let mut canonical = String::with_capacity(arguments.raw.len());
        write_canonical(&mut canonical, arguments);
        key.push_digest(&canonical, &mut fields);
        fields.push('"');
        ArgumentShape { fields }
    }
}

/// Begins a further field of the record.
fn push_name(out: &mut String, field: Field) {
    for part in [",\"", field.as_str(), "\":"] {
        out.push_str(part);
    }
}

fn separate(out: &mut String) {
    if !matches!(out.as_bytes().last(), None | Some(b'{' | b'[')) {
        out.push(',');
    }
}

/// A type, and its size if it has one: characters of a string, items of an array, members of an object.
fn write_shape(out: &mut String, value: &Json<'_>) {
    let (name, size) = match value {
        Json::Null => ("null", None),
        Json::Bool(_) => ("boolean", None),
        Json::Number(digits) if digits.bytes().all(|b| b == b'-' || b.is_ascii_digit()) => ("integer", None),
        Json::Number(_) => ("number", None),
        Json::String(text) => ("string", Some(text.chars().count())),
        Json::Array(items) => ("array", Some(items.len())),
        Json::Object(members) => ("object", Some(members.len())),
    };
    out.push('"');
    out.push_str(name);
    if let Some(size) = size {
        out.push('(');
        push_number(out, size as u64);
        out.push(')');
    }
    out.push('"');
}

fn is_short_scalar(node: &Node<'_>) -> bool {
    matches!(node.value, Json::Bool(_) | Json::Number(_) | Json::String(_)) && node.raw.len() <= MOST_VALUE
}

/// Without white space, members sorted by name, strings escaped in one way. Numbers keep their digits: `1` and `1.0` differ.
fn write_canonical(out: &mut String, node: &Node<'_>) {
    match &node.value {
        Json::Null | Json::Bool(_) | Json::Number(_) => out.push_str(node.raw),
        Json::String(text) => push_string(out, text),
        Json::Array(items) => {
            out.push('[');
            for item in items {
                separate(out);
                write_canonical(out, item);
            }
            out.push(']');
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            out.push('{');
            for (name, value) in members {
                separate(out);
                push_string(out, name);
                out.push(':');
                write_canonical(out, value);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::strict::parse;

    fn describe(declared: &Declared, key: &DigestKey, text: &str) -> Value {
        let arguments = declared.shape_of(&parse(text.as_bytes()).unwrap(), key);
        assert!(arguments.fields.len() < MOST_SHAPE + 256);
        serde_json::from_str(&format!("{{\"args\":{}}}", arguments.fields)).unwrap()
    }

    #[test]
    fn a_record_shows_names_types_and_sizes_and_only_the_values_that_it_may() {
        let declared =
            Declared::new(["query", "limit", "tags", "deep", "ratio", "state"], ["limit", "state", "absent"]);
        let text = r#"{"query":"Köln CANARY","limit":20,"tags":["CANARY",1],"deep":{"CANARY":1},
            "ratio":1.5,"state":"open","CANARY":"CANARY","other":null}"#;
        let mut described = describe(&declared, &DigestKey::new(b"key"), text);
        let digest = described.as_object_mut().unwrap().remove("argsDigest").unwrap();
        assert_eq!(digest.as_str().map(str::len), Some(64));
        assert_eq!(
            described,
            json!({
                "args": {"query": "string(11)", "limit": "integer", "tags": "array(2)", "deep": "object(1)",
                         "ratio": "number", "state": "string(4)"},
                "argsValues": {"limit": 20, "state": "open"},
                "argsUndeclared": 2,
            })
        );
        assert!(!described.to_string().contains("CANARY"));
    }

    #[test]
    fn equal_arguments_have_equal_digests_under_the_same_key() {
        let declared = Declared::default();
        let key = DigestKey::new(b"key");
        let digest = |text: &str, key: &DigestKey| describe(&declared, key, text)["argsDigest"].clone();
        let one = digest(r#"{"a":1,"b":{"x":"é","y":[1,2]}}"#, &key);
        assert_eq!(one, digest(r#" {"b": {"y":[1, 2], "x":"\u00e9"}, "a":1} "#, &key));
        assert_ne!(one, digest(r#"{"a":1,"b":{"x":"é","y":[2,1]}}"#, &key));
        assert_ne!(one, digest(r#"{"a":1,"b":{"x":"é","y":[1,2]}}"#, &DigestKey::random()));
        // [1,2] and [12] must not look alike, nor empty items nothing.
        assert_ne!(digest("[1,2]", &key), digest("[12]", &key));
        assert_ne!(digest("[[],[]]", &key), digest("[[]]", &key));
        // Computed with another implementation.
        assert_eq!(digest("{}", &key), json!("a777724d943eb48dc69bca8a4a6d57a04db3f9ec7e1de4e581e860265bdf3032"));
    }

    #[test]
    fn a_record_stays_small_whatever_is_sent() {
        let names: Vec<String> = (0..2_000).map(|n| format!("argument_number_{n}")).collect();
        let declared = Declared::new(names.iter().map(String::as_str), names.iter().map(String::as_str));
        let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":\"{}\"", "v".repeat(60))).collect();
        let described = describe(&declared, &DigestKey::random(), &format!("{{{}}}", members.join(",")));
        let shown = described["args"].as_object().unwrap().len() as u64;
        assert_eq!(described["argsOmitted"].as_u64().unwrap() + shown, 2_000);
        assert!(shown > 5);
    }
}
