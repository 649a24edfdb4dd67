//! References inside of a schema: JSON pointers and anchors.

use std::{borrow::Cow, collections::HashMap};

use serde_json::Value;

use super::{Compiler, Refused, Result, refuse, values::text};
use crate::schema::{instance::escape, node::NodeId, shortened};

/// The tokens of the pointer of each anchor. Pointers would repeat long names.
pub(super) type Anchors<'a> = HashMap<&'a str, Vec<Cow<'a, str>>>;

impl Compiler<'_> {
    /// The node that a reference inside of the document refers to: a JSON pointer or an anchor.
    pub(super) fn reference(&mut self, reference: &Value, at: &str) -> Result<NodeId> {
        let reference = text(reference, at)?;
        let Some(fragment) = reference.strip_prefix('#') else {
            return refuse(
                at,
                format!("refers to `{}`; only references inside the document (#…) are allowed", shortened(reference)),
            );
        };
        let missing = || Refused {
            pointer: shortened(at),
            message: format!("refers to `{}`, which does not exist", shortened(reference)),
        };
        let pointer = match decoded(fragment) {
            Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => pointer,
            Some(anchor) => self.anchor(&anchor).ok_or_else(missing)?,
            None => return Err(missing()),
        };
        let target = self.root.pointer(&pointer).ok_or_else(missing)?;
        let pointer = canonical(&pointer);
        if let Some(known) = self.known.get(&pointer) {
            return Ok(*known);
        }
        let id = self.reserve(&pointer)?;
        self.pending.push((id, target, pointer));
        Ok(id)
    }

    fn anchor(&mut self, name: &str) -> Option<String> {
        let root = self.root;
        if self.anchors.is_none() {
            let mut anchors = HashMap::new();
            find_anchors(root, &mut Vec::new(), &mut anchors);
            self.anchors = Some(anchors);
        }
        let tokens = self.anchors.as_ref()?.get(name)?;
        Some(tokens.iter().map(|token| format!("/{}", escape(token))).collect())
    }
}

/// Every `$anchor` and `$dynamicAnchor`, except in data. `at` has the tokens of the pointer of the value.
fn find_anchors<'v>(value: &'v Value, at: &mut Vec<Cow<'v, str>>, anchors: &mut Anchors<'v>) {
    match value {
        Value::Object(map) => {
            for name in ["$anchor", "$dynamicAnchor"].iter().filter_map(|keyword| map.get(*keyword)?.as_str()) {
                anchors.entry(name).or_insert_with(|| at.clone());
            }
            for (name, child) in map.iter().filter(|(name, _)| !DATA.contains(&name.as_str())) {
                at.push(Cow::Borrowed(name));
                find_anchors(child, at, anchors);
                at.pop();
            }
        }
        Value::Array(all) => {
            for (n, child) in all.iter().enumerate() {
                at.push(Cow::Owned(n.to_string()));
                find_anchors(child, at, anchors);
                at.pop();
            }
        }
        _ => {}
    }
}

/// Keywords whose values are data, and hold no schemas.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

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
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}
