//! What MCP says on the wire, and nothing about who may say it.

pub mod era;
pub mod error;
pub mod message;
pub mod param_header;
pub mod result;
pub mod strict;
