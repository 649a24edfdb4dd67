//! Why the harness could not do what a test asked of it.

use std::fmt;
use std::process::ExitStatus;

/// The one error type of this crate.
#[derive(thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error("`{command}` failed ({status}):\n{output}")]
    Command { command: String, status: ExitStatus, output: String },
    #[error("gave up after {seconds:.1} s: {what}")]
    Timeout { what: String, seconds: f64 },
    #[error("no {name} in {folder}: build it with `cargo build --workspace --bins`")]
    MissingBinary { name: String, folder: String },
    #[error("unexpected response: {0}")]
    Response(String),
    #[error("the connection was closed before the response was complete")]
    Closed,
    #[error("not a valid document: {0}")]
    Document(String),
    #[error(transparent)]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// The same text as `Display`, because `unwrap` in a test prints this one.
impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Error {
    /// For `map_err`: says what was being done when the operating system reported the error.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
