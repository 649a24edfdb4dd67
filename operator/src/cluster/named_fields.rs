//! What is said of the fields that differ: bounded, because whoever may edit an object can put tens of thousands of fields into it.

use super::field_path::FieldPath;

/// How many fields are named, and how much of the path of each, in bytes.
const NAMED_FIELDS: usize = 3;
const MAX_FIELD: usize = 256;

/// The first fields in words, and how many more there are.
#[derive(Default)]
pub struct NamedFields {
    first: Vec<String>,
    more: usize,
}

impl NamedFields {
    /// Returns whether the field is named.
    pub fn add(&mut self, field: &FieldPath) -> bool {
        let is_named = self.first.len() < NAMED_FIELDS;
        if is_named {
            let mut words = field.to_string();
            if words.len() > MAX_FIELD {
                words.truncate(words.floor_char_boundary(MAX_FIELD));
                words.push('…');
            }
            self.first.push(words);
        } else {
            self.more += 1;
        }
        is_named
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub fn text(&self) -> String {
        match self.more {
            0 => self.first.join(", "),
            more => format!("{} and {more} more", self.first.join(", ")),
        }
    }
}
