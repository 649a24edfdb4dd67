//! Why `local` cannot start, or cannot write.

use std::{io, path::PathBuf};

use crate::manifests::{SourceError, Sources};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error(
        "{} is in use by another `local`; stop that one, or choose another folder with --state-dir",
        root.display()
    )]
    Locked { root: PathBuf },
    #[error(
        "there is no portcullis-server at {}; build it with `cargo build -p portcullis-server`, or name another file with \
         --server-binary",
        binary.display()
    )]
    NoServerBinary { binary: PathBuf },
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("{}: is neither a file nor a folder; edits of other things cannot be followed", path.display())]
    NotFollowed { path: PathBuf },
    #[error("{sources}: contains no McpServer that can be served")]
    NothingToServe { sources: Sources },
    #[error("--backend {name}: no server has an http backend of this name; the http backends: {known}")]
    NoBackend { name: String, known: String },
    #[error("cannot listen at {address}: {source}; choose another address with --listen; port 0 means free ports")]
    Port { address: String, source: io::Error },
}

impl Error {
    /// For `map_err`: adds the path, or what was being done.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
