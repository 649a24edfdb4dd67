//! The operator on a real API server, with the rights of its own account. There is no kubelet: pods stay pending, or a test
//! plays the kubelet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod admitted;
mod apply;
mod clients;
mod confirm;
mod crowded;
mod definitions;
mod faulty_proxy;
mod immutable;
mod ipv6;
mod keys;
mod killed;
mod kubelet;
mod late;
mod lease;
mod manifests;
mod namespace;
mod privileges;
mod refused;
mod refused_secrets;
mod requirements;
mod restored;
mod scale;
mod second;
mod status;
mod strangers;
mod tampered;
mod upgraded;
mod verdicts;
