//! Connections: accepting them, bounding them, and ending them well.
//!
//! It promises that no peer can hold a connection, a thread or memory for longer or larger than [`Bounds`] says, and that a
//! stop finishes the calls in flight. What a request means is left to the [`Handler`].

mod body;
mod bounds;
mod budget;
mod connection;
mod facts;
mod registry;
mod serve;

pub use body::{BodyRefusal, read_body};
pub use bounds::{BodyBounds, Bounds};
pub use budget::{BodyBudget, BodyShare};
pub use facts::ConnectionFacts;
pub use registry::Connections;
pub use serve::{Handler, serve};
