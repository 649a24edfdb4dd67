//! The Kubernetes API, as the controller and the probe use it: calls, watched objects and who owns them.
//!
//! Nothing here knows an McpServer's rules; nothing here imports the controller or the probe.

pub mod apply;
pub mod backoff;
pub mod drift;
pub mod error;
pub mod events;
pub mod object;
pub mod ownership;
pub mod store;
pub mod watch;

pub use error::Error;

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "portcullis-operator";
