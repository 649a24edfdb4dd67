//! Where a tool's work is done.
//!
//! It promises that a call costs bounded time and memory whatever a backend does, that nothing of a caller's but data goes out,
//! and that a call is never sent twice. What an answer means is left to the guard.

mod address;
mod breaker;
mod dial;
mod failure;
mod health;
mod http;
mod template;

pub use address::Dialling;
pub use failure::Failure;
pub use health::{Check, Status};
pub use http::{HttpBackend, HttpClient};
pub use template::{Rendered, RequestTemplate, Unsendable, render_text};
