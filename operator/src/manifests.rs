//! Manifests in a folder: read strictly, with the file, object and field of each finding.
//!
//! `validate`, `render` and `local` all read with this. What cannot be read keeps its last good state ([`Folder`]), so that
//! a slip of the editor takes nothing away and gives nothing; what is gone from a file that can be read is gone.

mod cluster_state;
mod folder;
mod listing;
mod parse;
mod problem;
mod review;
mod secrets;

pub use cluster_state::{ClusterState, NoCluster, uuid};
pub use folder::Folder;
pub use listing::{Files, FolderStamp, read, stamp};
pub use parse::{Kind, Manifest, ObjectId};
pub use problem::{Problem, Severity};
pub use review::{Review, review};
pub use secrets::{ClientSecret, Secrets, secrets};

#[cfg(test)]
mod tests;
