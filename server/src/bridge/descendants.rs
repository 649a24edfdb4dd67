//! What the processes have started: it ends with them.
//!
//! A signal to a group misses what has left the group, so each process has a mark in its environment, which all that it starts inherits.

use std::{
    collections::HashSet,
    fs, io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, waitpid};
use tokio::{process::Child, time::sleep};

/// The variable with the mark.
pub const MARK: &str = "PORTCULLIS_BRIDGE_PROCESS";
/// How often what is left is looked for: something may have been started while others were killed.
const ROUNDS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// Knows what this bridge has started.
pub struct Descendants {
    /// Begins every mark, and is unlike that of any other bridge.
    bridge: String,
    /// The processes of the command. Each of them is waited for where it was started.
    commands: Mutex<HashSet<Pid>>,
}

impl Default for Descendants {
    fn default() -> Self {
        let mut bytes = [0; 8];
        // Without randomness the process's own id has to do.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        let bridge = format!("{}-{}", getpid().as_raw_nonzero(), hex::encode(bytes));
        Self { bridge, commands: Mutex::default() }
    }
}

impl Descendants {
    /// The mark of a process.
    pub fn mark(&self, number: u64) -> String {
        format!("{}/{number}/", self.bridge)
    }

    /// Starts a process of the command.
    ///
    /// # Errors
    /// Returns the error of `spawn`.
    pub fn start(&self, spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<(Child, Option<Pid>)> {
        // Locked until it is known: `reap` would take its exit status otherwise.
        let mut commands = self.commands();
        let child = spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        commands.extend(pid);
        Ok((child, pid))
    }

    /// Kills what is left of a process that has ended, and of its group.
    pub async fn end(&self, mark: &str, pid: Option<Pid>) {
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
            self.commands().remove(&pid);
        }
        kill(mark).await;
    }

    /// Kills what is left of all.
    pub async fn end_all(&self) {
        kill(&format!("{}/", self.bridge)).await;
    }

    /// Takes the exit status of everything else that has ended and is a child of this process, because its own parent ended before
    /// it. It would stay in the table of processes otherwise.
    pub fn reap(&self) {
        let commands = self.commands();
        for pid in processes().filter(|pid| !commands.contains(pid) && is_ended_child(*pid)) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    fn commands(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills all processes whose mark begins so, until there are none.
async fn kill(mark: &str) {
    let mark = format!("{MARK}={mark}");
    for _ in 0..ROUNDS {
        let searched = mark.clone();
        let found = tokio::task::spawn_blocking(move || marked(&searched)).await.unwrap_or_default();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill_process(pid, Signal::KILL);
        }
        sleep(PAUSE).await;
    }
}

/// The processes whose environment has the mark. One that has ended has no environment any more, so it is not among them.
fn marked(mark: &str) -> Vec<Pid> {
    processes().filter(|pid| *pid != getpid() && has_mark(*pid, mark)).collect()
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
}

fn has_mark(pid: Pid, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
}

/// Whether it is a child of this process whose exit status nobody has taken (proc_pid_stat(5)).
fn is_ended_child(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name before it may contain anything.
    let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let (state, parent) = (fields.next(), fields.next());
    state == Some("Z") && parent.and_then(|it| it.parse().ok()).and_then(Pid::from_raw) == Some(getpid())
}
