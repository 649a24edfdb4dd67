//! Manifests in a folder: read strictly, with the file, object and field of each finding.
//!
//! `validate`, `render` and `local` read manifests with this. What cannot be read keeps its last valid state ([`Folder`]), so that
//! a mistake in an editor grants nothing, and removes no more than what can be read beside it. What a readable file no longer contains
//! is removed.

mod advice;
mod cluster_state;
mod folder;
mod listing;
mod metadata;
mod object;
mod parse;
mod problem;
mod review;
mod secrets;

pub use advice::advice;
pub use cluster_state::{ClusterState, NoCluster, uuid};
pub use folder::Folder;
pub use listing::{Files, FolderStamp, SourceError, Sources, is_stdin};
pub use object::{Kind, Manifest, ObjectId};
pub use problem::{Problem, Severity};
pub use review::{Review, review};
pub use secrets::{ClientSecret, Secrets, secrets};

#[cfg(test)]
mod tests;
