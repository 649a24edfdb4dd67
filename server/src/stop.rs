//! What ends the server.

use std::{io, thread};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Why the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM: others may still send calls for a moment.
    Terminated,
    /// Ctrl-C, or the end of standard input: a person or a parent is waiting.
    Interrupted,
}

/// Waits for a reason to stop.
///
/// # Errors
/// Where signals cannot be waited for.
pub async fn cause(with_stdin: bool) -> io::Result<Cause> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(Cause::Terminated),
        _ = interrupt.recv() => Ok(Cause::Interrupted),
        () = end_of_stdin(), if with_stdin => Ok(Cause::Interrupted),
    }
}

async fn end_of_stdin() {
    let (ended, end) = oneshot::channel::<()>();
    // A thread of its own: the runtime would wait for one of its threads that reads at its end.
    thread::spawn(move || {
        // An input that cannot be read is one that ended; one that nobody waits for any more needs no word.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}
