//! The reference pages, printed from the schemas of the types and from the vocabularies, so that they are never out of date.

mod contract;
mod fields;
mod resources;

pub use contract::contract;
pub use resources::resources;
