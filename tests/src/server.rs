//! `portcullis-server` as a process of its own, with a policy written by hand: no operator, no cluster. What it prints is
//! kept as the audit log that it is; a test can stop reading it, which is what a blocked sink is.

mod folder;
mod log;
mod setup;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

pub use folder::ConfigFolder;
pub use log::Log;
pub use setup::{ClientKey, credentials, policy};

use portcullis_crds::{Credentials, Policy};

use crate::http::{Answer, Request, ask};
use crate::{Error, binary, eventually};

/// How long a server may take to listen, on the slowest machine.
const START: Duration = Duration::from_secs(60);

/// A running server; it ends with the value.
pub struct Server {
    child: Child,
    /// Where MCP is served.
    pub listen: SocketAddr,
    /// Where probes and metrics are.
    pub admin: SocketAddr,
    /// What it is configured by.
    pub config: ConfigFolder,
    /// What it prints.
    pub log: Log,
}

impl Server {
    /// Starts one with these documents, and waits until it serves them.
    pub async fn start(policy: &Policy, credentials: &Credentials) -> Result<Self, Error> {
        Self::start_with(policy, credentials, &[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(policy: &Policy, credentials: &Credentials, more: &[&str]) -> Result<Self, Error> {
        let config = ConfigFolder::new()?;
        config.write(policy, credentials)?;
        let server = Self::start_in(config, more).await?;
        server.serves(policy.revision(), credentials.revision()).await?;
        Ok(server)
    }

    /// Starts one on whatever is in the folder, and waits until it listens.
    pub async fn start_in(config: ConfigFolder, more: &[&str]) -> Result<Self, Error> {
        let mut command = Command::new(binary("portcullis-server")?);
        command.arg("--config").arg(config.path());
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--allow-loopback-backends"]).args(more);
        command.env_remove("LOG_LEVEL").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io("starting portcullis-server"))?;
        let log = Log::collect(child.stdout.take(), child.stderr.take())?;
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, listen: unknown, admin: unknown, config, log };
        let started = server.log.event("server_started", START).await?;
        let address = |field: &str| {
            let text = started[field].as_str().unwrap_or_default();
            text.parse().map_err(|_| Error::Answer(format!("`server_started` has no address in `{field}`: {started}")))
        };
        (server.listen, server.admin) = (address("listen")?, address("admin")?);
        Ok(server)
    }

    /// Waits until both revisions are those in force.
    pub async fn serves(&self, policy: &str, credentials: &str) -> Result<(), Error> {
        let expected = json!([policy, credentials]);
        eventually(START, async || {
            let answer = self.admin("/policy").await.map_err(|error| error.to_string())?.json();
            let found = json!([answer["policyRevision"], answer["credentialsRevision"]]);
            if found == expected { Ok(()) } else { Err(format!("{found} is in force, not {expected}")) }
        })
        .await
    }

    /// Puts both documents in place in one swap, and waits until they are in force.
    pub async fn reconfigure(&self, policy: &Policy, credentials: &Credentials) -> Result<(), Error> {
        self.config.write(policy, credentials)?;
        self.serves(policy.revision(), credentials.revision()).await
    }

    /// GET on the admin port.
    pub async fn admin(&self, target: &str) -> Result<Answer, Error> {
        ask(self.admin, &Request::get(target)).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &Request) -> Result<Answer, Error> {
        ask(self.listen, request).await
    }

    /// Calls a tool with this key, outside of a session.
    pub async fn call(&self, key: &str, tool: &str, arguments: Value) -> Result<Answer, Error> {
        self.ask(&call(key, tool, arguments)).await
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether the process is there still.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        kill_process(self.pid(), signal).map_err(|errno| Error::io("signalling the server")(errno.into()))
    }

    /// Waits for its end, and for the last line that it printed.
    pub async fn ended(&mut self, patience: Duration) -> Result<ExitStatus, Error> {
        let child = &mut self.child;
        let status = eventually(patience, async || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("the server still runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await?;
        self.log.complete(patience).await?;
        Ok(status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.log.resume();
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// A call of a tool, outside of a session.
pub fn call(key: &str, tool: &str, arguments: Value) -> Request {
    post(key, &rpc("tools/call", json!({"name": tool, "arguments": arguments})))
}

/// A JSON-RPC request of id 1.
pub fn rpc(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// A message for `/mcp`, with this key.
pub fn post(key: &str, message: &Value) -> Request {
    Request::post("/mcp", message.to_string()).with("x-api-key", key)
}
