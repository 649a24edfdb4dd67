//! What goes wrong, and the two ways to say something: events on stdout, findings on stderr.

use std::{
    io::{self, Write},
    path::PathBuf,
};

/// `local` can't begin, or can't write what it has to.
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
        "no portcullis-server at {}; build it with `cargo build -p portcullis-server`, or say where it is with --server-binary",
        binary.display()
    )]
    NoServer { binary: PathBuf },
    #[error("{} holds no McpServer that can be served", folder.display())]
    NothingToServe { folder: PathBuf },
    #[error("--backend {name}: no server has an http backend of this name; there are: {known}")]
    NoBackend { name: String, known: String },
    #[error("can't listen at {address}: {source}; choose another with --listen, port 0 takes free ones")]
    Port { address: String, source: io::Error },
}

impl Error {
    /// For `map_err`: says what was being done when the system refused.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// Prints an event. Whether anybody reads it changes nothing.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints a finding, or what else somebody should look at.
pub(super) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
