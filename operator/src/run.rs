//! `run` as a process: its log, its threads, and its end by SIGTERM or Ctrl-C.

use std::{
    backtrace::Backtrace,
    io::{self, Write},
};

use jiff::Timestamp;
use portcullis_crds::program_log::{self, Threshold};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Event, Level, Metadata, Subscriber, error, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    util::{SubscriberInitExt, TryInitError},
};

use crate::controller;
pub use crate::controller::Options;

/// Why the process ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Controller(#[from] controller::Error),
    #[error("the system refused threads or signals: {0}")]
    System(#[from] io::Error),
    #[error("this process has a log already")]
    Log(#[from] TryInitError),
}

impl Error {
    /// Whether another operator runs against the cluster.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Controller(controller::Error::Refused(_)))
    }

    /// Whether the cluster lacks something that the operator needs.
    pub fn is_lacking(&self) -> bool {
        matches!(self, Self::Controller(controller::Error::Lacking(_)))
    }
}

/// Runs until SIGTERM or SIGINT. Messages from `level` on are logged.
///
/// # Errors
/// Returns an error if the system or the cluster's configuration does not let it start, or it cannot go on.
pub fn run(options: Options, level: Level) -> Result<(), Error> {
    tracing_subscriber::registry().with(ProgramLog(Threshold::new(level))).try_init()?;
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

/// The lines of the program log, on stderr.
struct ProgramLog(Threshold);

impl<S: Subscriber> Layer<S> for ProgramLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.admits(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.most_verbose())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Nobody is there to be told that a line cannot be written.
        let _ = io::stderr().write_all(&program_log::line(Timestamp::now(), event));
    }
}

/// A panic is a line of the log like all others. Who caught it says what follows.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, backtrace = %Backtrace::capture(), "{}", panic.payload_as_str().unwrap_or("a panic"));
    }));
}
