//! `portcullis-server` as a black box: a process, a policy written by hand, and whatever is sent over the wire. Each module is one
//! promise of the server. None of them uses its code, but for the lists of words that `vocabulary` compares with.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod arguments;
mod audit;
mod audit_blocked;
mod audit_destination;
mod authorisation;
mod backends;
mod bridge;
mod cancellation;
mod checks;
mod clients;
mod conformance;
mod connections;
mod credentials;
mod descriptors;
mod expected;
mod fixtures;
mod footprint;
mod hangup;
mod health;
mod hostile_texts;
mod http2;
mod ipv6;
mod limits;
mod malformed;
mod memory;
mod mixes;
mod neighbours;
mod published;
mod records;
mod refusals;
mod reload;
mod request_checks;
mod revisions;
mod revocation;
mod rmcp_client;
mod services;
mod sessions;
mod stop;
mod stop_under_load;
mod structured;
mod sweep;
mod tokens;
mod traces;
mod vocabulary;
