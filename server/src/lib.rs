//! The guard of MCP servers: transports, identity, permissions, limits, backends and the audit log.
//!
//! Data goes one way, from bytes to a request, an identity, a decision, an outcome and a record. The binary beside this
//! library only reads the command line; everything it runs is here, so that tests can run it too.

pub mod audit;
pub mod fingerprint;
pub mod limiter;
pub mod metrics;
pub mod net;
pub mod protocol;
pub mod session;
