//! What ends the server.

use std::{io, thread};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Why the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM: others may still send calls for a moment.
    Terminated,
    /// Ctrl-C, or the end of standard input: a person or a parent is waiting.
    Interrupted,
}

/// Reasons to stop, from the moment that this is made.
pub struct Reasons {
    terminate: Signal,
    interrupt: Signal,
    stdin_ended: watch::Receiver<bool>,
    // Kept where nobody reads standard input: a channel without a sender has nothing more to say.
    _nobody: Option<watch::Sender<bool>>,
}

impl Reasons {
    /// # Errors
    /// Where signals cannot be waited for.
    pub fn listen(with_stdin: bool) -> io::Result<Self> {
        let (ended, stdin_ended) = watch::channel(false);
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        if !with_stdin {
            return Ok(Self { terminate, interrupt, stdin_ended, _nobody: Some(ended) });
        }
        // A thread of its own: the runtime would wait for one of its threads that reads.
        thread::spawn(move || {
            // An input that cannot be read is one that ended.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            ended.send_replace(true);
        });
        Ok(Self { terminate, interrupt, stdin_ended, _nobody: None })
    }

    /// The next one.
    pub async fn next(&mut self) -> Cause {
        tokio::select! {
            _ = self.terminate.recv() => Cause::Terminated,
            _ = self.interrupt.recv() => Cause::Interrupted,
            _ = self.stdin_ended.wait_for(|ended| *ended) => Cause::Interrupted,
        }
    }
}
