//! `run` as a process: its log, its threads, and its end by SIGTERM or Ctrl-C.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{build::Settings, cluster::client::ConnectError, controller};

/// Why the process ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the system refused threads or signals: {0}")]
    System(#[from] io::Error),
}

/// Runs until it is told to stop.
///
/// # Errors
/// Where the system or the cluster's configuration does not let it start.
pub fn run(settings: Settings) -> Result<(), Error> {
    log();
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
        Ok(controller::run(settings, stop).await?)
    })
}

/// JSON lines on stderr, from `LOG_LEVEL` (info) on; libraries only where they warn, and of the API's none: what it refuses is
/// logged once, with what was being done.
fn log() {
    let level = std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(format!("warn,kube_client=off,kube_runtime=off,portcullis_operator={level}"));
    let filter =
        filter.unwrap_or_else(|_| EnvFilter::new("warn,kube_client=off,kube_runtime=off,portcullis_operator=info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(io::stderr).init();
}
