//! `portcullis-server bridge`: a process for each connection, and nothing left of it afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use portcullis_tests::{PATIENCE, Process, binary, until};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::UnixStream;

type Connection = BufStream<UnixStream>;

/// A bridge and the folder of its socket.
struct Bridge {
    process: Process,
    folder: TempDir,
}

impl Bridge {
    async fn start(max: u16, command: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (socket, max) = (folder.path().join("bridge.sock"), max.to_string());
        let path = folder.path().to_str().unwrap();
        let options = ["bridge", "--socket", socket.to_str().unwrap(), "--max", &max, "--"];
        let arguments = [&options[..], command].concat();
        let process = Process::start(binary("portcullis-server").unwrap(), arguments, &[("FOLDER", path)]).unwrap();
        process.line("bridge: listening on", PATIENCE).await.unwrap();
        Self { process, folder }
    }

    async fn of_script(script: &str) -> Self {
        Self::start(16, &["bash", "-c", script]).await
    }

    async fn connect(&self) -> Connection {
        BufStream::new(UnixStream::connect(self.folder.path().join("bridge.sock")).await.unwrap())
    }

    /// The processes that have the bridge's folder in their environment, without the bridge itself.
    fn processes(&self) -> Vec<i32> {
        let variable = format!("FOLDER={}", self.folder.path().display());
        let own = self.process.pid().as_raw_nonzero().get();
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
        let has_variable = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|it| it == variable.as_bytes())
        };
        pids.filter(|pid| *pid != own).filter(has_variable).collect()
    }

    async fn until_there_are(&self, count: usize) {
        until(PATIENCE, async || match self.processes() {
            found if found.len() == count => Ok(()),
            found => Err(format!("{found:?} run, and not {count}")),
        })
        .await;
    }

    async fn says(&self, text: &str) {
        self.process.line(text, PATIENCE).await.unwrap();
    }
}

/// The next line, or what there is before the end.
async fn line(connection: &mut Connection) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(PATIENCE, connection.read_line(&mut line)).await;
    read.expect("there must be a line or an end in time").unwrap_or_default();
    line
}

/// Sends a line, and returns the one that comes back.
async fn exchange(connection: &mut Connection, text: &str) -> String {
    let _ = connection.write_all(format!("{text}\n").as_bytes()).await;
    let _ = connection.flush().await;
    line(connection).await
}

#[tokio::test]
async fn each_connection_is_a_process_of_its_own_and_ends_with_it() {
    let bridge = Bridge::of_script(r#"while read -r line; do echo "$$ $line"; done"#).await;
    let mode = fs::metadata(bridge.folder.path().join("bridge.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let (mut one, mut other) = (bridge.connect().await, bridge.connect().await);
    let pid = |answer: String| answer.split(' ').next().unwrap().to_owned();
    let (first, second) = (pid(exchange(&mut one, "a").await), pid(exchange(&mut other, "b").await));
    assert_ne!(first, second);
    assert_eq!(exchange(&mut one, "c").await, format!("{first} c\n"));
    bridge.until_there_are(2).await;
    drop(one);
    bridge.until_there_are(1).await;
    assert_eq!(exchange(&mut other, "d").await, format!("{second} d\n"));
    drop(other);
    bridge.until_there_are(0).await;
}

#[tokio::test]
async fn what_a_process_wrote_before_it_ended_is_passed_on_and_then_the_connection_ends() {
    let bridge = Bridge::of_script("read -r line; echo \"got $line\"; echo because >&2; exit 3").await;
    let mut connection = bridge.connect().await;
    assert_eq!(exchange(&mut connection, "x").await, "got x\n");
    assert_eq!(line(&mut connection).await, "", "it has ended");
    bridge.says("exit status: 3").await;
    bridge.says("process 1: because").await;
}

#[tokio::test]
async fn whatever_a_process_has_started_ends_with_it() {
    let script = r#"
        trap '' TERM HUP
        (trap '' TERM HUP; sleep 1000) &
        setsid bash -c 'trap "" TERM HUP; sleep 1000; true' &
        setsid bash -c 'setsid bash -c "setsid sleep 1000 & setsid sleep 1000 & true" &'
        (true; true) & disown
        echo up
        while true; do read -r line || sleep 1; done"#;
    let bridge = Bridge::of_script(script).await;
    let mut connection = bridge.connect().await;
    assert_eq!(line(&mut connection).await, "up\n");
    // The command, the first sleep, the shell with another one, and two more.
    bridge.until_there_are(6).await;
    drop(connection);
    bridge.until_there_are(0).await;
    bridge.says("process 1 was not needed any more").await;
    // None of them stays in the table of processes either.
    let children = format!("/proc/{0}/task/{0}/children", bridge.process.pid().as_raw_nonzero());
    until(Duration::from_secs(30), async || {
        let left = fs::read_to_string(&children).unwrap();
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn the_bridge_takes_all_of_them_with_it() {
    let mut bridge = Bridge::of_script("trap '' TERM; setsid sleep 1000 & echo up; sleep 1000; true").await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(bridge.connect().await);
    }
    for connection in &mut connections {
        assert_eq!(line(connection).await, "up\n");
    }
    bridge.until_there_are(12).await;
    assert_eq!(bridge.process.terminate(PATIENCE).await.unwrap().code(), Some(0));
    bridge.until_there_are(0).await;
    assert!(!bridge.folder.path().join("bridge.sock").exists());
}

#[tokio::test]
async fn there_are_never_more_processes_than_may_be() {
    let bridge = Bridge::start(2, &["cat"]).await;
    let (mut one, mut other) = (bridge.connect().await, bridge.connect().await);
    assert_eq!((exchange(&mut one, "a").await, exchange(&mut other, "b").await), ("a\n".into(), "b\n".into()));
    assert_eq!(exchange(&mut bridge.connect().await, "c").await, "", "it is closed at once");
    bridge.says("2 processes run, which is the limit").await;
    drop(one);
    bridge.until_there_are(1).await;
    until(PATIENCE, async || match exchange(&mut bridge.connect().await, "d").await {
        answer if answer == "d\n" => Ok(()),
        answer => Err(answer),
    })
    .await;
}

#[tokio::test]
async fn a_command_that_cannot_be_started_ends_the_connection_and_is_named() {
    let bridge = Bridge::start(2, &["/no/such/program"]).await;
    let mut all = Vec::new();
    bridge.connect().await.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"");
    bridge.says("process 1 could not be started: No such file").await;
}

/// It neither waits for whoever reads what it prints, nor keeps it.
#[tokio::test]
async fn a_flood_of_standard_error_delays_no_answer_and_is_printed_within_bounds() {
    let flood = "while true; do echo $RANDOM$RANDOM$RANDOM$RANDOM$RANDOM$RANDOM >&2; done";
    let bridge = Bridge::of_script(&format!("({flood}) & while read -r line; do echo \"$line\"; done")).await;
    let mut connection = bridge.connect().await;
    let (began, mut answers) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(exchange(&mut connection, "ping").await, "ping\n");
        answers += 1;
    }
    let printed = bridge.process.output().text().len();
    assert!(answers > 10 && printed < 256 * 1024, "{answers} answers, {printed} bytes");
    let resident = bridge.process.usage().unwrap();
    println!("{answers} answers beside a flood, {printed} bytes printed, {resident:?}");
    drop(connection);
    bridge.until_there_are(0).await;
}
