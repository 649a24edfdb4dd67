//! What the tests with real parts share: clusters, the API server's audit log, processes, and waiting. Everything started
//! here ends with its value, also when a test fails. The tests themselves are in `tests/`, the cluster's recipe in `cluster/`.

use std::fmt;

mod audit;
pub mod backend;
mod binary;
mod cluster;
pub mod http;
mod process;
pub mod server;
mod wait;

pub use audit::{AuditLog, Mark, Right, Rights, Write};
pub use binary::binary;
pub use cluster::ControlPlane;
pub use process::Process;
pub use wait::{eventually, free_port};

/// Why a part of the harness could not do what a test asked of it.
#[derive(thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error("`{command}` failed ({status}):\n{output}")]
    Command { command: String, status: std::process::ExitStatus, output: String },
    #[error("gave up after {seconds:.1} s: {what}")]
    Timeout { what: String, seconds: f64 },
    #[error("no {name} in {folder}: `cargo build --workspace --bins` makes it")]
    MissingBinary { name: String, folder: String },
    #[error("an answer that no test expects: {0}")]
    Answer(String),
    #[error("the connection was closed before the answer was complete")]
    Closed,
    #[error(transparent)]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// As its sentence: this is what a test prints that unwraps one.
impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Error {
    /// For `map_err`: says what was being done when the system refused.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
