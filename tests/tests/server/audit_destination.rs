//! The audit log is written where `--audit-log` says, and then standard output stays free for others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use portcullis_tests::server::ConfigFolder;
use portcullis_tests::{PATIENCE, Process, binary, until};
use serde_json::Value;

#[tokio::test]
async fn a_log_in_a_file_is_private_and_complete_and_leaves_standard_output_empty() {
    let config = ConfigFolder::new().unwrap();
    let path = config.path().join("audit.log");
    for run in 1..=2 {
        let mut command = Command::new(binary("portcullis-server").unwrap());
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--stop-with-stdin", "--config"]);
        command.arg(config.path()).arg("--audit-log").arg(&path);
        let mut process = Process::start_with_stdin(command).unwrap();
        let count = |event: &str| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            records.filter(|record| record["event"] == event).count()
        };
        until(PATIENCE, async || match count("server_started") {
            found if found == run => Ok(()),
            found => Err(format!("{found} of {run} starts are recorded")),
        })
        .await;
        process.close_stdin();
        assert!(process.ended(PATIENCE).await.unwrap().success());
        assert_eq!(count("server_stopping"), run, "each run appends to the file");
        assert_eq!(process.output().text(), "");
    }
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}
