//! Who sends a request: the credential that it carries decides, and there is no falling through to another.

pub mod api_key;

pub use api_key::{Presented, presented};
