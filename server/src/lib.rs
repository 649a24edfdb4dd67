//! The guard of MCP servers: transports, identity, permissions, limits, backends and the audit log.
//!
//! Data goes one way, from bytes to a request, an identity, a decision, an outcome and a record. The binary beside this
//! library only reads the command line; everything it runs is here, so that tests can run it too.

pub mod audit;
pub mod backend;
pub mod bridge;
pub mod cancellation;
pub mod cli;
pub mod config;
pub mod directory;
mod fingerprint;
pub mod guard;
mod hash;
pub mod health;
pub mod identity;
pub mod limiter;
pub mod mcp;
pub mod metrics;
pub mod net;
pub mod protocol;
pub mod run;
pub mod session;
pub mod stop;
pub mod supervise;
pub mod transport;
