//! `local`: serves the manifests of a cluster on this machine. They are read and planned as everywhere else; directories
//! and processes take the place of ConfigMaps, Secrets and pods.
//!
//! An edit takes effect within a second, without a restart. What cannot be read keeps its last valid state. No server process
//! outlives this one, however it ends, and no two of these processes share a state folder.

mod backends;
mod client_keys;
mod cluster_state;
mod console;
mod error;
mod identities;
mod options;
mod overview;
mod policy_changes;
mod ports;
mod problems;
mod process;
mod run;
mod secrets;
mod servers;
mod signals;
mod state;
mod summary;
mod volume;
mod watch;

use std::time::Duration;

use tokio::sync::mpsc;

pub use error::Error;
pub use options::Options;

use run::LocalRun;
use signals::Signals;
use watch::Watch;

/// How long to wait until an edit that could not be applied is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Serves a folder until SIGINT, SIGTERM or SIGHUP.
///
/// # Errors
/// Returns an error if it cannot start: the folder, the state folder, a port or the server's program is not available, or nothing
/// in the folder can be served.
pub async fn run(options: Options) -> Result<(), Error> {
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut signals = Signals::new()?;
    let sources = options.sources()?;
    let mut watch = Watch::new(sources.clone())?;
    let mut run = LocalRun::new(options, sources, sender)?;
    run.start()?;
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = signals.next() => break,
            () = due(&mut watch, &run, has_failed) => tokio::select! {
                () = signals.next() => break,
                result = run.reread(&mut watch) => {
                    has_failed = result.is_err();
                    if let Err(error) = result {
                        console::warn(&format!("{error}; retrying"));
                    }
                }
            },
            Some(event) = events.recv() => run.process_event(event),
        }
    }
    console::print("Stopping.");
    tokio::select! {
        () = signals.next() => {}
        () = run.stop() => {}
    }
    Ok(())
}

/// Waits until the folder must be read: after a change, when keys are due, or a while after an edit that could not be applied.
async fn due(watch: &mut Watch, run: &LocalRun, has_failed: bool) {
    tokio::select! {
        () = watch.changed() => {}
        () = run.keys_due() => {}
        () = tokio::time::sleep(RETRY), if has_failed => {}
    }
}
