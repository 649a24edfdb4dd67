//! `run` as a process: its log, its threads, and its end by SIGTERM or Ctrl-C.

use std::{backtrace::Backtrace, io};

use tokio::signal::unix::{SignalKind, signal};
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::controller;
pub use crate::controller::Options;

/// Why the process ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Controller(#[from] controller::Error),
    #[error("the system refused threads or signals: {0}")]
    System(#[from] io::Error),
}

impl Error {
    /// Whether another operator runs against the cluster.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Controller(controller::Error::Refused(_)))
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Returns an error if the system or the cluster's configuration does not let it start, or it cannot go on.
pub fn run(options: Options) -> Result<(), Error> {
    start_log();
    log_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        Ok(controller::run(options, stop).await?)
    })
}

/// JSON lines on stderr, from `LOG_LEVEL` (info) on. Of the libraries warnings only, and of the API's client nothing: what the API
/// server refuses is logged once, together with what was being done.
fn start_log() {
    let level = std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(format!("warn,kube_client=off,kube_runtime=off,portcullis_operator={level}"));
    let filter =
        filter.unwrap_or_else(|_| EnvFilter::new("warn,kube_client=off,kube_runtime=off,portcullis_operator=info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(io::stderr).init();
}

/// A panic is a line of the log like all others. Who caught it says what follows.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, backtrace = %Backtrace::capture(), "{}", panic.payload_as_str().unwrap_or("a panic"));
    }));
}
