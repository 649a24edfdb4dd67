//! One process of the command, for one connection.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, copy, sink},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{
    descendants::{Descendants, MARK},
    stderr::{self, Printer},
};

/// How long a process may take to end once its input has ended, and then once it got SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// How long what a process wrote before its end is waited for. Whatever it started may hold its output open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// A process that is to be started.
pub struct Process {
    /// Counts the processes of this bridge.
    number: u64,
    command: Vec<String>,
    printer: Printer,
    descendants: Arc<Descendants>,
}

/// Why a connection ends.
enum Ended {
    /// The process ended by itself.
    Process(io::Result<ExitStatus>),
    /// The peer closed the connection, or it broke.
    Peer,
    /// The process closed its output.
    Output,
}

impl Process {
    pub fn new(number: u64, command: Vec<String>, printer: Printer, descendants: Arc<Descendants>) -> Self {
        Self { number, command, printer, descendants }
    }

    /// Starts the process, connects it with the peer until one of them ends, and ends it. If this future is dropped, the process has no
    /// input and no output any more, and [`Descendants::end_all`] ends it.
    pub async fn serve(self, stream: UnixStream) {
        let began = Instant::now();
        let mark = self.descendants.mark(self.number);
        let (mut child, pid) = match self.descendants.start(|| self.spawn(&mark)) {
            Ok(started) => started,
            Err(error) => return self.say(&format!("could not be started: {error}")),
        };
        // Each of them was asked for when the process was started.
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return;
        };
        let drained = tokio::spawn(stderr::drain(stderr, self.number, self.printer.clone()));

        let (from_peer, to_peer) = stream.into_split();
        let ended = connect(&mut child, (from_peer, stdin), (stdout, to_peer)).await;
        let (what, status) = match ended {
            Ended::Process(status) => ("ended by itself", status),
            Ended::Peer => ("was not needed any more", end(&mut child, pid).await),
            Ended::Output => ("closed its output", end(&mut child, pid).await),
        };
        self.descendants.end(&mark, pid).await;
        drained.abort();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.say(&format!("{what} after {:.1?}, {status}", began.elapsed()));
    }

    fn spawn(&self, mark: &str) -> io::Result<Child> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        command.args(arguments).env(MARK, mark);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that a signal reaches what it started, and Ctrl-C in a terminal does not.
        command.process_group(0).kill_on_drop(true).spawn()
    }

    fn say(&self, what: &str) {
        self.printer.line(&format!("bridge: process {} {what}", self.number));
    }
}

/// Passes bytes in both directions until one of the two ends.
async fn connect(
    child: &mut Child,
    (mut from_peer, mut stdin): (OwnedReadHalf, ChildStdin),
    (mut stdout, mut to_peer): (ChildStdout, OwnedWriteHalf),
) -> Ended {
    let ended = {
        // A process that reads nothing any more may still answer: its output decides.
        let input = async {
            if copy(&mut from_peer, &mut stdin).await.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
                let _ = copy(&mut from_peer, &mut sink()).await;
            }
        };
        let output = copy(&mut stdout, &mut to_peer);
        tokio::pin!(input, output);
        tokio::select! {
            status = child.wait() => {
                // What it has written is passed on.
                let _ = timeout(LAST_OUTPUT, output).await;
                Ended::Process(status)
            }
            () = &mut input => Ended::Peer,
            result = &mut output => if result.is_ok() { Ended::Output } else { Ended::Peer },
        }
    };
    let _ = to_peer.shutdown().await;
    if matches!(ended, Ended::Peer | Ended::Output) {
        // It must not wait for somebody to read what it writes.
        drain(stdout);
    }
    ended
}

fn drain(mut output: impl AsyncRead + Unpin + Send + 'static) {
    tokio::spawn(async move { copy(&mut output, &mut sink()).await });
}

/// Ends a process whose input has ended: first by that alone, then by signals.
async fn end(child: &mut Child, group: Option<Pid>) -> io::Result<ExitStatus> {
    if let Ok(status) = timeout(GRACE, child.wait()).await {
        return status;
    }
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
    }
    if let Ok(status) = timeout(GRACE, child.wait()).await {
        return status;
    }
    let _ = child.start_kill();
    child.wait().await
}
