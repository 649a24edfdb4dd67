//! The two custom resources of Portcullis, and the policy contract between operator and server.
//!
//! Everything here is a value: this crate does no I/O and reads no clock. Operator, command line and server check a server by the
//! same functions, in [`check`].

pub mod argument_condition;
pub mod check;
pub mod client;
pub mod condition;
pub mod contract;
pub mod document;
pub mod duration;
pub mod exposition;
pub mod finding;
pub mod json_object;
pub mod manifest;
pub mod name;
pub mod nearest;
pub mod program_log;
pub mod quantity;
pub mod reference;
pub mod revision;
pub mod schema;
pub mod secret_key_ref;
pub mod server;
pub mod template;
pub mod time;
pub mod union;
pub mod vocabulary;

pub use argument_condition::ArgumentCondition;
pub use client::{McpClient, McpClientSpec};
pub use duration::Duration;
pub use finding::{Finding, Findings};
pub use json_object::{JsonObject, JsonValue};
pub use name::{BackendName, ClientId, ConditionName, NamespacedName, ToolName};
pub use revision::Revision;
pub use secret_key_ref::SecretKeyRef;
pub use server::{McpServer, McpServerSpec};

/// The API group of both resources.
pub const GROUP: &str = "portcullis.dev";
/// The version of both resources.
pub const VERSION: &str = "v1alpha1";
