//! The two custom resources of Portcullis, and the policy contract between operator and server.
//!
//! Everything here is a value: this crate does no I/O and reads no clock. What is written down in a
//! resource is checked here once, by [`check`], for the operator, the command line and the server alike.

pub mod check;
pub mod client;
pub mod condition;
pub mod credentials;
pub mod document;
pub mod duration;
pub mod finding;
pub mod manifest;
pub mod name;
pub mod policy;
pub mod reference;
pub mod revision;
pub mod schema;
pub mod server;
pub mod template;

pub use client::{McpClient, McpClientSpec};
pub use credentials::Credentials;
pub use duration::Duration;
pub use finding::{Finding, Findings};
pub use name::{BackendName, ClientId, ToolName};
pub use policy::Policy;
pub use revision::Revision;
pub use server::{McpServer, McpServerSpec};

/// The API group of both resources.
pub const GROUP: &str = "portcullis.dev";
/// The version of both resources.
pub const VERSION: &str = "v1alpha1";
