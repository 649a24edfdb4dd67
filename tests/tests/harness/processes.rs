//! A program that a test starts is built and running, its output is kept, and it ends with its value.

use std::time::Duration;

use portcullis_tests::{PATIENCE, Process, binary, until};
use rustix::process::{Pid, test_kill_process};

#[tokio::test]
async fn a_program_of_the_workspace_is_built_started_and_terminated() {
    let mut api = Process::start(binary("crm-api").unwrap(), ["--listen", "127.0.0.1:0"], &[]).unwrap();
    let line = api.line("listening on ", PATIENCE).await.unwrap();
    let url = line.trim_start_matches("listening on ");
    let health = reqwest::get(format!("{url}/healthz")).await.unwrap().text().await.unwrap();
    assert_eq!(health, r#"{"status":"ok"}"#);
    assert!(api.terminate(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn a_process_that_is_dropped_ends_with_the_processes_that_it_started() {
    let shell = Process::start("sh", ["-c", "sleep 600 & echo started $!; wait"], &[]).unwrap();
    let line = shell.line("started ", PATIENCE).await.unwrap();
    let sleep = line.trim_start_matches("started ").parse().ok().and_then(Pid::from_raw).unwrap();
    drop(shell);
    until(PATIENCE, async || match test_kill_process(sleep) {
        Ok(()) => Err("sleep still runs"),
        Err(_) => Ok(()),
    })
    .await;
}

#[tokio::test]
async fn the_error_of_a_missing_line_has_what_was_printed_instead() {
    let mut shell = Process::start("sh", ["-c", "echo one; echo two >&2"], &[]).unwrap();
    shell.ended(PATIENCE).await.unwrap();
    shell.output().closed(PATIENCE).await.unwrap();
    let error = shell.line("three", Duration::ZERO).await.unwrap_err().to_string();
    assert!(error.ends_with("sh did not print 'three'; it printed:\none\ntwo"), "{error}");
}
