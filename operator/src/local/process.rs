//! One server's process: started, started again when it ends, and ended with this one, however this one ends.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use portcullis_crds::NamespacedName;
use serde::Deserialize;
use tokio::{
    process::{Child, ChildStdin, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The first pause before a process that ended is started again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A process that ran this long was well: the next pause is the first again.
const WELL: Duration = Duration::from_secs(10);
/// How long a process may take to end once it is told to.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often the log is looked at for the addresses of a process that starts.
const LOOK: Duration = Duration::from_millis(20);

/// What to run.
pub(super) struct Program {
    pub server: NamespacedName,
    pub binary: PathBuf,
    pub config: PathBuf,
    /// Appended to; the process writes it itself, so that no record passes through here.
    pub log: PathBuf,
    pub listen: SocketAddr,
}

/// What became of a process.
pub(super) enum Event {
    Listening {
        server: NamespacedName,
        listen: SocketAddr,
        admin: SocketAddr,
    },
    /// It ended without being told to; it is started again after this pause.
    Ended {
        server: NamespacedName,
        why: String,
        pause: Duration,
    },
}

/// A server's process; dropped, it is killed.
pub(super) struct Process {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Process {
    /// Starts it once those `before` it have ended.
    pub fn start(program: Program, before: Vec<JoinHandle<()>>, events: mpsc::UnboundedSender<Event>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            for earlier in before {
                let _ = earlier.await;
            }
            keep(program, events, stopped).await;
        });
        Self { stop, task }
    }

    /// Ends it: gently, then by force.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Keeps the process running until told to stop, or nobody is left to tell.
async fn keep(mut program: Program, events: mpsc::UnboundedSender<Event>, mut stopped: oneshot::Receiver<()>) {
    let mut pause = FIRST_PAUSE;
    let mut admin = SocketAddr::from(([127, 0, 0, 1], 0));
    loop {
        let began = Instant::now();
        let from = fs::metadata(&program.log).map_or(0, |log| log.len());
        let why = match spawn(&program, admin) {
            Err(error) => format!("{}: {error}", program.binary.display()),
            Ok(mut child) => {
                // Held until the end: waiting for a child would close an input that is still its own.
                let input = child.stdin.take();
                let listening = async {
                    let (listen, bound) = addresses(&program.log, from).await;
                    // The next one listens where this one did, so that nobody has to be told.
                    (program.listen, admin) = (listen, bound);
                    let _ = events.send(Event::Listening { server: program.server.clone(), listen, admin });
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    _ = &mut stopped => return end(child, input).await,
                    () = listening => return,
                    status = child.wait() => {
                        match (status, last_words(&program.log, from)) {
                            (Ok(status), Some(words)) if status.code().is_some() => format!("{status}: {words}"),
                            (Ok(status), _) => status.to_string(),
                            (Err(error), _) => error.to_string(),
                        }
                    }
                }
            }
        };
        pause = if began.elapsed() >= WELL { FIRST_PAUSE } else { pause };
        let _ = events.send(Event::Ended { server: program.server.clone(), why, pause });
        tokio::select! {
            _ = &mut stopped => return,
            () = sleep(pause) => {}
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

fn spawn(program: &Program, admin: SocketAddr) -> io::Result<Child> {
    if let Some(folder) = program.log.parent() {
        fs::create_dir_all(folder)?;
    }
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&program.log)?;
    Command::new(&program.binary)
        .arg("--config")
        .arg(&program.config)
        .args(["--listen", &program.listen.to_string(), "--admin", &admin.to_string()])
        .args(["--instance", &program.server.name])
        // The pipe's other end is this process's: when it is gone, by whatever end, so is the server.
        .args(["--allow-loopback-backends", "--stop-with-stdin", "--drain", "0"])
        .stdin(Stdio::piped())
        .stderr(log.try_clone()?)
        .stdout(log)
        // Ctrl-C goes to the terminal's group; this process alone decides what it means.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// The end of its input tells it to stop.
async fn end(mut child: Child, input: Option<ChildStdin>) {
    drop(input);
    if timeout(END_WITHIN, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// The line that says where a server listens.
#[derive(Deserialize)]
struct Started {
    event: String,
    listen: SocketAddr,
    admin: SocketAddr,
}

/// Waits for the process to say where it listens.
async fn addresses(log: &Path, from: u64) -> (SocketAddr, SocketAddr) {
    loop {
        let text = tail(log, from).unwrap_or_default();
        let started = text.lines().find_map(|line| {
            let started = serde_json::from_str::<Started>(line).ok()?;
            (started.event == "server_started").then_some((started.listen, started.admin))
        });
        match started {
            Some(addresses) => return addresses,
            None => sleep(LOOK).await,
        }
    }
}

/// The last line that a process wrote, for a person who wonders why it ended.
fn last_words(log: &Path, from: u64) -> Option<String> {
    let text = tail(log, from).ok()?;
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    Some(line.chars().take(400).collect())
}

fn tail(log: &Path, from: u64) -> io::Result<String> {
    let mut file = fs::File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A shell script in the place of a server.
    fn start(folder: &Path, script: &str) -> (Process, UnboundedReceiver<Event>) {
        let binary = folder.join("server");
        // Written by another process: one of this process's children would inherit an open file, and keep it busy.
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$0"; chmod 700 "$0""#;
        let mut shell = std::process::Command::new("sh");
        assert!(shell.arg("-c").arg(write).arg(&binary).arg(script).status().unwrap().success());
        let (sender, events) = mpsc::unbounded_channel();
        let program = Program {
            server: NamespacedName { namespace: "sales".into(), name: "crm".into() },
            binary,
            config: folder.join("config"),
            log: folder.join("logs/crm.log"),
            listen: ([127, 0, 0, 1], 3000).into(),
        };
        (Process::start(program, Vec::new(), sender), events)
    }

    const LISTENS: &str =
        r#"echo '{"event":"server_started","listen":"127.0.0.1:3000","admin":"127.0.0.1:9"}'; echo $$ >"$0.pid""#;

    fn is_there(pid: &str) -> bool {
        Path::new("/proc").join(pid.trim()).exists()
    }

    #[tokio::test]
    async fn a_process_says_where_it_listens_and_ends_with_its_input() {
        let folder = tempfile::tempdir().unwrap();
        let (process, mut events) = start(folder.path(), &format!("{LISTENS}; read nothing; echo bye"));
        let event = timeout(SOON, events.recv()).await.unwrap();
        assert!(matches!(event, Some(Event::Listening { listen, .. }) if listen.port() == 3000));
        sleep(LOOK * 5).await;
        assert!(events.try_recv().is_err(), "it runs on while nobody stops it");
        process.stop().await;
        let log = fs::read_to_string(folder.path().join("logs/crm.log")).unwrap();
        assert!(log.ends_with("bye\n"), "{log}");
        assert!(events.recv().await.is_none(), "an end that was asked for is no event");
    }

    #[tokio::test]
    async fn a_process_that_ends_is_started_again_with_its_last_words_told() {
        let folder = tempfile::tempdir().unwrap();
        let (process, mut events) = start(folder.path(), "echo no luck; exit 3");
        for expected in [FIRST_PAUSE, FIRST_PAUSE * 2] {
            let Some(Event::Ended { why, pause, .. }) = timeout(SOON, events.recv()).await.unwrap() else {
                panic!("it must end");
            };
            assert_eq!((why.as_str(), pause), ("exit status: 3: no luck", expected));
        }
        process.stop().await;
    }

    #[tokio::test]
    async fn a_process_that_will_not_end_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (process, mut events) = start(folder.path(), &format!("{LISTENS}; while :; do sleep 1; done"));
        timeout(SOON, events.recv()).await.unwrap();
        let pid = loop {
            match fs::read_to_string(folder.path().join("server.pid")) {
                Ok(pid) if pid.ends_with('\n') => break pid,
                _ => sleep(LOOK).await,
            }
        };
        assert!(is_there(&pid));
        timeout(END_WITHIN + SOON, process.stop()).await.unwrap();
        assert!(!is_there(&pid));
    }
}
