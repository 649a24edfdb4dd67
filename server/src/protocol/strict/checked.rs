//! A text that was checked, and is read where it is: its values are found by skipping what is before them, and none is kept.

use std::{borrow::Cow, ops::Range};

use portcullis_crds::schema::{Json, Number, Shape};

use super::parser::Quoted;

/// A JSON text that the parser accepts.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    text: &'a str,
}

/// A value in a text that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    text: &'a str,
    /// Where it begins, and where it ends.
    from: usize,
    to: usize,
}

impl<'a> Checked<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text }
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The value that a JSON pointer (RFC 6901) refers to, such as `/items/0/name`; the empty pointer refers to the whole.
    pub fn pointer(&self, pointer: &str) -> Option<Part<'a>> {
        let from = skip_space(self.text.as_bytes(), 0);
        let whole = Part { text: self.text, from, to: end_of(self.text.as_bytes(), from) };
        if pointer.is_empty() {
            return Some(whole);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(whole, |part, token| part.child(&token_text(token)))
    }

    /// What has to be left out for a member of an object or an item of an array to be gone, with the comma that separates it; `None` if
    /// the pointer does not refer to one.
    pub fn member(&self, pointer: &str) -> Option<Range<usize>> {
        let (parent, token) = pointer.rsplit_once('/')?;
        let (parent, token) = (self.pointer(parent)?, token_text(token));
        let (end_of_previous, value) = match parent.members() {
            Some(mut members) => {
                let mut end_of_previous = None;
                let is_it = |(key, value): &(Quoted<'_>, Part<'_>)| {
                    let is_it = key.text() == token;
                    end_of_previous = if is_it { end_of_previous } else { Some(value.to) };
                    is_it
                };
                let value = members.find(is_it)?.1;
                (end_of_previous, value)
            }
            None => {
                let index = array_index(&token)?;
                let mut items = parent.items()?;
                let previous = index.checked_sub(1).map(|before| items.nth(before));
                (previous.map(|previous| previous.map(|item| item.to)).unwrap_or_default(), items.next()?)
            }
        };
        Some(match end_of_previous {
            Some(end) => end..value.to,
            None => {
                let bytes = self.text.as_bytes();
                let next = skip_space(bytes, value.to);
                parent.from + 1..if bytes[next] == b',' { next + 1 } else { value.to }
            }
        })
    }
}

impl<'a> Part<'a> {
    pub fn raw(&self) -> &'a str {
        &self.text[self.from..self.to]
    }

    /// The items of an array; `None` if it is no array.
    pub fn items(self) -> Option<impl Iterator<Item = Part<'a>>> {
        let mut at = self.begin(b'[')?;
        Some(std::iter::from_fn(move || self.next(&mut at)))
    }

    /// What has to be left out for an array to have only its first items; `None` if it is no array, or has no more.
    pub fn after_items(self, count: usize) -> Option<Range<usize>> {
        let mut items = self.items()?;
        let kept_to = match count.checked_sub(1) {
            Some(last) => items.nth(last)?.to,
            None => self.from + 1,
        };
        items.next()?;
        Some(kept_to..self.to - 1)
    }

    /// The text of a string, unescaped; `None` if it is no string.
    fn text(self) -> Option<Cow<'a, str>> {
        let raw = self.raw().strip_prefix('"')?.strip_suffix('"')?;
        Some(Quoted { raw, is_escaped: raw.contains('\\') }.text())
    }

    fn members(self) -> Option<impl Iterator<Item = (Quoted<'a>, Part<'a>)>> {
        let mut at = self.begin(b'{')?;
        Some(std::iter::from_fn(move || {
            let key = self.next(&mut at)?;
            let raw = &self.text[key.from + 1..key.to - 1];
            at = skip_space(self.text.as_bytes(), at) + 1;
            Some((Quoted { raw, is_escaped: raw.contains('\\') }, self.next(&mut at)?))
        }))
    }

    fn child(self, token: &str) -> Option<Part<'a>> {
        match self.text.as_bytes()[self.from] {
            b'{' => self.members()?.find(|(key, _)| key.text() == token).map(|(_, value)| value),
            b'[' => self.items()?.nth(array_index(token)?),
            _ => None,
        }
    }

    /// The place after its opening bracket, if it has this one.
    fn begin(self, bracket: u8) -> Option<usize> {
        (self.text.as_bytes()[self.from] == bracket).then_some(self.from + 1)
    }

    /// The next value in it, from the end of the last one on; `None` at its closing bracket.
    fn next(self, at: &mut usize) -> Option<Part<'a>> {
        let bytes = self.text.as_bytes();
        let mut from = skip_space(bytes, *at);
        if bytes[from] == b',' {
            from = skip_space(bytes, from + 1);
        }
        if matches!(bytes[from], b']' | b'}') {
            return None;
        }
        *at = end_of(bytes, from);
        Some(Part { text: self.text, from, to: *at })
    }
}

impl Json for Part<'_> {
    fn shape(&self) -> Shape<'_, Self> {
        let raw = self.raw();
        match raw.as_bytes()[0] {
            b'{' => {
                let members = self.members().into_iter().flatten();
                Shape::Object(members.map(|(name, value)| (name.text(), Cow::Owned(value))).collect())
            }
            b'[' => Shape::Array(self.items().into_iter().flatten().collect::<Vec<_>>().into()),
            b'"' => Shape::String(self.text().unwrap_or_default()),
            b't' => Shape::Bool(true),
            b'f' => Shape::Bool(false),
            b'n' => Shape::Null,
            // A text that was checked has no number that is not finite.
            _ => Number::parse(raw).map_or(Shape::Null, Shape::Number),
        }
    }
}

pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| !is_space(*byte)).map_or(bytes.len(), |spaces| from + spaces)
}

/// The end of the string that begins here.
pub fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// The end of the value that begins here.
pub(super) fn end_of(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                at += 1;
                continue;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b',' | b':' => {
                at += 1;
                continue;
            }
            byte if is_space(*byte) => {
                at += 1;
                continue;
            }
            _ => at += bytes[at..].iter().position(|byte| ends_a_word(*byte)).unwrap_or(bytes.len() - at),
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn ends_a_word(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b']' | b'}') || is_space(byte)
}

/// A token of a pointer, unescaped.
fn token_text(token: &str) -> Cow<'_, str> {
    if token.contains('~') { Cow::Owned(token.replace("~1", "/").replace("~0", "~")) } else { Cow::Borrowed(token) }
}

/// An index of RFC 6901 has no sign and no leading zero.
fn array_index(token: &str) -> Option<usize> {
    let is_index = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    if is_index { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use portcullis_crds::schema::{Instance, OutputSchema, Steps};
    use serde_json::{Value, json};

    use crate::protocol::strict;

    #[test]
    fn a_part_of_a_text_is_what_a_tree_of_it_is() {
        let text = r#"{"a\"\u00e9":[1,-2.5,1e3,"x\n",null,true,false,{}]}"#;
        let checked = strict::check_answer(text.as_bytes()).unwrap();
        let tree: Value = serde_json::from_str(text).unwrap();
        let schema = json!({"type": "object", "const": tree});
        let schema = OutputSchema::compile(schema.as_object().unwrap(), &mut Default::default()).unwrap();
        let verdict = schema.check(&Instance::new(&checked.pointer("").unwrap()), Steps::new(1_000));
        assert_eq!(verdict, Ok(Ok(())));
    }
}
