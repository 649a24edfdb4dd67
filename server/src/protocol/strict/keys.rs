//! The keys of the objects that are being read, to find duplicates. Few are compared with each other; many are kept as their places
//! in the text, because an object of 4 MiB may have half a million.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::parser::Quoted;

/// With more members than this, a table is faster than comparing each key with each.
const FEW: usize = 16;

pub(super) struct Keys<'a> {
    text: &'a str,
    /// The keys of all open objects that have few.
    few: Vec<Quoted<'a>>,
    hasher: Option<RandomState>,
}

/// The keys of one object.
pub(super) struct KeysOfObject {
    from: usize,
    /// Once there are many: the places of their first bytes.
    many: Option<HashTable<u32>>,
}

impl<'a> Keys<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, few: Vec::new(), hasher: None }
    }

    /// The keys of an object that begins.
    pub fn begin(&self) -> KeysOfObject {
        KeysOfObject { from: self.few.len(), many: None }
    }

    /// Adds a key. Returns whether it is new.
    pub fn insert(&mut self, object: &mut KeysOfObject, key: Quoted<'a>) -> bool {
        if let Some(many) = &mut object.many {
            return self.insert_into(many, key);
        }
        if self.few[object.from..].iter().any(|other| is_same(*other, key)) {
            return false;
        }
        self.few.push(key);
        if self.few.len() - object.from > FEW {
            let mut many = HashTable::new();
            for key in self.few.split_off(object.from) {
                self.insert_into(&mut many, key);
            }
            object.many = Some(many);
        }
        true
    }

    /// The object ends.
    pub fn end(&mut self, object: KeysOfObject) {
        self.few.truncate(object.from);
    }

    fn insert_into(&mut self, many: &mut HashTable<u32>, key: Quoted<'a>) -> bool {
        let hasher = &*self.hasher.get_or_insert_default();
        let text = self.text;
        let hash = |key: Quoted<'_>| hasher.hash_one(&*key.text());
        let entry =
            many.entry(hash(key), |other| is_same(key_at(text, *other), key), |other| hash(key_at(text, *other)));
        let hashbrown::hash_table::Entry::Vacant(vacant) = entry else { return false };
        vacant.insert(place_of(text, key));
        true
    }
}

fn is_same(one: Quoted<'_>, other: Quoted<'_>) -> bool {
    if one.is_escaped || other.is_escaped { one.text() == other.text() } else { one.raw == other.raw }
}

fn place_of(text: &str, key: Quoted<'_>) -> u32 {
    let place = key.raw.as_ptr().addr() - text.as_ptr().addr();
    u32::try_from(place).expect("a text must be below 4 GiB")
}

/// The key that begins at a place, which was read before.
fn key_at(text: &str, place: u32) -> Quoted<'_> {
    let rest = &text[place as usize..];
    let mut is_escaped = false;
    let mut bytes = rest.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Quoted { raw: &rest[..at], is_escaped },
            b'\\' => {
                is_escaped = true;
                bytes.next();
            }
            _ => {}
        }
    }
    Quoted { raw: rest, is_escaped }
}
