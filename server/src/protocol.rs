//! MCP on the wire: strict JSON, messages, revisions, results and refusals.
//!
//! Nothing here depends on a transport or on who is calling. What comes beside a message is read through [`headers`].

pub mod era;
pub mod excerpt;
pub mod headers;
pub mod json;
pub mod message;
pub mod param_header;
pub mod refusal;
pub mod request;
pub mod result;
pub mod strict;
pub mod trace;
