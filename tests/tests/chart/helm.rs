//! Runs helm, and reads what it renders.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use portcullis_tests::tool;
use serde::Deserialize;
use serde_json::Value;

/// The folder of the chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/portcullis");

/// What became of a program.
#[derive(Debug)]
pub struct Run {
    pub succeeded: bool,
    /// What it printed.
    pub text: String,
}

/// Runs a program that `tests/cluster/tool` knows, with this standard input.
pub fn run(name: &str, arguments: &[&str], input: &str) -> Run {
    let mut command = Command::new(tool(name).unwrap());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that does not read all of it closes the pipe, and says why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Run { succeeded: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
}

pub fn helm(arguments: &[&str]) -> Run {
    run("helm", arguments, "")
}

/// The files with values that the chart is checked with.
pub fn files_of_values() -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(CHART).join("ci")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<String> = entries.map(|path| path.to_str().unwrap().to_owned()).collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files
}

/// What `helm template` prints with these values, the definitions and the hooks included.
pub fn rendered_text(file: &str) -> String {
    let namespace = ["--namespace", "portcullis-system"];
    let run = helm(&[&["template", "guard", CHART, "--include-crds", "--values", file], &namespace[..]].concat());
    assert!(run.succeeded, "{file}: {}", run.text);
    run.text
}

/// The objects of a text.
pub fn objects(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|object| !object.is_null()).collect()
}

/// `Kind NAME`.
pub fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}
