//! Documents read strictly: a syntax error names its line, and everything that a schema refuses is named, field by field.
//!
//! The schema is the one that the API server gets, so that a file is refused for the same reasons as in a cluster.

mod cost;
mod fields;
mod salvage;
mod sentence;
mod stored;
mod strict;
mod structural;
mod tolerant;
mod words;
mod yaml;

pub use fields::unknown_field;
pub use strict::{decode, decode_known, decode_published, stored, unknown_fields};
pub use structural::structural_schema;
pub(crate) use tolerant::UNREADABLE;
pub use tolerant::{Flaw, tolerant};
pub use yaml::{Document, SyntaxError, single, split, split_each};

/// The path of a value in findings: `spec.tools[3]` for the segments `spec`, `tools`, `3`.
pub fn path(segments: &[&str]) -> String {
    fields::path("", segments.iter().copied())
}
