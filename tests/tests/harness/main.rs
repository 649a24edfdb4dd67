//! The harness itself does what the tests rely on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod audit_log;
mod processes;
