//! `portcullis-operator local`, as somebody with manifests of their own and no cluster meets it: real processes, real calls.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by failing")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use axum::{Router, extract::Query, routing::get};
use portcullis_tests::{Process, binary, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// What an edit may take until it is obeyed.
const AT_ONCE: Duration = Duration::from_secs(1);

const WEATHER: &str = r#"
apiVersion: portcullis.dev/v1alpha1
kind: McpServer
metadata: {name: weather}
spec:
  backends: [{name: forecasts, http: {url: "http://forecasts.weather.svc:8080"}}]
  replicas: 3
  tools:
    - name: forecast
      description: The weather of tomorrow in a city.
      backend: forecasts
      inputSchema: {type: object, required: [city], properties: {city: {type: string}}}
      http: {method: GET, path: /forecast, query: {city: "{city}"}}
"#;

const LIBRARY: &str = r#"
apiVersion: portcullis.dev/v1alpha1
kind: McpServer
metadata: {name: library, namespace: town}
spec:
  backends: [{name: shelf, static: {}}]
  tools:
    - {name: opening_hours, description: When it is open., backend: shelf, static: {text: "9 to 5"}}
    - {name: lost_books, description: What is lost., backend: shelf, static: {structuredContent: {books: []}}}
  clients: [{namespaces: {from: All}}]
"#;

fn client(name: &str, tools: &str) -> String {
    format!(
        "
apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {{name: {name}, namespace: town}}
spec:
  access:
    - serverRef: {{name: library}}
      tools: [{tools}]
      maxRecordsPerQuery: 10
  credentials: {{apiKey: {{secretName: {name}-key}}}}
"
    )
}

const FORECASTER: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {name: forecaster}
spec:
  access: [{serverRef: {name: weather}, tools: ['*'], maxRecordsPerQuery: 10}]
  credentials: {apiKey: {secretName: forecaster-key}}
";

/// A folder of manifests, and `local` on it.
struct Local {
    folder: tempfile::TempDir,
    process: Process,
    http: reqwest::Client,
}

impl Local {
    async fn start(files: &[(&str, &str)], more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("manifests")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("manifests").join(name), text).unwrap();
        }
        // Beside the operator's program, where it looks for it.
        binary("portcullis-server").unwrap();
        let process = run(folder.path(), more);
        let local = Self { folder, process, http: reqwest::Client::new() };
        local.summary_with(|_| true).await;
        local
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("manifests").join(name)
    }

    /// As many editors do: a new file under the old name.
    fn write(&self, name: &str, text: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.file(name)).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    async fn summary_with(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, async || {
            let text = fs::read(self.state().join("summary.json")).map_err(|error| error.to_string())?;
            let summary: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            if wanted(&summary) { Ok(summary) } else { Err(summary.to_string()) }
        })
        .await
        .unwrap()
    }

    async fn server(&self, name: &str) -> Value {
        let find = |summary: &Value| {
            let servers = summary["servers"].as_array().cloned().unwrap_or_default();
            servers.into_iter().find(|server| server["name"] == name)
        };
        find(&self.summary_with(|summary| find(summary).is_some()).await).unwrap()
    }

    async fn key(&self, client: &str) -> String {
        let find = |summary: &Value| {
            let clients = summary["clients"].as_array().cloned().unwrap_or_default();
            clients.into_iter().find(|it| it["name"] == client).map(|it| it["apiKeyFile"].as_str().unwrap().to_owned())
        };
        let file = find(&self.summary_with(|summary| find(summary).is_some()).await).unwrap();
        fs::read_to_string(file).unwrap()
    }

    /// The HTTP status and the body of a call.
    async fn call(&self, url: &str, key: &str, tool: &str, arguments: Value) -> (u16, Value) {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
        let request = self.http.post(url).header("x-api-key", key).json(&request);
        let answer = request.header("accept", "application/json, text/event-stream").send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Calls until the answer is as wanted; says how long that took.
    async fn obeys(&self, url: &str, key: &str, tool: &str, wanted: impl Fn(u16, &Value) -> bool) -> Duration {
        let began = Instant::now();
        eventually(SOON, async || {
            let (status, body) = self.call(url, key, tool, json!({})).await;
            if wanted(status, &body) { Ok(()) } else { Err(format!("{status} {body}")) }
        })
        .await
        .unwrap();
        began.elapsed()
    }

    /// The server processes of this state folder.
    fn processes(&self) -> Vec<Pid> {
        processes(&self.state())
    }
}

fn run(folder: &Path, more: &[&str]) -> Process {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (manifests, state) = (path("manifests"), path("state"));
    let arguments = ["local", &manifests, "--state-dir", &state];
    let listen: &[&str] = if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    Process::start(binary("portcullis-operator").unwrap(), [&arguments[..], listen, more].concat(), &[]).unwrap()
}

fn processes(state: &Path) -> Vec<Pid> {
    let state = fs::canonicalize(state).unwrap();
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_its = |pid: &i32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        command.contains("portcullis-server") && command.contains(state.to_str().unwrap())
    };
    pids.filter(is_its).filter_map(Pid::from_raw).collect()
}

