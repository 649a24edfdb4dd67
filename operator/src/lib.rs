//! The operator: turns `McpServer` and `McpClient` resources into guarded MCP servers.
//!
//! [`validate`], [`build`] and [`credentials`] are pure: values in, values out, without a clock or randomness of their own. I/O is
//! left to the modules around them: [`controller`] and [`probe`] on a cluster, [`local`] on one machine, [`render`] and
//! [`manifests`] on files, [`call`] at a server.

pub mod backoff;
pub mod build;
pub mod call;
pub mod cli;
pub mod cluster;
pub mod condition;
pub mod controller;
pub mod crds;
pub mod credentials;
pub mod endpoint;
pub mod lease;
pub mod local;
pub mod manifests;
pub mod mapping;
pub mod metrics;
pub mod object;
pub mod probe;
pub mod qualified;
pub mod random;
pub mod rbac;
pub mod render;
pub mod requirements;
pub mod run;
pub mod supervise;
pub mod sync;
pub mod validate;
