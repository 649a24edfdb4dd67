//! `portcullis-server` as a process of its own, with a policy written by hand: no operator, no cluster. Its standard output is
//! its audit log; a test can stop reading it, which is what a blocked log is to the server.

mod documents;
mod folder;
mod log;

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use portcullis_crds::contract::{Credentials, Policy};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

pub use documents::{ClientKey, credentials, policy};
pub use folder::ConfigFolder;
pub use log::Log;

use crate::http::{Request, Response, send};
use crate::{Error, PATIENCE, Process, Usage, binary, eventually, expect_eq};

/// Lets backends be on this machine, where those of most tests are.
pub const LOOPBACK: &str = "--allow-loopback-backends";

/// A running server. It ends with the value.
pub struct TestServer {
    process: Process,
    /// Where MCP is served.
    pub listen: SocketAddr,
    /// Where probes and metrics are served.
    pub admin: SocketAddr,
    /// The folder of its documents.
    pub config: ConfigFolder,
    /// What it prints.
    pub log: Log,
}

impl TestServer {
    /// Starts a server with these documents and [`LOOPBACK`], and waits until they are in force.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub async fn start(policy: &Policy, credentials: &Credentials) -> Result<Self, Error> {
        Self::start_with(policy, credentials, &[LOOPBACK]).await
    }

    /// Starts a server with these documents and arguments, and waits until they are in force.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub async fn start_with(policy: &Policy, credentials: &Credentials, arguments: &[&str]) -> Result<Self, Error> {
        let config = ConfigFolder::new()?;
        config.write(policy, credentials)?;
        let server = Self::start_in(config, arguments).await?;
        server.serves(policy.revision().as_str(), credentials.revision().as_str()).await?;
        Ok(server)
    }

    /// As [`start`](Self::start), with a limit of open files that the process cannot raise.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub async fn start_limited(policy: &Policy, credentials: &Credentials, open_files: usize) -> Result<Self, Error> {
        let config = ConfigFolder::new()?;
        config.write(policy, credentials)?;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {open_files} && exec \"$0\" \"$@\"")]);
        command.arg(binary("portcullis-server")?);
        let server = Self::spawn(command, config, &[LOOPBACK]).await?;
        server.serves(policy.revision().as_str(), credentials.revision().as_str()).await?;
        Ok(server)
    }

    /// Starts a server on whatever is in the folder, and waits until it listens.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub async fn start_in(config: ConfigFolder, arguments: &[&str]) -> Result<Self, Error> {
        Self::spawn(Command::new(binary("portcullis-server")?), config, arguments).await
    }

    async fn spawn(mut command: Command, config: ConfigFolder, arguments: &[&str]) -> Result<Self, Error> {
        command.arg("--config").arg(config.path());
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        }
        command.args(arguments).env_remove("LOG_LEVEL");
        let process = Process::start_with_stdin(command)?;
        let log = Log::of(process.output());
        let started = log.event("server_started", PATIENCE).await?;
        let address = |field: &str| {
            let address = started[field].as_str().and_then(|text| text.parse().ok());
            address.ok_or_else(|| Error::Response(format!("`server_started` has no address in `{field}`: {started}")))
        };
        Ok(Self { listen: address("listen")?, admin: address("admin")?, process, config, log })
    }

    /// Waits until both revisions are in force.
    ///
    /// # Errors
    /// Returns an error if that takes longer than [`PATIENCE`].
    pub async fn serves(&self, policy: &str, credentials: &str) -> Result<(), Error> {
        let expected = json!([policy, credentials]);
        eventually(PATIENCE, async || {
            let found = self.admin("/policy").await.map_err(|error| error.to_string())?.json();
            expect_eq(&json!([found["policyRevision"], found["credentialsRevision"]]), &expected)
        })
        .await
    }

    /// Replaces both documents at once, and waits until they are in force.
    ///
    /// # Errors
    /// Returns an error if they cannot be written, or are not in force after [`PATIENCE`].
    pub async fn reconfigure(&self, policy: &Policy, credentials: &Credentials) -> Result<(), Error> {
        self.config.write(policy, credentials)?;
        self.serves(policy.revision().as_str(), credentials.revision().as_str()).await
    }

    /// A GET on the admin port.
    ///
    /// # Errors
    /// Returns an error if there is no response.
    pub async fn admin(&self, target: &str) -> Result<Response, Error> {
        send(self.admin, &Request::get(target)).await
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// Returns an error if there is no response.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        send(self.listen, request).await
    }

    /// Calls a tool with this key, outside of a session.
    ///
    /// # Errors
    /// Returns an error if there is no response.
    pub async fn call(&self, key: &str, tool: &str, arguments: Value) -> Result<Response, Error> {
        self.send(&call(key, tool, arguments)).await
    }

    /// The URL of its MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.listen)
    }

    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// The CPU time and memory that it has used.
    ///
    /// # Errors
    /// Returns an error if it has ended.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.process.usage()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    pub fn close_stdin(&mut self) {
        self.process.close_stdin();
    }

    /// # Errors
    /// Returns an error if it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.process.signal(signal)
    }

    /// Waits for its end, and for the last line that it printed.
    ///
    /// # Errors
    /// Returns an error if it still runs after `timeout`.
    pub async fn ended(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        let status = self.process.ended(timeout).await?;
        self.process.output().closed(timeout).await?;
        Ok(status)
    }
}

/// A call of a tool, outside of a session.
pub fn call(key: &str, tool: &str, arguments: Value) -> Request {
    post(key, &rpc("tools/call", json!({"name": tool, "arguments": arguments})))
}

/// A JSON-RPC request with the id 1.
pub fn rpc(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// A message for `/mcp`, with this key.
pub fn post(key: &str, message: &Value) -> Request {
    Request::post("/mcp", message.to_string()).with("x-api-key", key)
}
