//! What a backend is told beside the request of a tool: headers, some of them with values of Secrets.
//!
//! It promises that no value of a Secret is printed, that a call is never sent without one of its headers, and that a new value is
//! used without a restart. The kinds of backends put the headers into their requests.

mod headers;
mod redaction;
mod secrets;
mod token;
mod watch;

pub use headers::{CallHeaders, Outgoing};
pub use redaction::Redaction;
pub use secrets::Secrets;
pub use watch::watch;
