//! A program started by a test: its output is kept line by line, and it ends, with whatever it started in its group, when
//! the value is dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{Error, eventually};

/// How many lines of each program a failing test shows.
const SHOWN_ON_FAILURE: usize = 40;

type Lines = Arc<Mutex<Vec<String>>>;

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts `program` with these arguments and, on top of the test's own, this environment. Its input is empty.
    pub fn start<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let mut command = Command::new(&program);
        command.args(arguments).envs(environment.iter().copied()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = program.as_ref().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(Error::io(format!("starting {name}")))?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        Ok(Self { name, child, stdout, stderr })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it has printed to stdout so far.
    pub fn stdout(&self) -> Vec<String> {
        lines(&self.stdout).clone()
    }

    /// What it has printed to stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        lines(&self.stderr).clone()
    }

    /// The first line, of stdout before stderr, that contains `text`; waits for it for at most `timeout`.
    pub async fn line(&self, text: &str, timeout: Duration) -> Result<String, Error> {
        eventually(timeout, async || {
            let found = [&self.stdout, &self.stderr]
                .into_iter()
                .find_map(|output| lines(output).iter().find(|line| line.contains(text)).cloned());
            found.ok_or_else(|| format!("{} did not print '{text}'; it printed:\n{}", self.name, self.output()))
        })
        .await
    }

    /// Everything printed so far, for a message.
    fn output(&self) -> String {
        [self.stdout(), self.stderr()].concat().join("\n")
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        kill_process(self.pid(), signal).map_err(|errno| Error::io(format!("signalling {}", self.name))(errno.into()))
    }

    /// Waits for its end, for at most `timeout`.
    pub async fn ended(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        let Self { name, child, .. } = self;
        eventually(timeout, async || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("{name} still runs")),
            Err(error) => Err(format!("{name}: {error}")),
        })
        .await
    }

    /// Asks it to end (SIGTERM), and waits.
    pub async fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::TERM)?;
        self.ended(timeout).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = self.output();
            let last = output.lines().count().saturating_sub(SHOWN_ON_FAILURE);
            let shown: Vec<&str> = output.lines().skip(last).collect();
            eprintln!("--- the end of what {} printed:\n{}", self.name, shown.join("\n"));
        }
        // The group outlives its leader; while the leader is not waited for, its number cannot be somebody else's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn lines(lines: &Lines) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads in a thread of its own, so that a full pipe never stops the program.
fn collect(output: Option<impl Read + Send + 'static>) -> Lines {
    let collected = Lines::default();
    if let Some(output) = output {
        let collected = Arc::clone(&collected);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                lines(&collected).push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
    }
    collected
}
