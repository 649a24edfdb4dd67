//! JSON as this server accepts it, from callers and from backends alike.
//!
//! One pass over the bytes promises UTF-8, the grammar of RFC 8259, no key twice in one object (compared after unescaping),
//! no lone surrogate, no nesting beyond [`MAX_DEPTH`] and no more values than are allowed: a value takes up to 72 bytes of
//! memory, and may take two bytes of text. What it yields borrows from the input, and numbers keep the digits
//! they were written with. What a message means is left to those who read the tree.

mod parser;

use std::borrow::Cow;

use serde_json::Value;

/// How deep arrays and objects may nest: `[[]]` has depth 2.
pub const MAX_DEPTH: usize = 64;
/// How many values a request may have, each member and item counted, also within others: under 5 MiB of tree.
pub const REQUEST_VALUES: usize = 64 * 1024;
/// How many values a backend's answer may have: under 40 MiB of tree, for as long as it takes to trim the answer.
pub const ANSWER_VALUES: usize = 512 * 1024;

/// Why a text is not accepted. It holds nothing of the text, so that it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the body must be UTF-8")]
    NotUtf8,
    #[error("the body must be one JSON value (RFC 8259)")]
    Syntax,
    #[error("an object must not have the same key twice")]
    DuplicateKey,
    #[error("arrays and objects must not nest deeper than 64")]
    TooDeep,
    #[error("there must not be more values, each member and item counted, than are served")]
    TooManyValues,
    #[error("an escape must not be half of a surrogate pair")]
    LoneSurrogate,
    #[error("a number must be within the range of a double")]
    NumberOutOfRange,
}

/// A value, and the text that it was read from (without the white space around it).
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    pub raw: &'a str,
    pub value: Json<'a>,
}

/// What a value is. Objects keep the order of their members.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// The digits as they were written.
    Number(&'a str),
    /// Unescaped; borrowed where nothing was escaped.
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Reads the JSON value of a request; white space around it is allowed, anything else is not.
///
/// # Errors
/// The first thing that is wrong, from the left; bytes that are no UTF-8 come before anything else.
pub fn parse(bytes: &[u8]) -> Result<Node<'_>, Refusal> {
    bounded(bytes, REQUEST_VALUES)
}

/// As [`parse`], for what answers a call: it may have [`ANSWER_VALUES`].
///
/// # Errors
/// As [`parse`].
pub fn parse_answer(bytes: &[u8]) -> Result<Node<'_>, Refusal> {
    bounded(bytes, ANSWER_VALUES)
}

fn bounded(bytes: &[u8], values: usize) -> Result<Node<'_>, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::NotUtf8)?;
    parser::parse(text, values)
}

impl<'a> Node<'a> {
    /// The member of an object; `None` where there is none, or this is no object.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.as_object()?.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// What a JSON pointer (RFC 6901) points to: `/items/0/name`, or an empty text for this node itself.
    pub fn pointer(&self, pointer: &str) -> Option<&Node<'a>> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, |node, token| {
            let token = if token.contains('~') {
                Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
            } else {
                Cow::Borrowed(token)
            };
            match &node.value {
                Json::Object(_) => node.get(&token),
                Json::Array(items) => items.get(array_index(&token)?),
                _ => None,
            }
        })
    }

    pub fn as_object(&self) -> Option<&[(Cow<'a, str>, Node<'a>)]> {
        if let Json::Object(members) = &self.value { Some(members) } else { None }
    }

    pub fn as_array(&self) -> Option<&[Node<'a>]> {
        if let Json::Array(items) = &self.value { Some(items) } else { None }
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Json::String(text) = &self.value { Some(text) } else { None }
    }

    /// As serde_json would have read it: integers that fit 64 bits stay exact, other numbers become doubles.
    pub fn to_value(&self) -> Value {
        match &self.value {
            Json::Null => Value::Null,
            Json::Bool(bool) => Value::Bool(*bool),
            Json::Number(digits) => number(digits),
            Json::String(text) => Value::String(text.clone().into_owned()),
            Json::Array(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Json::Object(members) => {
                Value::Object(members.iter().map(|(name, node)| (name.clone().into_owned(), node.to_value())).collect())
            }
        }
    }
}

/// Whatever the parser let through has a value here by the same means: it holds what may leave the range of a double against
/// `str::parse::<f64>`, which rounds correctly and knows every form of RFC 8259. Another reader could round the greatest ones to
/// infinity, and have none.
fn number(digits: &str) -> Value {
    if digits != "-0" {
        if let Ok(integer) = digits.parse::<i64>() {
            return Value::from(integer);
        }
        if let Ok(integer) = digits.parse::<u64>() {
            return Value::from(integer);
        }
    }
    Value::from(digits.parse::<f64>().expect("a number that was parsed must be one to Rust"))
}

/// RFC 6901 knows no leading zeros and no signs.
fn array_index(token: &str) -> Option<usize> {
    let is_index = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    if is_index { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