fn operator(arguments: &[&str]) -> Output {
    Command::new(binary("portcullis-operator").unwrap()).args(arguments).output().unwrap()
}

fn refused(_: u16, body: &Value) -> bool {
    body["error"]["message"].as_str().is_some_and(|message| message.contains("is not permitted for this client"))
}

fn granted(status: u16, body: &Value) -> bool {
    status == 200 && body["result"].is_object()
}

fn cut_off(status: u16, _: &Value) -> bool {
    matches!(status, 401 | 403)
}

/// A REST service of the weather, on a free port.
async fn forecasts() -> String {
    #[derive(serde::Deserialize)]
    struct Asked {
        city: String,
    }
    let forecast = async |Query(Asked { city }): Query<Asked>| axum::Json(json!({"city": city, "rain": true}));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/forecast", get(forecast))).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_folder_of_servers_and_clients_is_served_until_ctrl_c() {
    let backend = format!("forecasts={}", forecasts().await);
    let reader = client("reader", "opening_hours");
    let files = [("a.yaml", WEATHER), ("b.yml", LIBRARY), ("c.yaml", FORECASTER), ("d.yaml", &reader)];
    let mut local = Local::start(&files, &["--backend", &backend]).await;

    let summary = local.summary_with(|_| true).await;
    let (weather, library) = (local.server("weather").await, local.server("library").await);
    let key_file = |namespace: &str, name: &str| {
        let state = fs::canonicalize(local.state()).unwrap();
        json!({"name": name, "namespace": namespace, "apiKeyFile": state.join(format!("keys/{namespace}/{name}-key.key"))})
    };
    assert_eq!(
        summary,
        json!({"servers": [weather, library], "clients": [key_file("default", "forecaster"), key_file("town", "reader")]})
    );
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(local.state()), mode(local.state().join("keys/town/reader-key.key"))), (0o700, 0o600));

    let url = weather["url"].as_str().unwrap();
    let (status, body) = local.call(url, &local.key("forecaster").await, "forecast", json!({"city": "Ghent"})).await;
    assert_eq!((status, &body["result"]["structuredContent"]), (200, &json!({"city": "Ghent", "rain": true})));
    let url = library["url"].as_str().unwrap();
    assert!(cut_off(local.call(url, &local.key("forecaster").await, "opening_hours", json!({})).await.0, &Value::Null));

    let (key, before) = (local.key("reader").await, local.processes());
    assert_eq!(before.len(), 2);
    local.process.signal(Signal::INT).unwrap();
    assert!(local.process.ended(SOON).await.unwrap().success());
    assert_eq!(local.processes(), []);
    assert!(!local.state().join("summary.json").exists());

    local.process = run(local.folder.path(), &["--backend", &backend]);
    let url = local.server("library").await["url"].as_str().unwrap().to_owned();
    assert_eq!(local.key("reader").await, key, "keys outlive a run");
    local.obeys(&url, &key, "opening_hours", granted).await;
}

#[tokio::test]
async fn an_edit_is_obeyed_at_once_and_a_slip_changes_nothing() {
    let files = [
        ("library.yaml", LIBRARY),
        ("reader.yaml", &client("reader", "opening_hours")),
        ("other.yaml", &client("other", "'*'")),
    ];
    let local = Local::start(&files, &[]).await;
    let url = local.server("library").await["url"].as_str().unwrap().to_owned();
    let (reader, other) = (local.key("reader").await, local.key("other").await);
    let before = local.processes();
    local.obeys(&url, &reader, "lost_books", refused).await;

    local.write("reader.yaml", &client("reader", "opening_hours, lost_books"));
    let took = local.obeys(&url, &reader, "lost_books", granted).await;
    assert!(took < AT_ONCE, "{took:?}");

    local.write("reader.yaml", &client("reader", "opening_hours").replace("maxRecordsPerQuery", "maxRecord"));
    let said =
        local.process.line("McpClient town/reader: spec.access[0].maxRecord: unknown field", SOON).await.unwrap();
    assert!(said.starts_with("reader.yaml: "), "{said}");
    local.write("library.yaml", &LIBRARY.replace("backends: [", "backends: [["));
    local.process.line("library.yaml:7:3: ", SOON).await.unwrap();
    local.obeys(&url, &reader, "lost_books", granted).await;
    local.write("library.yaml", &LIBRARY.replace("backend: shelf, static: {text", "backend: shelve, static: {text"));
    local.process.line("library.yaml: McpServer town/library: spec.tools[0].backend: ", SOON).await.unwrap();
    local.obeys(&url, &reader, "opening_hours", granted).await;

    // An editor that empties a file before it writes it takes nobody's key away.
    fs::write(local.file("other.yaml"), "").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    fs::write(local.file("other.yaml"), client("other", "'*'")).unwrap();
    tokio::time::sleep(AT_ONCE).await;
    assert_eq!(local.key("other").await, other);

    fs::remove_file(local.file("other.yaml")).unwrap();
    let took = local.obeys(&url, &other, "opening_hours", cut_off).await;
    assert!(took < AT_ONCE, "{took:?}");
    assert!(!local.state().join("keys/town/other-key.key").exists());
    local.write("other.yaml", &client("other", "'*'"));
    let again = local.key("other").await;
    assert_ne!(again, other, "made again, it is another client");
    local.obeys(&url, &again, "opening_hours", granted).await;

    local.write("reader.yaml", &client("reader", "opening_hours"));
    local.write("library.yaml", LIBRARY);
    let took = local.obeys(&url, &reader, "lost_books", refused).await;
    assert!(took < AT_ONCE, "{took:?}");
    local.process.line("All findings are mended.", SOON).await.unwrap();
    assert_eq!(local.processes(), before, "nothing was restarted");
}

