//! JSON as this server accepts it, from callers and from backends alike.
//!
//! One pass over the bytes ensures UTF-8, the grammar of RFC 8259, no duplicate key in an object (compared after unescaping), no
//! lone surrogate, no nesting beyond [`MAX_DEPTH`] and no more values than are allowed. A request becomes a tree, in which a value of
//! two bytes takes up to 72; a backend's response is only checked, and read where it is. Both borrow from the input, and numbers
//! keep the digits that they were written with. What a message means is left to the callers.

mod checked;
mod keys;
mod mend;
mod parser;

use std::borrow::Cow;

use serde_json::Value;

use self::parser::{Keep, Leaf};
pub use self::{
    checked::{Checked, Part, end_of_string, is_space},
    mend::mended,
};

/// How deep arrays and objects may nest: `[[]]` has depth 2.
pub const MAX_DEPTH: usize = 64;
/// How many values a request may have, counting each member and item at every depth: less than 5 MiB of memory.
pub const REQUEST_VALUES: usize = 64 * 1024;
/// How many values a backend's response may have. They take no memory, but that many keys of one object take 14 MiB.
pub const ANSWER_VALUES: usize = 512 * 1024;

/// Why a text is not accepted. It contains nothing of the text, so that it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("the body must be UTF-8")]
    NotUtf8,
    #[error("the body must be one JSON value (RFC 8259)")]
    Syntax,
    #[error("NaN and Infinity are no numbers of JSON (RFC 8259)")]
    NotFinite,
    #[error("an object must not have the same key twice")]
    DuplicateKey,
    #[error("arrays and objects must not nest deeper than 64")]
    TooDeep,
    #[error("there are too many values (each member and item counts)")]
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
    /// Unescaped; borrowed if nothing was escaped.
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Reads the JSON value of a request. It may have white space around it, and nothing else.
///
/// # Errors
/// Returns the first thing that is wrong, from the left; bytes that are not UTF-8 come before anything else.
pub fn parse(bytes: &[u8]) -> Result<Node<'_>, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    parser::parse::<Tree>(text, REQUEST_VALUES)
}

/// Checks the response of a backend, which may have [`ANSWER_VALUES`], as [`parse`] does, and keeps nothing of it.
///
/// # Errors
/// As [`parse`].
pub fn check_answer(bytes: &[u8]) -> Result<Checked<'_>, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    parser::parse::<parser::Nothing>(text, ANSWER_VALUES)?;
    Ok(Checked::new(text))
}

/// Keeps a tree.
struct Tree;

impl<'a> Keep<'a> for Tree {
    type Value = Node<'a>;
    type Items = Vec<Node<'a>>;
    type Members = Vec<(Cow<'a, str>, Node<'a>)>;

    fn leaf(raw: &'a str, leaf: Leaf<'a>) -> Node<'a> {
        let value = match leaf {
            Leaf::Null => Json::Null,
            Leaf::Bool(bool) => Json::Bool(bool),
            Leaf::Number => Json::Number(raw),
            Leaf::String(quoted) => Json::String(quoted.text()),
        };
        Node { raw, value }
    }

    fn add_item(items: &mut Self::Items, item: Node<'a>) {
        items.push(item);
    }

    fn array(raw: &'a str, items: Self::Items) -> Node<'a> {
        Node { raw, value: Json::Array(items) }
    }

    fn add_member(members: &mut Self::Members, key: Cow<'a, str>, member: Node<'a>) {
        members.push((key, member));
    }

    fn object(raw: &'a str, members: Self::Members) -> Node<'a> {
        Node { raw, value: Json::Object(members) }
    }
}

impl<'a> Node<'a> {
    /// A member of an object; `None` if there is none, or if this is not an object.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.as_object()?.iter().find(|(name, _)| name == key).map(|(_, node)| node)
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

    /// The value as serde_json would have read it: integers that fit into 64 bits stay exact, other numbers become doubles.
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

/// Every number that the parser accepts has a value here. The parser checks the range of a double with the same function, which
/// rounds correctly and reads every form of RFC 8259; another one could round the greatest numbers to infinity.
fn number(digits: &str) -> Value {
    if digits != "-0" {
        if let Ok(integer) = digits.parse::<i64>() {
            return Value::from(integer);
        }
        if let Ok(integer) = digits.parse::<u64>() {
            return Value::from(integer);
        }
    }
    Value::from(digits.parse::<f64>().expect("a number that the parser accepts must be a double"))
}

#[cfg(test)]
mod tests;
