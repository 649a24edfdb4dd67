//! What MCP says on the wire, and nothing about who may say it.

pub mod strict;
