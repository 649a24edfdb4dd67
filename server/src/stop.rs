//! What makes the server stop.

use std::{io, thread};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Why the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGTERM: load balancers may still send calls for a moment.
    Terminated,
    /// Ctrl-C, or the end of standard input: a person or a parent process is waiting.
    Interrupted,
}

/// Receives the reasons to stop, from its creation on.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    stdin_ended: watch::Receiver<bool>,
    /// Standard input ends once; signals may come again.
    stdin_was_reported: bool,
    // Kept if standard input is not read: the receiver must not see a closed channel.
    _unused: Option<watch::Sender<bool>>,
}

impl StopSignals {
    /// # Errors
    /// Returns an error if the signals cannot be received.
    pub fn listen(with_stdin: bool) -> io::Result<Self> {
        let (ended, stdin_ended) = watch::channel(false);
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        if !with_stdin {
            return Ok(Self { terminate, interrupt, stdin_ended, stdin_was_reported: false, _unused: Some(ended) });
        }
        // A thread of its own: at its end, the runtime would wait for one of its own threads that reads.
        thread::spawn(move || {
            // An input that cannot be read has ended.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            ended.send_replace(true);
        });
        Ok(Self { terminate, interrupt, stdin_ended, stdin_was_reported: false, _unused: None })
    }

    /// Waits for the next reason.
    pub async fn next(&mut self) -> StopReason {
        tokio::select! {
            _ = self.terminate.recv() => StopReason::Terminated,
            _ = self.interrupt.recv() => StopReason::Interrupted,
            _ = self.stdin_ended.wait_for(|ended| *ended), if !self.stdin_was_reported => {
                self.stdin_was_reported = true;
                StopReason::Interrupted
            }
        }
    }
}
