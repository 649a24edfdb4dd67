//! References inside of a schema: to one of its resources (`$id`), and there to a JSON pointer or an anchor.

use serde_json::Value;

use super::{
    Compiler, Refused, Result,
    names::{Names, ROOT},
    refuse,
    uri::resolve,
    values::text,
};
use crate::schema::{instance::escape, node::NodeId, shortened};

impl<'a> Compiler<'a> {
    /// The node that a reference refers to. No other document is ever read.
    pub(super) fn reference(&mut self, reference: &Value, at: &str) -> Result<NodeId> {
        let reference = text(reference, at)?;
        let pointer = canonical(&self.pointer_of(reference, at)?);
        if let Some(known) = self.known.get(&pointer) {
            return Ok(*known);
        }
        let Some(target) = self.root.pointer(&pointer) else { return missing(reference, at) };
        let id = self.reserve(&pointer)?;
        self.pending.push((id, target, pointer));
        Ok(id)
    }

    /// A `$dynamicRef`, which refers to the same place as a `$ref` if there is one resource only.
    pub(super) fn dynamic_reference(&mut self, reference: &Value, at: &str) -> Result<NodeId> {
        if self.named()?.is_bundle() {
            return refuse(at, "is not supported in a schema that has an `$id` below its root; use `$ref`");
        }
        self.reference(reference, at)
    }

    fn pointer_of(&mut self, reference: &str, at: &str) -> Result<String> {
        let names = self.named()?;
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = names.around(at);
        let resource = match uri {
            // Implementations differ in what they make of nothing.
            "" if reference.is_empty() => None,
            "" => Some(base),
            uri => names.resource(&resolve(names.uri(base), uri)),
        };
        let Some(resource) = resource else {
            let message = match names.uri(ROOT) {
                "" => "only references inside the document (#…) are allowed".to_owned(),
                own => format!("only references inside the document (#… or `{}`) are allowed", shortened(own)),
            };
            return refuse(at, format!("refers to `{}`; {message}", shortened(reference)));
        };
        match decoded(fragment) {
            Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
                Ok(format!("{}{pointer}", names.pointer(resource)))
            }
            Some(anchor) => names.anchor(resource, &anchor).map_or_else(|| missing(reference, at), Ok),
            None => missing(reference, at),
        }
    }

    /// Everything that can be referred to by a name; collected once.
    fn named(&mut self) -> Result<&Names<'a>> {
        let names = match self.names.take() {
            Some(names) => names,
            None => Names::collect(self)?,
        };
        Ok(self.names.insert(names))
    }
}

fn missing<T>(reference: &str, at: &str) -> Result<T> {
    let message = format!("refers to `{}`, which does not exist", shortened(reference));
    Err(Refused { pointer: shortened(at), message })
}

/// The pointer in the form in which the places of a schema are named: without leading zeros and the like there is only one.
fn canonical(pointer: &str) -> String {
    let tokens = pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"));
    tokens.map(|token| format!("/{}", escape(&token))).collect()
}

/// A fragment without its percent-encoding (RFC 3986, 2.1).
fn decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}
