//! Where a tool's work is done.
//!
//! It promises that a call takes bounded time and memory whatever a backend does, that arguments reach a backend as data or not
//! at all, and that a call is never sent twice. What an output means for the caller is left to the guard.
//!
//! A kind of backend is a file or folder here, and its line in [`Factory`]. What is the same for all kinds (the breaker, the
//! calls in flight, the timeout, cancellation and health) is around it.

mod address;
mod breaker;
mod common;
pub mod credentials;
mod dial;
mod establish;
mod factory;
mod failure;
#[cfg(test)]
pub mod fake;
mod fixed;
mod health;
mod http;
mod kind;
mod origin;
mod output;
mod places;
mod sent;
mod text;

pub use address::AddressPolicy;
pub use common::{Backend, PreparedCall, ToolWork};
pub use factory::Factory;
pub use failure::{Effected, Failure};
pub use health::{Check, Status};
#[cfg(test)]
pub use http::RequestTemplate;
pub use kind::{Exchange, Kind, Unsendable, Work};
pub use origin::Origin;
pub use output::{CompleteResult, Content, Form, JsonOutput, Output};
#[cfg(test)]
pub use sent::Sent;
