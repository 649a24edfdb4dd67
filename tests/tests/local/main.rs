//! `portcullis-operator local` and `validate`, for a user with manifests and no cluster: real processes, real calls.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod commands;
mod edits;
mod harness;
mod idle;
mod manifests;
mod servers;
