//! `make demo`, as somebody with only the README meets it: the three lines that it prints do what they say, and Ctrl-C
//! leaves nothing running.

use std::process::Command;
use std::time::Duration;

use portcullis_tests::{Process, eventually};
use rustix::process::{Signal, kill_process_group, test_kill_process_group};

/// Runs a printed line as a person would, in a shell.
fn shell(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).output().expect("bash must be there");
    assert!(output.status.success(), "{line}\n{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn the_three_lines_of_the_demo_do_what_they_say() {
    let state = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/demo");
    let mut demo = Process::start(script, ["127.0.0.1:0", state.path().to_str().unwrap()], &[]).unwrap();
    demo.line("Ctrl-C ends the demo", Duration::from_secs(300)).await.unwrap();

    let printed = demo.output().stdout();
    let commands: Vec<&String> =
        printed.iter().filter(|line| line.starts_with("curl ") || line.starts_with("for ")).collect();
    let [works, refused, limited] = commands[..] else { panic!("three lines, not {commands:?}") };
    let found = shell(works);
    assert!(found.contains("Energy") && !found.contains("isError\":true"), "{found}");
    let answer = shell(refused);
    assert!(answer.contains("Tool 'create_note' is not permitted for this client"), "{answer}");
    let answer = shell(limited);
    assert!(answer.contains("Rate limit exceeded. Retry after ") && answer.ends_with("\n429\n"), "{answer}");

    let group = demo.pid();
    kill_process_group(group, Signal::INT).unwrap();
    assert!(demo.ended(Duration::from_secs(30)).await.unwrap().success());
    eventually(Duration::from_secs(5), async || match test_kill_process_group(group) {
        Ok(()) => Err("the demo's group still has processes"),
        Err(_) => Ok(()),
    })
    .await
    .unwrap();
    let url = printed.iter().find_map(|line| line.split("served at ").nth(1)?.split(' ').next()).unwrap();
    assert!(reqwest::get(url).await.is_err(), "{url} still answers");
}
