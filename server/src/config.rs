//! The two documents that a server obeys, as one immutable snapshot.
//!
//! It promises that a snapshot never changes, that the last valid document stays in force if a new one is refused, and that any
//! mix of an old and a new document, or of their parts, grants no access that neither of them grants: access requires a key in
//! the credentials and a client in the policy, with the same id and the same UID, and a policy whose server half is refused
//! grants its clients nothing new. Each part of a document counts by itself: a tool that cannot be loaded stays as it was, or is
//! left out by a server that never had it.

#[cfg(test)]
mod accepted;
mod definition;
mod document;
#[cfg(test)]
pub mod fixtures;
mod grants;
mod loader;
mod output;
mod parts;
mod reading;
mod snapshot;
mod store;
mod tool;
mod watch;

pub use definition::Definition;
pub use document::{Change, Refused, SETTLED_AFTER};
pub use loader::{Reload, StoreSettings};
pub use output::unstructured;
pub use parts::RefusedParts;
#[cfg(test)]
pub use reading::{CredentialsDocument, PolicyDocument};
pub use snapshot::{ServerInForce, Snapshot, Tools};
pub use store::{DocumentErrors, Store};
pub use tool::{Records, Tool};
pub use watch::watch;
