//! The pairs of a query or a form.

use portcullis_crds::{
    check::Pair,
    contract::Style,
    template::{Part, Template},
};

use super::{scalar_argument, unsendable};
use crate::{
    backend::{
        kind::Unsendable,
        text::{argument, scalar},
    },
    protocol::strict::{Json, Node},
};

const LIST: &str = "must be a list of plain values";
const OBJECT: &str = "must be an object of plain values";

/// Pairs, whose names are percent-encoded.
#[derive(Clone, Debug)]
pub struct Pairs(Vec<Pair>);

impl From<Vec<Pair>> for Pairs {
    fn from(pairs: Vec<Pair>) -> Self {
        let encoded = |Pair { name, value, style }| {
            let mut encoded = String::new();
            push_encoded(&mut encoded, &name);
            Pair { name: encoded, value, style }
        };
        Self(pairs.into_iter().map(encoded).collect())
    }
}

impl Pairs {
    /// Appends those whose arguments are there, with `before` before the first one.
    ///
    /// # Errors
    /// Returns an error if an argument is nothing that a pair can have.
    pub fn push(&self, out: &mut String, before: &'static str, arguments: &Node<'_>) -> Result<(), Unsendable> {
        let mut writer = Writer { out, separator: before };
        for Pair { name, value, style } in &self.0 {
            if value.arguments().any(|name| argument(arguments, name).is_none()) {
                continue;
            }
            let single = value.as_argument().and_then(|name| Some((name, argument(arguments, name)?)));
            match (style, single) {
                (Style::DeepObject, Some((argument, node))) => writer.members(name, argument, node)?,
                (Style::Comma, Some((argument, Node { value: Json::Array(items), .. }))) => {
                    writer.joined(name, argument, items)?;
                }
                (_, Some((argument, Node { value: Json::Array(items), .. }))) => {
                    for text in texts(argument, items, LIST) {
                        writer.begin(name);
                        push_encoded(writer.out, &text?);
                    }
                }
                _ => writer.template(name, value, arguments)?,
            }
        }
        Ok(())
    }
}

struct Writer<'o> {
    out: &'o mut String,
    separator: &'static str,
}

impl Writer<'_> {
    fn begin(&mut self, name: &str) {
        self.out.push_str(std::mem::replace(&mut self.separator, "&"));
        self.out.push_str(name);
        self.out.push('=');
    }

    fn template(&mut self, name: &str, template: &Template, arguments: &Node<'_>) -> Result<(), Unsendable> {
        self.begin(name);
        for part in template.parts() {
            match part {
                Part::Literal(literal) => push_encoded(self.out, literal),
                Part::Argument(name) => push_encoded(self.out, &scalar_argument(name, arguments)?),
            }
        }
        Ok(())
    }

    /// One pair for a list, whose own commas are encoded; none for an empty list.
    fn joined(&mut self, name: &str, argument: &str, items: &[Node<'_>]) -> Result<(), Unsendable> {
        for (n, text) in texts(argument, items, LIST).enumerate() {
            if n == 0 {
                self.begin(name);
            } else {
                self.out.push(',');
            }
            push_encoded(self.out, &text?);
        }
        Ok(())
    }

    /// A pair for each member of an object; the names of members cannot leave their brackets.
    fn members(&mut self, name: &str, argument: &str, node: &Node<'_>) -> Result<(), Unsendable> {
        for (member, node) in node.as_object().ok_or_else(|| unsendable(argument, OBJECT))? {
            if member.contains(['[', ']']) {
                return Err(unsendable(argument, "must not have '[' or ']' in the names of its members"));
            }
            let mut full = format!("{name}%5B");
            push_encoded(&mut full, member);
            full.push_str("%5D");
            let items = match &node.value {
                Json::Array(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for text in texts(argument, items, OBJECT) {
                self.begin(&full);
                push_encoded(self.out, &text?);
            }
        }
        Ok(())
    }
}

/// Plain values as texts, without those that are null.
fn texts<'n>(
    argument: &str,
    items: &'n [Node<'_>],
    why: &'static str,
) -> impl Iterator<Item = Result<std::borrow::Cow<'n, str>, Unsendable>> {
    let items = items.iter().filter(|item| item.value != Json::Null);
    items.map(move |item| scalar(item).ok_or_else(|| unsendable(argument, why)))
}

/// Percent-encodes all characters except the unreserved ones of RFC 3986.
pub fn push_encoded(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 0xf)]));
        }
    }
}
