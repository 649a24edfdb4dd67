//! The methods of MCP: a caller and a request in, an [`Answer`] out, for every transport.
//!
//! A group of methods is one file, and one line in [`dispatch`]. Whether a caller may do what it asks is decided by the guard;
//! how an answer travels is left to the transport.

mod answer;
mod cancelled;
mod dispatch;
#[cfg(test)]
pub mod fixtures;
mod lifecycle;
mod session;
mod tools;

pub use answer::{Answer, Begun, Messages, Pending, queue};
#[cfg(test)]
pub use dispatch::Group;
pub use dispatch::Mcp;

#[cfg(test)]
mod tests;
