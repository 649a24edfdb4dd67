//! `make demo`, as a reader of the README uses it: the three commands that it prints do what they say, and Ctrl-C ends
//! everything.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::process::Command;

use portcullis_tests::{PATIENCE, Process, until};
use rustix::process::{Signal, kill_process_group, test_kill_process_group};

/// Runs a printed command in a shell, as a person would.
fn shell(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}\n{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How long the demo may take to build the programs, if there are none.
const BUILD: std::time::Duration = std::time::Duration::from_secs(600);

#[tokio::test]
async fn the_three_commands_of_the_demo_do_what_they_say() {
    let state = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/demo");
    let mut demo = Process::start(script, ["127.0.0.1:0", state.path().to_str().unwrap()], &[]).unwrap();
    demo.line("Ctrl-C ends the demo", BUILD).await.unwrap();

    let printed = demo.output().stdout();
    let commands: Vec<&String> =
        printed.iter().filter(|line| line.starts_with("curl ") || line.starts_with("for ")).collect();
    let [works, refused, limited] = commands[..] else { panic!("not three commands: {commands:?}") };
    let found = shell(works);
    assert!(found.contains("Energy") && !found.contains("isError\":true"), "{found}");
    let printed_by_refused = shell(refused);
    assert!(printed_by_refused.contains("Tool 'create_note' is not permitted for this client"), "{printed_by_refused}");
    let printed_by_limited = shell(limited);
    let is_limited = printed_by_limited.contains("Rate limit exceeded. Retry after ");
    assert!(is_limited && printed_by_limited.ends_with("\n429\n"), "{printed_by_limited}");

    let group = demo.pid();
    kill_process_group(group, Signal::INT).unwrap();
    assert!(demo.ended(PATIENCE).await.unwrap().success());
    until(PATIENCE, async || match test_kill_process_group(group) {
        Ok(()) => Err("a process of the demo still runs"),
        Err(_) => Ok(()),
    })
    .await;
    let url = printed.iter().find_map(|line| line.split("served at ").nth(1)?.split(' ').next()).unwrap();
    assert!(reqwest::get(url).await.is_err(), "{url} is still served");
}
