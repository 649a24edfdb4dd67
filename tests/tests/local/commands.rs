//! `validate`, `crds`, and `local` when it cannot start: what they print, and their exit codes.

use std::fs;

use crate::harness::{LocalOperator, operator};
use crate::manifests::{LIBRARY, WEATHER, client};

#[tokio::test]
async fn local_says_what_to_do_when_it_cannot_start() {
    let local = LocalOperator::start(&[("weather.yaml", WEATHER)], &[]).await;
    let (manifests, state) = (local.folder.path().join("manifests"), local.state());
    let (manifests, state) = (manifests.to_str().unwrap(), state.to_str().unwrap());
    let other = local.folder.path().join("other");
    let other = other.to_str().unwrap();
    let taken = local.url("weather").await.replace("http://", "").replace("/mcp", "");
    for (arguments, message) in [
        (vec!["--state-dir", state], "is in use by another `local`"),
        (vec!["--state-dir", other, "--listen", &taken], "choose another address with --listen"),
        (vec!["--state-dir", other, "--backend", "forecast=http://x"], "the http backends: forecasts"),
        (vec!["--state-dir", other, "--server-binary", "/nowhere"], "cargo build -p portcullis-server"),
    ] {
        let output = operator(&[&["local", manifests], &arguments[..]].concat());
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && printed.contains(message), "{arguments:?}: {printed}");
    }
}

#[test]
fn validate_names_file_object_and_field_of_each_mistake_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("library.yaml"), LIBRARY).unwrap();
    let good = operator(&["validate", path]);
    assert_eq!((good.status.code(), good.stdout.as_slice()), (Some(0), &b"OK: 1 McpServer, 0 McpClients\n"[..]));
    let access = "- {serverRef: {name: library, namespace: town}, tools: [burn_books], maxRecordsPerQuery: 1, limits: {requests: 1, per: soon}}";
    let broken = client("reader", "burn_books").replace("  credentials", &format!("    {access}\n  credentials"));
    fs::write(folder.path().join("reader.yaml"), broken).unwrap();
    fs::write(folder.path().join("other.yaml"), client("other", "burn_books")).unwrap();
    fs::write(folder.path().join("mistake.yml"), "a: [").unwrap();
    let bad = operator(&["validate", path]);
    assert_eq!((bad.status.code(), bad.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(
        String::from_utf8_lossy(&bad.stderr),
        "mistake.yml:2:1: did not find expected node content, while parsing a flow node
other.yaml: McpClient town/other: spec.access[0].tools[0]: `burn_books` is not a tool of McpServer town/library; its tools: lost_books, opening_hours
reader.yaml: McpClient town/reader: spec.access[1].limits.per: must be a duration such as 250ms, 30s, 1m30s or 720h
"
    );
}

#[test]
fn the_printed_definitions_are_those_of_the_repository() {
    let read = |name: &str| fs::read_to_string(format!("{}/../crds/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let printed = String::from_utf8(operator(&["crds"]).stdout).unwrap();
    assert_eq!(printed, format!("{}---\n{}", read("mcpclients.yaml"), read("mcpservers.yaml")));
}
