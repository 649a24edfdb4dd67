//! The two documents that a server obeys, as one immutable snapshot.
//!
//! It promises that a call sees one snapshot from start to end, that a document which is refused leaves its last good one in
//! force, and that any mix of an old and a new document gives nobody an access that neither of them gave: access needs a key
//! in the credentials and a client in the policy, of the same id and the same UID.

mod client;
mod document;
mod reading;
mod snapshot;
mod store;
mod tool;
mod watch;

pub use client::{Client, ClientState};
pub use document::{Change, Refused};
#[cfg(test)]
pub use reading::{CredentialsDocument, PolicyDocument};
pub use snapshot::{ApiKeyEntry, ServerInForce, Snapshot, Tools};
pub use store::{Condition, Reload, Store, StoreSettings};
pub use tool::{Records, Tool};
pub use watch::watch;
