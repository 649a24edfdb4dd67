//! The parser. It inspects bytes, and slices the text only at ASCII characters, which are always boundaries of characters.

use std::{borrow::Cow, collections::HashSet};

use super::{Json, JsonError, MAX_DEPTH, Node};

/// With more members than this, a hash set is faster than comparing each key with each.
const SMALL_OBJECT: usize = 16;

pub(super) fn parse(text: &str, values: usize) -> Result<Node<'_>, JsonError> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, depth: 0, values };
    parser.skip_space();
    let node = parser.node()?;
    parser.skip_space();
    if parser.at == text.len() { Ok(node) } else { Err(JsonError::Syntax) }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// How many more values there may be.
    values: usize,
}

impl<'a> Parser<'a> {
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

    fn node(&mut self) -> Result<Node<'a>, JsonError> {
        self.values = self.values.checked_sub(1).ok_or(JsonError::TooManyValues)?;
        let from = self.at;
        let value = match self.peek() {
            Some(b'"') => Json::String(self.string()?),
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'-' | b'0'..=b'9') => Json::Number(self.number()?),
            Some(b't') => self.word("true", Json::Bool(true))?,
            Some(b'f') => self.word("false", Json::Bool(false))?,
            Some(b'n') => self.word("null", Json::Null)?,
            _ => return Err(JsonError::Syntax),
        };
        Ok(Node { raw: &self.text[from..self.at], value })
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Result<Json<'a>, JsonError>) -> Result<Json<'a>, JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        let value = inner(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(JsonError::Syntax)
        }
    }

    fn array(&mut self) -> Result<Json<'a>, JsonError> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.node()?);
            if self.is_last(b']')? {
                return Ok(Json::Array(items));
            }
        }
    }

    fn object(&mut self) -> Result<Json<'a>, JsonError> {
        let mut members: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
        let mut seen: HashSet<Cow<'a, str>> = HashSet::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(JsonError::Syntax);
            }
            let key = self.string()?;
            if members.len() < SMALL_OBJECT {
                if members.iter().any(|(name, _)| *name == key) {
                    return Err(JsonError::DuplicateKey);
                }
            } else {
                if seen.is_empty() {
                    seen.extend(members.iter().map(|(name, _)| name.clone()));
                }
                if !seen.insert(key.clone()) {
                    return Err(JsonError::DuplicateKey);
                }
            }
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let node = self.node()?;
            members.push((key, node));
            if self.is_last(b'}')? {
                return Ok(Json::Object(members));
            }
        }
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

    fn number(&mut self) -> Result<&'a str, JsonError> {
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
        Ok(digits)
    }

    fn digits(&mut self) -> Result<usize, JsonError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > from { Ok(self.at - from) } else { Err(JsonError::Syntax) }
    }

    /// Reads a string from its opening quote; moves past the closing one.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let from = self.at;
        self.skip_plain();
        match self.peek() {
            Some(b'"') => {
                let text = &self.text[from..self.at];
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped_string(from).map(Cow::Owned),
            _ => Err(JsonError::Syntax),
        }
    }

    fn skip_plain(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
    }

    fn escaped_string(&mut self, mut from: usize) -> Result<String, JsonError> {
        let mut text = String::new();
        loop {
            text.push_str(&self.text[from..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                _ => return Err(JsonError::Syntax),
            }
            from = self.at;
            self.skip_plain();
        }
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
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(JsonError::LoneSurrogate);
        }
        if !self.bytes[self.at..].starts_with(b"\\u") {
            return Err(JsonError::LoneSurrogate);
        }
        self.at += 2;
        let second = self.hex4()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(JsonError::LoneSurrogate);
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(JsonError::LoneSurrogate)
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