#[tokio::test]
async fn servers_come_and_go_with_their_manifests_and_come_back_when_they_die() {
    let mut local = Local::start(&[("library.yaml", LIBRARY), ("reader.yaml", &client("reader", "'*'"))], &[]).await;
    let url = local.server("library").await["url"].as_str().unwrap().to_owned();
    let key = local.key("reader").await;

    let [died] = local.processes()[..] else { panic!("one process") };
    kill_process(died, Signal::KILL).unwrap();
    local.process.line("town/library: its process ended", SOON).await.unwrap();
    eventually(SOON, async || reqwest::get(&url).await.map(|_| ())).await.unwrap();
    local.obeys(&url, &key, "opening_hours", granted).await;

    local.write("museum.yaml", &LIBRARY.replace("name: library", "name: museum"));
    let museum = local.server("museum").await["url"].as_str().unwrap().to_owned();
    assert_eq!(local.processes().len(), 2);
    fs::remove_file(local.file("museum.yaml")).unwrap();
    local.summary_with(|summary| summary["servers"].as_array().unwrap().len() == 1).await;
    eventually(SOON, async || match reqwest::get(&museum).await {
        Ok(_) => Err("it still answers"),
        Err(_) => Ok(()),
    })
    .await
    .unwrap();

    local.process.signal(Signal::KILL).unwrap();
    local.process.ended(SOON).await.unwrap();
    let gone = async || if local.processes().is_empty() { Ok(()) } else { Err("a server outlives its parent") };
    eventually(SOON, gone).await.unwrap();
}

#[tokio::test]
async fn what_cannot_begin_says_what_to_do() {
    let local = Local::start(&[("weather.yaml", WEATHER)], &[]).await;
    let (manifests, state) = (local.folder.path().join("manifests"), local.state());
    let (manifests, state) = (manifests.to_str().unwrap(), state.to_str().unwrap());
    let other = local.folder.path().join("other");
    let other = other.to_str().unwrap();
    let taken = local.server("weather").await["url"].as_str().unwrap().replace("http://", "").replace("/mcp", "");
    for (arguments, words) in [
        (vec!["--state-dir", state], "is in use by another `local`"),
        (vec!["--state-dir", other, "--listen", &taken], "choose another with --listen"),
        (vec!["--state-dir", other, "--backend", "forecast=http://x"], "there are: forecasts"),
        (vec!["--state-dir", other, "--server-binary", "/nowhere"], "cargo build -p portcullis-server"),
    ] {
        let output = operator(&[&["local", manifests], &arguments[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn validate_names_file_object_and_field_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("library.yaml"), LIBRARY).unwrap();
    let good = operator(&["validate", path]);
    assert_eq!((good.status.code(), good.stdout.as_slice()), (Some(0), &b"OK: 1 McpServer, 0 McpClients\n"[..]));
    let access = "- {serverRef: {name: library, namespace: town}, tools: [burn_books], maxRecordsPerQuery: 1, limits: {requests: 1, per: soon}}";
    let broken = client("reader", "burn_books").replace("  credentials", &format!("    {access}\n  credentials"));
    fs::write(folder.path().join("reader.yaml"), broken).unwrap();
    fs::write(folder.path().join("other.yaml"), client("other", "burn_books")).unwrap();
    fs::write(folder.path().join("slip.yml"), "a: [").unwrap();
    let bad = operator(&["validate", path]);
    assert_eq!((bad.status.code(), bad.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(
        String::from_utf8_lossy(&bad.stderr),
        "other.yaml: McpClient town/other: spec.access[0].tools[0]: `burn_books` is no tool of McpServer town/library; there are: lost_books, opening_hours
reader.yaml: McpClient town/reader: spec.access[1].limits.per: must be a duration such as 250ms, 30s, 1m30s or 720h
slip.yml:2:1: did not find expected node content, while parsing a flow node
"
    );
}

#[test]
fn the_definitions_that_are_printed_are_those_of_the_repository() {
    let read = |name: &str| fs::read_to_string(format!("{}/../crds/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let printed = String::from_utf8(operator(&["crds"]).stdout).unwrap();
    assert_eq!(printed, format!("{}---\n{}", read("mcpclients.yaml"), read("mcpservers.yaml")));
}
