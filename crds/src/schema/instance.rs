//! A JSON value in the form in which it is checked: one list of items, so that an item has a number by which what is known of it
//! is remembered.
//!
//! It borrows nothing, so that a check can go on elsewhere, and takes 12 bytes for a value besides its text. The members of an
//! object are sorted by name.

use std::{borrow::Cow, ops::Range};

use super::number::Number;

/// A JSON value as a program holds it.
pub trait Json: Clone {
    fn shape(&self) -> Shape<'_, Self>;
}

/// What a value is.
pub enum Shape<'a, J: Clone> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Cow<'a, [J]>),
    /// In any order, without two of the same name.
    Object(Vec<(Cow<'a, str>, Cow<'a, J>)>),
}

/// A value, its items and their texts.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    items: Vec<Item>,
    text: String,
}

/// The number of an item in its instance. Those of the items of an array, and of the names and values of an object, are adjacent,
/// and higher than that of the array or object.
pub(super) type ItemId = u32;

#[derive(Clone, Copy, Debug)]
struct Item {
    kind: Kind,
    // The bits of a number; the place of a text and its length; the first child and the number of children.
    first: u32,
    second: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Null,
    False,
    True,
    Integer,
    Unsigned,
    Double,
    String,
    Array,
    Object,
}

/// An item, to be matched.
#[derive(Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(&'a str),
    Array(Range<ItemId>),
    Object(Members<'a>),
}

/// The members of an object.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    instance: &'a Instance,
    first: ItemId,
    count: u32,
}

const NULL: Item = Item { kind: Kind::Null, first: 0, second: 0 };

impl Instance {
    pub(super) const ROOT: ItemId = 0;

    pub fn new<J: Json>(value: &J) -> Self {
        // Room for what most calls send.
        let mut instance = Self { items: Vec::with_capacity(16), text: String::with_capacity(128) };
        instance.items.push(NULL);
        instance.fill(Self::ROOT, value);
        instance
    }

    /// The number of its items.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    fn fill<J: Json>(&mut self, id: ItemId, value: &J) {
        let item = match value.shape() {
            Shape::Null => NULL,
            Shape::Bool(value) => Item { kind: if value { Kind::True } else { Kind::False }, first: 0, second: 0 },
            Shape::Number(number) => number_item(number),
            Shape::String(text) => self.text_item(&text),
            Shape::Array(values) => {
                let first = self.reserve(values.len());
                for (n, value) in (first..).zip(&*values) {
                    self.fill(n, value);
                }
                Item { kind: Kind::Array, first, second: values.len() as u32 }
            }
            Shape::Object(mut members) => {
                members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                let first = self.reserve(members.len() * 2);
                for (n, (name, value)) in (first..).step_by(2).zip(&members) {
                    self.items[n as usize] = self.text_item(name);
                    self.fill(n + 1, &**value);
                }
                Item { kind: Kind::Object, first, second: members.len() as u32 }
            }
        };
        self.items[id as usize] = item;
    }

    fn reserve(&mut self, count: usize) -> ItemId {
        let first = self.items.len();
        self.items.resize(first + count, NULL);
        first as ItemId
    }

    fn text_item(&mut self, text: &str) -> Item {
        let first = self.text.len() as u32;
        self.text.push_str(text);
        Item { kind: Kind::String, first, second: text.len() as u32 }
    }

    pub(super) fn value(&self, id: ItemId) -> Value<'_> {
        let Item { kind, first, second } = self.items[id as usize];
        let bits = u64::from(first) << 32 | u64::from(second);
        match kind {
            Kind::Null => Value::Null,
            Kind::False => Value::Bool(false),
            Kind::True => Value::Bool(true),
            Kind::Integer => Value::Number(Number::Integer(bits as i64)),
            Kind::Unsigned => Value::Number(Number::Unsigned(bits)),
            Kind::Double => Value::Number(Number::Double(f64::from_bits(bits))),
            Kind::String => Value::String(self.text_at(first, second)),
            Kind::Array => Value::Array(first..first + second),
            Kind::Object => Value::Object(Members { instance: self, first, count: second }),
        }
    }

    fn text_at(&self, first: u32, length: u32) -> &str {
        &self.text[first as usize..(first + length) as usize]
    }
}

impl<'a> Members<'a> {
    pub fn count(self) -> u32 {
        self.count
    }

    pub fn name(self, n: u32) -> &'a str {
        let Item { first, second, .. } = self.instance.items[self.name_id(n) as usize];
        self.instance.text_at(first, second)
    }

    pub fn name_id(self, n: u32) -> ItemId {
        self.first + n * 2
    }

    pub fn value_id(self, n: u32) -> ItemId {
        self.first + n * 2 + 1
    }

    /// Which member has this name.
    pub fn find(self, name: &str) -> Option<u32> {
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        None
    }
}

fn number_item(number: Number) -> Item {
    let (kind, bits) = match number {
        Number::Integer(integer) => (Kind::Integer, integer as u64),
        Number::Unsigned(integer) => (Kind::Unsigned, integer),
        Number::Double(double) => (Kind::Double, double.to_bits()),
    };
    Item { kind, first: (bits >> 32) as u32, second: bits as u32 }
}

/// A token of a JSON pointer (RFC 6901).
pub(super) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

impl Json for serde_json::Value {
    fn shape(&self) -> Shape<'_, Self> {
        match self {
            Self::Null => Shape::Null,
            Self::Bool(value) => Shape::Bool(*value),
            Self::Number(number) => Shape::Number(number.into()),
            Self::String(text) => Shape::String(text.into()),
            Self::Array(values) => Shape::Array(values.into()),
            Self::Object(map) => {
                Shape::Object(map.iter().map(|(name, value)| (name.into(), Cow::Borrowed(value))).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_found_by_their_names() {
        let instance = Instance::new(&json!({"b/": [1, {"~": null}], "a": "x"}));
        let Value::Object(members) = instance.value(Instance::ROOT) else { panic!("an object stays one") };
        assert_eq!((members.find("a"), members.find("b/"), members.find("c")), (Some(0), Some(1), None));
    }
}
