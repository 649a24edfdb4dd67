//! A JSON text without its white space and without some of its parts, written from the text itself: a tree of a text of 4 MiB would
//! take ten times as much memory.

use std::ops::Range;

use super::{
    json::{Buffer, object},
    strict::{end_of_string, is_space},
};

/// What is left of a text that was checked. It keeps the digits, escapes and names that were written.
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a> {
    text: &'a str,
    /// Ranges that are left out, in their order. They begin and end between tokens, and one may contain another.
    cuts: &'a [Range<usize>],
}

impl<'a> Excerpt<'a> {
    /// Nothing but white space is left out.
    pub fn whole(text: &'a str) -> Self {
        Self { text, cuts: &[] }
    }

    pub fn without(text: &'a str, cuts: &'a [Range<usize>]) -> Self {
        Self { text, cuts }
    }

    pub fn is_object(&self) -> bool {
        self.text.bytes().find(|byte| !is_space(*byte)) == Some(b'{')
    }

    /// Appends it.
    pub fn push<B: Buffer>(&self, out: &mut B) {
        self.pieces(|piece| out.push_text(piece));
    }

    /// Appends it as an object: anything else is the property `result` of one.
    pub fn push_as_object<B: Buffer>(&self, out: &mut B) {
        if self.is_object() {
            return self.push(out);
        }
        let mut wrapper = object(out);
        self.push(wrapper.member("result"));
        wrapper.close();
    }

    /// Appends it as a JSON string, including its quotes.
    pub fn push_as_string<B: Buffer>(&self, out: &mut B) {
        out.push_text("\"");
        self.pieces(|piece| out.push_escaped(piece));
        out.push_text("\"");
    }

    fn pieces(&self, mut piece: impl FnMut(&str)) {
        let mut from = 0;
        for cut in self.cuts {
            if cut.start >= from {
                pieces_of(&self.text[from..cut.start], &mut piece);
            }
            from = from.max(cut.end);
        }
        pieces_of(&self.text[from..], &mut piece);
    }
}

/// What is between white space.
fn pieces_of(text: &str, mut piece: impl FnMut(&str)) {
    let bytes = text.as_bytes();
    let (mut from, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            byte if is_space(*byte) => {
                if from < at {
                    piece(&text[from..at]);
                }
                at += 1;
                from = at;
            }
            _ => at += 1,
        }
    }
    if from < at {
        piece(&text[from..at]);
    }
}
