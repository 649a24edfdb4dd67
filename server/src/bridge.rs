//! `portcullis-server bridge`: runs an MCP server that speaks stdio, beside a guard that is in another container or process.
//!
//! It listens on a Unix socket. Each connection is one process of the command: what is received is its standard input, what it writes
//! is sent back, and when either of them ends, so does the other one, with everything that the process has started. It does not look
//! into what passes. What a process writes to standard error is drained, and printed within bounds.
//!
//! Who connects decides how many processes there are, and when one has been idle for too long; `--max` is a limit for all.

mod descendants;
mod process;
mod stderr;

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::process::{getpid, set_child_subreaper};
use tokio::{
    net::UnixListener,
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use self::{descendants::Descendants, process::Process, stderr::Printer};
use crate::{
    cli::Bridge,
    stop::{StopReason, StopSignals},
};

/// The pause after a connection could not be accepted, which is for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How often what has ended is looked for.
const REAP: Duration = Duration::from_secs(10);

/// Why the bridge ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the socket {}: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

/// Runs the bridge until it is told to stop.
///
/// # Errors
/// Returns an error if it cannot start.
pub async fn run(arguments: Bridge) -> Result<(), Error> {
    let Bridge { socket, max, stop_with_stdin, command } = arguments;
    let mut stop = StopSignals::listen(stop_with_stdin).map_err(Error::Signals)?;
    let listener = listen(&socket).map_err(|source| Error::Socket { path: socket.clone(), source })?;
    // What a process leaves behind becomes a child of this one, so that it is known here and its end is noticed. The first process of
    // a container is that anyway.
    let _ = set_child_subreaper(Some(getpid()));

    let (printer, descendants) = (Printer::start(), Arc::new(Descendants::default()));
    let room = Arc::new(Semaphore::new(max.into()));
    printer.line(&format!(
        "bridge: listening on {}, for {}",
        socket.display(),
        command.first().map_or("nothing", String::as_str)
    ));
    let mut connections = JoinSet::new();
    let (mut count, mut reap) = (0_u64, interval(REAP));
    reap.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            reason = stop.next() => {
                printer.line(match reason {
                    StopReason::Terminated => "bridge: stopped by SIGTERM",
                    StopReason::Interrupted => "bridge: stopped",
                });
                break;
            }
            Some(_) = connections.join_next() => {
                descendants.reap();
                continue;
            }
            _ = reap.tick() => {
                descendants.reap();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                printer.line(&format!("bridge: a connection could not be accepted: {error}"));
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            // Whoever connected sees its end at once.
            printer.line(&format!("bridge: a connection was refused: {max} processes run, which is the limit"));
            continue;
        };
        count += 1;
        let process = Process::new(count, command.clone(), printer.clone(), descendants.clone());
        connections.spawn(async move {
            process.serve(stream).await;
            drop(place);
        });
    }
    // A connection that is dropped ends its process by force.
    connections.shutdown().await;
    descendants.end_all().await;
    let _ = fs::remove_file(&socket);
    printer.stop();
    Ok(())
}

/// Listens on a socket, in the place of one that an earlier bridge left behind. Its group may connect, which in a pod is that of the
/// volume.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(existing) if existing.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("there is a file of this name, which is not a socket")),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
