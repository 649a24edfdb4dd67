//! The operator on a real API server, with the rights of its own account. No kubelet: pods stay pending, or are played.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by failing")]

mod apply;
mod clients;
mod confirm;
mod gate;
mod killed;
mod kubelet;
mod refused;
mod scale;
mod world;
