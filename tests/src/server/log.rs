//! What a server prints. Read in threads of their own, so that its pipe never fills, unless a test says that nobody reads.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::{Error, eventually};

/// Bytes that a pipe holds while nobody reads: the least that there is, so that it fills soon.
const PIPE: usize = 4096;

/// The lines printed so far. Clones see the same lines.
#[derive(Clone, Default)]
pub struct Log {
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    gate: Arc<Gate>,
    /// The reading end of stdout, once more.
    pipe: Option<Arc<OwnedFd>>,
    readers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Closed while nobody shall read.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    is_forgetful: AtomicBool,
    opened: Condvar,
}

impl Log {
    pub(super) fn collect(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) -> Result<Self, Error> {
        let mut log = Self::default();
        if let Some(stdout) = stdout {
            let pipe = stdout.as_fd().try_clone_to_owned().map_err(Error::io("keeping the pipe of stdout"))?;
            log.pipe = Some(Arc::new(pipe));
            log.read(Gated(stdout, Arc::clone(&log.gate)), &log.stdout);
        }
        if let Some(stderr) = stderr {
            log.read(stderr, &log.stderr);
        }
        Ok(log)
    }

    fn read(&self, output: impl Read + Send + 'static, into: &Arc<Mutex<Vec<String>>>) {
        let into = Arc::clone(into);
        let reader = std::thread::spawn(move || {
            let mut reader = BufReader::with_capacity(64 * 1024, output);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                lock(&into).push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
        lock(&self.readers).push(reader);
    }

    /// From now on nobody reads stdout: after what is read already, its pipe fills.
    pub async fn pause(&self) -> Result<(), Error> {
        if let Some(pipe) = &self.pipe {
            // Refused while the pipe holds more.
            let shrink = async || rustix::pipe::fcntl_setpipe_size(pipe, PIPE).map(drop);
            eventually(Duration::from_secs(10), shrink).await?;
        }
        *lock(&self.gate.is_closed) = true;
        Ok(())
    }

    /// From now on stdout is read and not kept: for a load that would print more than there is memory.
    pub fn forget(&self) {
        self.gate.is_forgetful.store(true, Ordering::Relaxed);
    }

    /// Reads on.
    pub fn resume(&self) {
        *lock(&self.gate.is_closed) = false;
        self.gate.opened.notify_all();
    }

    /// Every line of stdout.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.stdout).clone()
    }

    /// Every line of stderr.
    pub fn stderr(&self) -> Vec<String> {
        lock(&self.stderr).clone()
    }

    /// Every line of stdout as JSON. A line that is none is an error: the log is JSON lines and nothing else.
    pub fn records(&self) -> Result<Vec<Value>, Error> {
        let parse = |line: &String| serde_json::from_str(line).map_err(|_| Error::Answer(format!("no JSON: {line}")));
        self.lines().iter().map(parse).collect()
    }

    /// The records of this event.
    pub fn events(&self, event: &str) -> Result<Vec<Value>, Error> {
        Ok(self.records()?.into_iter().filter(|record| record["event"] == event).collect())
    }

    /// The first record of this event; waits for it.
    pub async fn event(&self, event: &str, patience: Duration) -> Result<Value, Error> {
        eventually(patience, async || {
            let found = self.events(event).map_err(|error| error.to_string())?.into_iter().next();
            found.ok_or_else(|| format!("no `{event}` in:\n{}\n{}", self.lines().join("\n"), self.stderr().join("\n")))
        })
        .await
    }

    /// Waits until `count` records of this event are there, and gives them.
    pub async fn count(&self, event: &str, count: usize, patience: Duration) -> Result<Vec<Value>, Error> {
        eventually(patience, async || {
            let found = self.events(event).map_err(|error| error.to_string())?;
            if found.len() >= count { Ok(found) } else { Err(format!("{} of {count} `{event}`", found.len())) }
        })
        .await
    }

    /// Waits for the end of both outputs.
    pub async fn complete(&self, patience: Duration) -> Result<(), Error> {
        eventually(patience, async || {
            if lock(&self.readers).iter().all(JoinHandle::is_finished) { Ok(()) } else { Err("output is still open") }
        })
        .await
    }
}

/// Waits before each read while the gate is closed.
struct Gated(ChildStdout, Arc<Gate>);

impl Read for Gated {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Self(output, gate) = self;
        let mut is_closed = lock(&gate.is_closed);
        while *is_closed {
            is_closed = gate.opened.wait(is_closed).unwrap_or_else(PoisonError::into_inner);
        }
        drop(is_closed);
        loop {
            let length = output.read(buffer)?;
            if length == 0 || !gate.is_forgetful.load(Ordering::Relaxed) {
                return Ok(length);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
