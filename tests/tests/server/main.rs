//! `portcullis-server` as a black box: a process, a policy written by hand, and whatever comes over the wire. Each module
//! is one promise of the server; none of them looks into it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by failing")]

mod arguments;
mod audit;
mod blocked;
mod bounds;
mod clients;
mod common;
mod conformance;
mod http2;
mod limits;
mod malformed;
mod mixes;
mod records;
mod refusals;
mod reload;
mod rmcp_client;
mod sessions;
mod slow;
mod sweep;
