//! Connections: accepting them, keeping them within bounds, and closing them in order.
//!
//! It promises that no peer can hold a connection, a task or memory for longer, or of a larger size, than the bounds allow, and
//! that a stop finishes the calls in flight. What a request means is left to the [`Handler`].

mod activity;
mod bounds;
mod budget;
mod facts;
mod hangup;
mod kernel;
mod listener;
mod piece;
mod registry;
mod request_body;
mod response_body;
mod serve;
mod socket;
mod streams;
mod tracked_body;
mod unread;

pub use bounds::{AnswerBounds, BodyBounds, Bounds, StreamBounds};
pub use budget::{Budget, OverBudget, Share};
pub use facts::ConnectionFacts;
pub use hangup::Hangup;
pub use kernel::{connect, listen};
pub use listener::{Accepted, AcceptedTcp, Listener, Stream};
pub use registry::Connections;
pub use request_body::{BodyRefusal, read_body};
pub use response_body::{AtStop, Held, LiveStream, ResponseBody};
pub use serve::{Handler, serve};
pub use tracked_body::PIECE;
