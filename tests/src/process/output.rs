//! What a process prints, line by line. Threads read it, so that the pipe never fills unless a test pauses the reading.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Error, PATIENCE, eventually};

/// The smallest size that a pipe can have, so that it fills soon while the reading is paused.
const PIPE_BYTES: usize = 4096;

/// The lines printed so far. Clones share them.
#[derive(Clone, Default)]
pub struct Output {
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    pause: Arc<Pause>,
    /// A second handle of the reading end of stdout, to change its size.
    pipe: Option<Arc<OwnedFd>>,
    readers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Holds back the reading of stdout.
#[derive(Default)]
struct Pause {
    is_paused: Mutex<bool>,
    resumed: Condvar,
    discards: AtomicBool,
}

impl Output {
    pub(super) fn collect(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) -> Result<Self, Error> {
        let mut output = Self::default();
        if let Some(stdout) = stdout {
            let pipe = stdout.as_fd().try_clone_to_owned().map_err(Error::io("duplicating the pipe of stdout"))?;
            output.pipe = Some(Arc::new(pipe));
            output.read(Pausable(stdout, Arc::clone(&output.pause)), &output.stdout);
        }
        if let Some(stderr) = stderr {
            output.read(stderr, &output.stderr);
        }
        Ok(output)
    }

    fn read(&self, source: impl Read + Send + 'static, into: &Arc<Mutex<Vec<String>>>) {
        let into = Arc::clone(into);
        let reader = std::thread::spawn(move || {
            let mut reader = BufReader::with_capacity(64 * 1024, source);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                lock(&into).push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
        lock(&self.readers).push(reader);
    }

    /// Stops reading stdout, so that its pipe fills.
    ///
    /// # Errors
    /// Returns an error if the pipe cannot be made small.
    pub async fn pause(&self) -> Result<(), Error> {
        if let Some(pipe) = &self.pipe {
            // The kernel refuses while the pipe holds more than that.
            let shrink = async || rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES).map(drop);
            eventually(PATIENCE, shrink).await?;
        }
        *lock(&self.pause.is_paused) = true;
        Ok(())
    }

    /// Reads stdout again.
    pub fn resume(&self) {
        *lock(&self.pause.is_paused) = false;
        self.pause.resumed.notify_all();
    }

    /// From now on stdout is read and not kept, for a load that prints more than there is memory.
    pub fn discard(&self) {
        self.pause.discards.store(true, Ordering::Relaxed);
    }

    /// Every line of stdout.
    pub fn stdout(&self) -> Vec<String> {
        lock(&self.stdout).clone()
    }

    /// Every line of stderr.
    pub fn stderr(&self) -> Vec<String> {
        lock(&self.stderr).clone()
    }

    /// Everything printed, stdout before stderr.
    pub fn text(&self) -> String {
        [self.stdout(), self.stderr()].concat().join("\n")
    }

    /// The first line, of stdout before stderr, that contains `text`.
    pub fn find(&self, text: &str) -> Option<String> {
        let find = |lines: &Mutex<Vec<String>>| lock(lines).iter().find(|line| line.contains(text)).cloned();
        find(&self.stdout).or_else(|| find(&self.stderr))
    }

    /// Waits until both streams are closed.
    ///
    /// # Errors
    /// Returns an error if that takes longer than `timeout`.
    pub async fn closed(&self, timeout: Duration) -> Result<(), Error> {
        eventually(timeout, async || {
            if lock(&self.readers).iter().all(JoinHandle::is_finished) {
                Ok(())
            } else {
                Err("its output is still open")
            }
        })
        .await
    }
}

/// A reader that waits before each read while it is paused.
struct Pausable(ChildStdout, Arc<Pause>);

impl Read for Pausable {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Self(stdout, pause) = self;
        let mut is_paused = lock(&pause.is_paused);
        while *is_paused {
            is_paused = pause.resumed.wait(is_paused).unwrap_or_else(PoisonError::into_inner);
        }
        drop(is_paused);
        loop {
            let length = stdout.read(buffer)?;
            if length == 0 || !pause.discards.load(Ordering::Relaxed) {
                return Ok(length);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
