//! A folder of manifests, and `portcullis-operator local` on it.

use std::{
    fs,
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use portcullis_tests::{PATIENCE, Process, binary, until};
use rustix::process::Pid;
use serde_json::{Value, json};

pub struct LocalOperator {
    pub folder: tempfile::TempDir,
    pub process: Process,
    http: reqwest::Client,
}

impl LocalOperator {
    /// Starts it on these files with these further arguments, and waits for its summary.
    pub async fn start(files: &[(&str, &str)], more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("manifests")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("manifests").join(name), text).unwrap();
        }
        // The operator looks for it in its own folder.
        binary("portcullis-server").unwrap();
        let process = run(folder.path(), more);
        let local = Self { folder, process, http: reqwest::Client::new() };
        local.summary().await;
        local
    }

    /// Starts it again on the same folder.
    pub fn restart(&mut self, more: &[&str]) {
        self.process = run(self.folder.path(), more);
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("manifests").join(name)
    }

    /// Writes a file as many editors do: a new file is renamed to the old name.
    pub fn write(&self, name: &str, text: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.file(name)).unwrap();
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub async fn summary(&self) -> Value {
        self.find_in_summary(|summary| Some(summary.clone())).await
    }

    /// Waits until the summary has what `find` looks for.
    pub async fn find_in_summary<T>(&self, find: impl Fn(&Value) -> Option<T>) -> T {
        until(PATIENCE, async || {
            let text = fs::read(self.state().join("summary.json")).map_err(|error| error.to_string())?;
            let summary: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            find(&summary).ok_or_else(|| summary.to_string())
        })
        .await
    }

    /// The URL of a server's MCP endpoint.
    pub async fn url(&self, server: &str) -> String {
        self.server(server).await["url"].as_str().unwrap().to_owned()
    }

    /// The URL of a server's admin port.
    pub async fn admin_url(&self, server: &str) -> String {
        self.server(server).await["admin"].as_str().unwrap().to_owned()
    }

    async fn server(&self, name: &str) -> Value {
        self.find_in_summary(|summary| named(&summary["servers"], name)).await
    }

    /// The API key of a client.
    pub async fn key(&self, client: &str) -> String {
        let key = |summary: &Value| {
            let client = named(&summary["clients"], client)?;
            // The summary is written after the keys, so that a key may be deleted while its client is still listed.
            fs::read_to_string(client["apiKeyFile"].as_str()?).ok()
        };
        self.find_in_summary(key).await
    }

    /// The HTTP status and the body of a call.
    pub async fn call(&self, url: &str, key: &str, tool: &str, arguments: Value) -> (u16, Value) {
        let params = json!({"name": tool, "arguments": arguments});
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = self.http.post(url).header("x-api-key", key).json(&request);
        let response = request.header("accept", "application/json, text/event-stream").send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Waits until a call has this outcome. Returns how long that took.
    pub async fn until_outcome(&self, url: &str, key: &str, tool: &str, outcome: Outcome) -> Duration {
        let began = Instant::now();
        until(PATIENCE, async || {
            let (status, body) = self.call(url, key, tool, json!({})).await;
            if outcome.is_of(status, &body) { Ok(()) } else { Err(format!("not {outcome:?}: {status} {body}")) }
        })
        .await;
        began.elapsed()
    }

    /// The server processes of this folder.
    pub fn server_processes(&self) -> Vec<Pid> {
        let state = fs::canonicalize(self.state()).unwrap();
        let numbers =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_server = |pid: &i32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            command.contains("portcullis-server") && command.contains(state.to_str().unwrap())
        };
        numbers.filter(is_server).filter_map(Pid::from_raw).collect()
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a result.
    Served,
    /// The tool is not permitted.
    Denied,
    /// The client has no access.
    Unauthorised,
}

impl Outcome {
    pub fn is_of(self, status: u16, body: &Value) -> bool {
        match self {
            Self::Served => status == 200 && body["result"].is_object(),
            Self::Denied => {
                let message = body["error"]["message"].as_str().unwrap_or_default();
                message.contains("is not permitted for this client")
            }
            Self::Unauthorised => matches!(status, 401 | 403),
        }
    }
}

fn named(list: &Value, name: &str) -> Option<Value> {
    list.as_array()?.iter().find(|item| item["name"] == name).cloned()
}

fn run(folder: &Path, more: &[&str]) -> Process {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (manifests, state) = (path("manifests"), path("state"));
    let arguments = ["local", &manifests, "--state-dir", &state, "--listen", "127.0.0.1:0"];
    Process::start(binary("portcullis-operator").unwrap(), [&arguments, more].concat(), &[]).unwrap()
}

/// Runs the operator to its end.
pub fn operator(arguments: &[&str]) -> Output {
    Command::new(binary("portcullis-operator").unwrap()).args(arguments).output().unwrap()
}

/// The same with a text on standard input.
pub fn operator_reads(text: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("portcullis-operator").unwrap());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    command.args(arguments).stdin(file).output().unwrap()
}
