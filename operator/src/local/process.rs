//! One server's process: restarted when it ends by itself, and stopped with this process, however this one ends.

mod log;

use crate::supervise::caught;

use std::{
    fs::{self, OpenOptions},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use portcullis_crds::NamespacedName;
use tokio::{
    process::{Child, ChildStdin, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The pause before a process that ended is restarted. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After a process has run this long, the next pause is the first one again.
const LONG_RUN: Duration = Duration::from_secs(10);
/// How long a process may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The program to run.
pub(super) struct Program {
    pub server: NamespacedName,
    pub binary: PathBuf,
    pub config: PathBuf,
    pub secrets: PathBuf,
    /// The process appends to it directly, so that no record passes through this process.
    pub log: PathBuf,
    pub listen: SocketAddr,
}

/// What a process did.
pub(super) enum Event {
    Listening {
        server: NamespacedName,
        listen: SocketAddr,
        admin: SocketAddr,
    },
    /// It ended by itself, and is restarted after this pause.
    Ended {
        server: NamespacedName,
        why: String,
        pause: Duration,
    },
}

/// A server's process. It is killed when this is dropped.
pub(super) struct Process {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Process {
    /// Starts the process once those `before` it have ended: a port may still belong to one of them.
    pub fn start(mut program: Program, before: Vec<JoinHandle<()>>, events: mpsc::UnboundedSender<Event>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            for earlier in before {
                let _ = earlier.await;
            }
            // A panic in here ends the process too; it is restarted as if it had ended by itself.
            while let Err(why) = caught(keep(&mut program, &events, &mut stopped)).await {
                let _ = events.send(Event::Ended { server: program.server.clone(), why, pause: LONGEST_PAUSE });
                tokio::select! {
                    () = is_stopped(&mut stopped) => return,
                    () = sleep(LONGEST_PAUSE) => {}
                }
            }
        });
        Self { stop, task }
    }

    /// Stops it, by force if it does not stop in time.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

/// Keeps the process running until it is stopped.
async fn keep(program: &mut Program, events: &mpsc::UnboundedSender<Event>, stopped: &mut watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    let loopback = if program.listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let mut admin = SocketAddr::new(loopback, 0);
    loop {
        let began = Instant::now();
        let from = fs::metadata(&program.log).map_or(0, |log| log.len());
        #[cfg(test)]
        crate::supervise::faults::point(&format!("process of {}", program.binary.display()));
        let why = match spawn(program, admin) {
            Err(error) => format!("{}: {error}", program.binary.display()),
            Ok(mut child) => {
                // Kept open: waiting for a child closes its input otherwise.
                let input = child.stdin.take();
                let listening = async {
                    let (listen, bound) = log::addresses(&program.log, from).await;
                    // A restarted process keeps the addresses, so that they stay valid for callers.
                    (program.listen, admin) = (listen, bound);
                    let _ = events.send(Event::Listening { server: program.server.clone(), listen, admin });
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = is_stopped(stopped) => return end(child, input).await,
                    () = listening => return,
                    status = child.wait() => {
                        match (status, log::last_line(&program.log, from)) {
                            (Ok(status), Some(line)) if status.code().is_some() => format!("{status}: {line}"),
                            (Ok(status), _) => status.to_string(),
                            (Err(error), _) => error.to_string(),
                        }
                    }
                }
            }
        };
        pause = if began.elapsed() >= LONG_RUN { FIRST_PAUSE } else { pause };
        let _ = events.send(Event::Ended { server: program.server.clone(), why, pause });
        tokio::select! {
            () = is_stopped(stopped) => return,
            () = sleep(pause) => {}
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Waits until the process is to stop, or is dropped.
async fn is_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
}

fn spawn(program: &Program, admin: SocketAddr) -> io::Result<Child> {
    if let Some(folder) = program.log.parent() {
        fs::create_dir_all(folder)?;
    }
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&program.log)?;
    Command::new(&program.binary)
        .arg("--config")
        .arg(&program.config)
        .arg("--secrets")
        .arg(&program.secrets)
        .args(["--listen", &program.listen.to_string(), "--admin", &admin.to_string()])
        .args(["--instance", &program.server.name])
        // The server stops when the pipe is closed, which happens however this process ends.
        .args(["--allow-loopback-backends", "--stop-with-stdin", "--drain", "0"])
        .stdin(Stdio::piped())
        .stderr(log.try_clone()?)
        .stdout(log)
        // Ctrl-C is sent to the whole group of the terminal; only this process is to handle it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Closes the process's input, which is its signal to stop.
async fn end(mut child: Child, input: Option<ChildStdin>) {
    drop(input);
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};

    use std::path::Path;

    use super::*;
    use crate::supervise::faults;

    const SOON: Duration = Duration::from_secs(60);

    /// A shell script instead of a server.
    fn start(folder: &Path, script: &str) -> (Process, UnboundedReceiver<Event>) {
        let binary = folder.join("server");
        // Another process writes it: a child of this process could inherit the open file, and the file would be busy.
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$0"; chmod 700 "$0""#;
        let mut shell = std::process::Command::new("sh");
        assert!(shell.arg("-c").arg(write).arg(&binary).arg(script).status().unwrap().success());
        let (sender, events) = mpsc::unbounded_channel();
        let program = Program {
            server: NamespacedName { namespace: "sales".into(), name: "crm".into() },
            binary,
            config: folder.join("config"),
            secrets: folder.join("secrets"),
            log: folder.join("logs/crm.log"),
            listen: ([127, 0, 0, 1], 3000).into(),
        };
        (Process::start(program, Vec::new(), sender), events)
    }

    const LISTENS: &str =
        r#"echo '{"event":"server_started","listen":"127.0.0.1:3000","admin":"127.0.0.1:9"}'; echo $$ >"$0.pid""#;

    fn exists(pid: &str) -> bool {
        Path::new("/proc").join(pid.trim()).exists()
    }

    #[tokio::test]
    async fn a_process_reports_where_it_listens_and_stops_when_its_input_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (process, mut events) = start(folder.path(), &format!("{LISTENS}; read nothing; echo bye"));
        let event = timeout(SOON, events.recv()).await.unwrap();
        assert!(matches!(event, Some(Event::Listening { listen, .. }) if listen.port() == 3000));
        process.stop().await;
        let log = fs::read_to_string(folder.path().join("logs/crm.log")).unwrap();
        assert!(log.ends_with("bye\n"), "{log}");
        assert!(events.recv().await.is_none(), "neither an end before the stop nor the stop itself is an event");
    }

    #[tokio::test]
    async fn a_process_that_ends_is_restarted_and_its_last_line_reported() {
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
    async fn a_process_whose_task_panics_is_reported_and_restarted() {
        let folder = tempfile::tempdir().unwrap();
        faults::plan(&format!("process of {}", folder.path().join("server").display()), 1);
        let (process, mut events) = start(folder.path(), &format!("{LISTENS}; read nothing"));
        let event = timeout(SOON, events.recv()).await.unwrap();
        assert!(matches!(event, Some(Event::Ended { why, .. }) if why == "it panicked: planned by a test"));
        let event = timeout(SOON, events.recv()).await.unwrap();
        assert!(matches!(event, Some(Event::Listening { .. })));
        process.stop().await;
    }

    #[tokio::test]
    async fn a_process_that_does_not_stop_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (process, mut events) = start(folder.path(), &format!("{LISTENS}; while :; do sleep 1; done"));
        timeout(SOON, events.recv()).await.unwrap();
        let pid = async {
            loop {
                match fs::read_to_string(folder.path().join("server.pid")) {
                    Ok(pid) if pid.ends_with('\n') => break pid,
                    _ => sleep(log::POLL).await,
                }
            }
        };
        let pid = timeout(SOON, pid).await.expect("the process must write its pid");
        assert!(exists(&pid));
        timeout(STOP_TIMEOUT + SOON, process.stop()).await.unwrap();
        assert!(!exists(&pid));
    }
}
