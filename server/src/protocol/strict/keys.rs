//! The keys of the objects that are being read, to find duplicates. Few are compared with each other; many are kept as their places
//! in the text, because an object of 4 MiB may have half a million. No key is unescaped again to be compared with one that differs.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use hashbrown::{HashTable, hash_table};

use super::parser::Quoted;

/// With more members than this, a table is faster than comparing each key with each.
const FEW: usize = 16;

pub(super) struct Keys<'a> {
    text: &'a str,
    /// The keys of all open objects that have few, each with its unescaped text.
    few: Vec<(Quoted<'a>, Cow<'a, str>)>,
    hasher: Option<RandomState>,
}

/// The keys of one object.
pub(super) struct KeysOfObject {
    from: usize,
    /// Once there are many.
    many: Option<HashTable<Place>>,
}

/// Where the first byte of a key is, and half of the hash of its unescaped text.
struct Place {
    at: u32,
    hash: u32,
}

impl<'a> Keys<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, few: Vec::new(), hasher: None }
    }

    /// The keys of an object that begins.
    pub fn begin(&self) -> KeysOfObject {
        KeysOfObject { from: self.few.len(), many: None }
    }

    /// Adds a key, whose unescaped text is given too.
    ///
    /// # Errors
    /// Returns the place of an equal key, which this one replaces.
    #[expect(clippy::ptr_arg, reason = "a text that is borrowed is kept without a copy")]
    pub fn insert(&mut self, object: &mut KeysOfObject, key: Quoted<'a>, unescaped: &Cow<'a, str>) -> Result<(), u32> {
        if let Some(many) = &mut object.many {
            return self.insert_into(many, key, unescaped);
        }
        let text = self.text;
        if let Some((equal, _)) = self.few[object.from..].iter_mut().find(|(_, other)| other == unescaped) {
            return Err(place_of(text, std::mem::replace(equal, key)));
        }
        if self.few.capacity() == 0 {
            // Those of most messages.
            self.few.reserve_exact(12);
        }
        self.few.push((key, unescaped.clone()));
        if self.few.len() - object.from > FEW {
            let mut many = HashTable::new();
            for (key, unescaped) in self.few.split_off(object.from) {
                self.insert_into(&mut many, key, &unescaped)?;
            }
            object.many = Some(many);
        }
        Ok(())
    }

    /// The object ends.
    pub fn end(&mut self, object: KeysOfObject) {
        self.few.truncate(object.from);
    }

    fn insert_into(&mut self, many: &mut HashTable<Place>, key: Quoted<'a>, unescaped: &str) -> Result<(), u32> {
        let text = self.text;
        let hash = (self.hasher.get_or_insert_default().hash_one(unescaped) >> 32) as u32;
        let is_same = |other: &Place| other.hash == hash && key_at(text, other.at).text() == unescaped;
        let entry = many.entry(spread(hash), is_same, |other| spread(other.hash));
        let at = place_of(text, key);
        match entry {
            hash_table::Entry::Vacant(vacant) => {
                vacant.insert(Place { at, hash });
                Ok(())
            }
            hash_table::Entry::Occupied(mut equal) => Err(std::mem::replace(&mut equal.get_mut().at, at)),
        }
    }
}

/// All 64 bits that a table looks at.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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
