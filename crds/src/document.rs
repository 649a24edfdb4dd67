//! Documents read strictly: a syntax error names its line, and everything that a schema refuses is named, field by field.
//!
//! The schema is the one that the API server gets, so that a file is refused for the same reasons as in a cluster.

mod fields;
mod strict;
mod structural;
mod yaml;

pub use strict::{decode, decode_published};
pub use structural::structural_schema;
pub use yaml::{SyntaxError, single, split, split_each};
