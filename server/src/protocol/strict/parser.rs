//! The parser. It inspects bytes, and slices the text only at ASCII characters, which are always boundaries of characters. What
//! is kept of the values is left to [`Keep`], so that there is one grammar for what is read into a tree and what is only checked.

use std::{borrow::Cow, marker::PhantomData};

use super::{JsonError, MAX_DEPTH, keys::Keys, mend::Mends};
use crate::protocol::json::plain;

/// What is kept of the values that are read.
pub(super) trait Keep<'a> {
    type Value;
    type Items: Default;
    type Members: Default;

    fn leaf(raw: &'a str, leaf: Leaf<'a>) -> Self::Value;
    fn add_item(items: &mut Self::Items, item: Self::Value);
    fn array(raw: &'a str, items: Self::Items) -> Self::Value;
    fn add_member(members: &mut Self::Members, key: Cow<'a, str>, member: Self::Value);
    fn object(raw: &'a str, members: Self::Members) -> Self::Value;
}

/// Nothing is kept.
pub(super) struct Nothing;

impl Keep<'_> for Nothing {
    type Value = ();
    type Items = ();
    type Members = ();

    fn leaf(_: &str, _: Leaf<'_>) {}
    fn add_item((): &mut (), (): ()) {}
    fn array(_: &str, (): ()) {}
    fn add_member((): &mut (), _: Cow<'_, str>, (): ()) {}
    fn object(_: &str, (): ()) {}
}

/// A value that contains no others.
pub(super) enum Leaf<'a> {
    Null,
    Bool(bool),
    /// Its text is its digits.
    Number,
    String(Quoted<'a>),
}

#[cfg(test)]
thread_local! {
    /// How many bytes were unescaped.
    pub(super) static UNESCAPED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// What is between the quotes of a string that was read.
#[derive(Clone, Copy)]
pub(super) struct Quoted<'a> {
    pub raw: &'a str,
    pub is_escaped: bool,
}

impl<'a> Quoted<'a> {
    /// The string; borrowed if nothing was escaped.
    pub fn text(self) -> Cow<'a, str> {
        if !self.is_escaped {
            return Cow::Borrowed(self.raw);
        }
        #[cfg(test)]
        UNESCAPED.set(UNESCAPED.get() + self.raw.len());
        let mut text = String::with_capacity(self.raw.len());
        // What is not accepted was refused before.
        let mut parser = Parser::<Nothing>::new(self.raw, 0, Some(Mends::default()));
        while parser.at < self.raw.len() {
            let from = parser.at;
            parser.skip_plain();
            text.push_str(&self.raw[from..parser.at]);
            if parser.at < self.raw.len() {
                parser.at += 1;
                text.push(parser.escape().expect("an escape that was read before must be valid"));
            }
        }
        Cow::Owned(text)
    }
}

pub(super) fn parse<'a, K: Keep<'a>>(text: &'a str, values: usize) -> Result<K::Value, JsonError> {
    Parser::<K>::new(text, values, None).whole().map(|(value, _)| value)
}

/// What there is to mend in a text that is refused for nothing else.
pub(super) fn mends(text: &str, values: usize) -> Result<Mends, JsonError> {
    let mends = Parser::<Nothing>::new(text, values, Some(Mends::default())).whole()?.1;
    Ok(mends.unwrap_or_default())
}

struct Parser<'a, K> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// How many more values there may be.
    values: usize,
    keys: Keys<'a>,
    /// What was accepted although it is wrong; `None` if nothing is.
    mends: Option<Mends>,
    keep: PhantomData<K>,
}

impl<'a, K: Keep<'a>> Parser<'a, K> {
    fn new(text: &'a str, values: usize, mends: Option<Mends>) -> Self {
        let (bytes, keys) = (text.as_bytes(), Keys::new(text));
        Self { text, bytes, at: 0, depth: 0, values, keys, mends, keep: PhantomData }
    }

    fn whole(mut self) -> Result<(K::Value, Option<Mends>), JsonError> {
        self.skip_space();
        let value = self.value()?;
        self.skip_space();
        if self.at == self.text.len() { Ok((value, self.mends)) } else { Err(JsonError::Syntax) }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(JsonError::Syntax)
        }
    }

    fn value(&mut self) -> Result<K::Value, JsonError> {
        self.values = self.values.checked_sub(1).ok_or(JsonError::TooManyValues)?;
        let from = self.at;
        let leaf = match self.peek() {
            Some(b'"') => Leaf::String(self.string()?),
            Some(b'{') => return self.nested(Self::object),
            Some(b'[') => return self.nested(Self::array),
            Some(b'-') if self.bytes.get(self.at + 1) == Some(&b'I') => return Err(self.unknown()),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Leaf::Bool(true))?,
            Some(b'f') => self.word("false", Leaf::Bool(false))?,
            Some(b'n') => self.word("null", Leaf::Null)?,
            _ => return Err(self.unknown()),
        };
        Ok(K::leaf(&self.text[from..self.at], leaf))
    }

    fn nested(
        &mut self,
        inner: fn(&mut Self, from: usize) -> Result<K::Value, JsonError>,
    ) -> Result<K::Value, JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.depth += 1;
        let from = self.at;
        self.at += 1;
        self.skip_space();
        let value = inner(self, from)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Why there is no value here. Some libraries write numbers that JSON does not have.
    fn unknown(&self) -> JsonError {
        let is_next = |word: &&str| self.bytes[self.at..].starts_with(word.as_bytes());
        if ["NaN", "Infinity", "-Infinity"].iter().any(is_next) { JsonError::NotFinite } else { JsonError::Syntax }
    }

    fn word(&mut self, word: &str, leaf: Leaf<'a>) -> Result<Leaf<'a>, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(leaf)
        } else {
            Err(JsonError::Syntax)
        }
    }

    fn array(&mut self, from: usize) -> Result<K::Value, JsonError> {
        let mut items = K::Items::default();
        let mut is_complete = self.peek() == Some(b']');
        if is_complete {
            self.at += 1;
        }
        while !is_complete {
            K::add_item(&mut items, self.value()?);
            is_complete = self.is_last(b']')?;
        }
        Ok(K::array(&self.text[from..self.at], items))
    }

    fn object(&mut self, from: usize) -> Result<K::Value, JsonError> {
        let mut members = K::Members::default();
        let mut keys = self.keys.begin();
        let mut is_complete = self.peek() == Some(b'}');
        if is_complete {
            self.at += 1;
        }
        while !is_complete {
            if self.peek() != Some(b'"') {
                return Err(JsonError::Syntax);
            }
            let key = self.string()?;
            let unescaped = key.text();
            if let Err(earlier) = self.keys.insert(&mut keys, key, &unescaped) {
                self.mends.as_mut().ok_or(JsonError::DuplicateKey)?.replaced.push(earlier);
            }
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            K::add_member(&mut members, unescaped, self.value()?);
            is_complete = self.is_last(b'}')?;
        }
        self.keys.end(keys);
        Ok(K::object(&self.text[from..self.at], members))
    }

    /// After an item: moves past the closing bracket, or past the comma to the next item.
    fn is_last(&mut self, close: u8) -> Result<bool, JsonError> {
        self.skip_space();
        let is_last = match self.peek() {
            Some(b',') => false,
            Some(byte) if byte == close => true,
            _ => return Err(JsonError::Syntax),
        };
        self.at += 1;
        if !is_last {
            self.skip_space();
        }
        Ok(is_last)
    }

    fn number(&mut self) -> Result<Leaf<'a>, JsonError> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let integer = self.digits()?;
        if integer > 1 && self.bytes[self.at - integer] == b'0' {
            return Err(JsonError::Syntax);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let digits = &self.text[from..self.at];
        // Only these can exceed the range: the greatest double has 309 digits. `to_value` uses the same function.
        let may_overflow = has_exponent || integer > 300;
        if may_overflow && !digits.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(JsonError::NumberOutOfRange);
        }
        Ok(Leaf::Number)
    }

    fn digits(&mut self) -> Result<usize, JsonError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > from { Ok(self.at - from) } else { Err(JsonError::Syntax) }
    }

    /// Reads a string from its opening quote; moves past the closing one.
    fn string(&mut self) -> Result<Quoted<'a>, JsonError> {
        self.at += 1;
        let from = self.at;
        let mut is_escaped = false;
        loop {
            self.skip_plain();
            match self.peek() {
                Some(b'"') => {
                    let raw = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(Quoted { raw, is_escaped });
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                    is_escaped = true;
                }
                _ => return Err(JsonError::Syntax),
            }
        }
    }

    fn skip_plain(&mut self) {
        self.at += plain(&self.bytes[self.at..]);
    }

    /// Reads an escape after its backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or(JsonError::Syntax)?;
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(JsonError::Syntax),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let escape = self.at - 2;
        let first = self.hex4()?;
        let end = self.at;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        if (0xd800..0xdc00).contains(&first) && self.bytes[end..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second)
                && let Some(character) = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
            {
                return Ok(character);
            }
        }
        // What follows it is read for itself.
        self.at = end;
        self.mends.as_mut().ok_or(JsonError::LoneSurrogate)?.halves.push(escape);
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or(JsonError::Syntax)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, byte| {
            let digit = char::from(*byte).to_digit(16).ok_or(JsonError::Syntax)?;
            Ok(value * 16 + digit)
        })
    }
}
