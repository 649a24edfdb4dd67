//! A program started by a test. Its output is kept line by line, and it ends, with everything that it started in its process
//! group, when the value is dropped. A test that fails prints the last lines of each of its programs.

mod output;
mod usage;

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

pub use output::Output;
pub use usage::Usage;

use crate::{Error, eventually};

/// How many lines of each program a failing test prints.
const SHOWN_ON_FAILURE: usize = 40;

/// What a failing test prints of a long text.
pub(crate) fn last_lines(text: &str) -> String {
    let skipped = text.lines().count().saturating_sub(SHOWN_ON_FAILURE);
    text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Output,
}

impl Process {
    /// Starts `program` with these arguments and, on top of the test's own, this environment. Its standard input is empty.
    ///
    /// # Errors
    /// Returns an error if there is no such program.
    pub fn start<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let mut command = Command::new(&program);
        command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
        Self::spawn(command)
    }

    /// Starts `command` with a standard input that stays open until [`Process::close_stdin`].
    ///
    /// # Errors
    /// Returns an error if there is no such program.
    pub fn start_with_stdin(mut command: Command) -> Result<Self, Error> {
        command.stdin(Stdio::piped());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Result<Self, Error> {
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(Error::io(format!("starting {name}")))?;
        let output = Output::collect(child.stdout.take(), child.stderr.take())?;
        Ok(Self { name, stdin: child.stdin.take(), child, output })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it prints.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The CPU time and memory that it has used.
    ///
    /// # Errors
    /// Returns an error if it has ended.
    pub fn usage(&self) -> Result<Usage, Error> {
        Usage::of(self.pid())
    }

    /// Waits for a line that contains `text`, and returns the first one, of stdout before stderr.
    ///
    /// # Errors
    /// Returns an error with everything that was printed if that takes longer than `timeout`.
    pub async fn line(&self, text: &str, timeout: Duration) -> Result<String, Error> {
        eventually(timeout, async || {
            let found = self.output.find(text);
            found.ok_or_else(|| format!("{} did not print '{text}'; it printed:\n{}", self.name, self.output.text()))
        })
        .await
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the process, and not to the processes that it started.
    ///
    /// # Errors
    /// Returns an error if it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        kill_process(self.pid(), signal).map_err(|errno| Error::io(format!("signalling {}", self.name))(errno.into()))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Returns an error if it still runs after `timeout`.
    pub async fn ended(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        let Self { name, child, .. } = self;
        eventually(timeout, async || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("{name} still runs")),
            Err(error) => Err(format!("{name}: {error}")),
        })
        .await
    }

    /// Sends SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// Returns an error if it still runs after `timeout`.
    pub async fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::TERM)?;
        self.ended(timeout).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.output.resume();
        if std::thread::panicking() {
            eprintln!("--- the last lines of {}:\n{}", self.name, last_lines(&self.output.text()));
        }
        // The group may outlive its leader. While the leader is not waited for, its number cannot be given to another process.
        if self.is_running() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
