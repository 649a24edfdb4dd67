//! The Kubernetes API as the controller and the probe use it: calls, watched objects, drift and ownership.
//!
//! Promises: every write passes one place ([`client::Cluster`]), every call has a timeout, and an object that is not the
//! operator's is never touched. What the objects mean is left to the rooms above.

pub mod access;
pub mod apply;
pub mod client;
mod definitions;
pub mod drift;
pub mod error;
pub mod events;
pub mod fence;
pub mod field_path;
pub mod foreign;
pub mod kind;
pub mod labels;
pub mod managed_fields;
mod named_fields;
pub mod object;
pub mod owned;
pub mod ownership;
pub mod pod_trouble;
pub mod presence;
pub mod received;
pub mod scope;
pub mod store;
pub mod watch;

#[cfg(test)]
pub mod testing;

pub use client::{Cluster, ObjectRef};
pub use error::Error;
pub use managed_fields::FIELD_MANAGER;
