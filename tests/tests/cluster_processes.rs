//! The harness itself: a program that a test starts is there, is heard, and is gone afterwards.

use std::time::Duration;

use portcullis_tests::{Process, binary};
use rustix::process::test_kill_process;

#[tokio::test]
async fn a_program_is_built_heard_and_ended() {
    let mut api = Process::start(binary("crm-api").unwrap(), ["--listen", "127.0.0.1:0"], &[]).unwrap();
    let line = api.line("listening on ", Duration::from_secs(10)).await.unwrap();
    let url = line.trim_start_matches("listening on ");
    let health = reqwest::get(format!("{url}/healthz")).await.unwrap().text().await.unwrap();
    assert_eq!(health, r#"{"status":"ok"}"#);
    assert!(api.terminate(Duration::from_secs(5)).await.unwrap().success());
}

#[tokio::test]
async fn a_dropped_process_takes_what_it_started_with_it() {
    let shell = Process::start("sh", ["-c", "sleep 600 & echo started $!; wait"], &[]).unwrap();
    let line = shell.line("started ", Duration::from_secs(5)).await.unwrap();
    let sleep = line.trim_start_matches("started ").parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
    drop(shell);
    portcullis_tests::eventually(Duration::from_secs(5), async || match test_kill_process(sleep) {
        Ok(()) => Err("sleep still runs"),
        Err(_) => Ok(()),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn waiting_for_a_line_says_what_was_printed_instead() {
    let shell = Process::start("sh", ["-c", "echo one; echo two >&2"], &[]).unwrap();
    let error = shell.line("three", Duration::from_millis(300)).await.unwrap_err().to_string();
    assert!(error.ends_with("sh did not print 'three'; it printed:\none\ntwo"), "{error}");
}
