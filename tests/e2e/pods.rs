//! Calls to one replica at a time, from this machine, under the server's name: how a test finds out what each pod enforces,
//! and since when.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use reqwest::{Client, Response, header};
use rustix::process::Pid;
use serde_json::{Value, json};

use crate::harness::until;

const HOST: &str = "crm.sales.svc";
const PORT: u16 = 3000;

/// A client that resolves the server's name to this address.
pub fn client(address: &str) -> Client {
    let address: IpAddr = address.parse().unwrap();
    let builder = Client::builder().resolve(HOST, SocketAddr::new(address, PORT));
    builder.timeout(Duration::from_secs(5)).build().unwrap()
}

async fn post(client: &Client, key: &str, method: &str, params: Value) -> Result<Response, String> {
    let request = client.post(format!("http://{HOST}:{PORT}/mcp"));
    let request = request.header("x-api-key", key).header(header::ACCEPT, "application/json, text/event-stream");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    request.json(&body).send().await.map_err(|error| format!("{error:?}"))
}

/// Calls a tool, and returns the JSON-RPC answer.
pub async fn call(client: &Client, key: &str, tool: &str, arguments: Value) -> Result<Value, String> {
    let response = post(client, key, "tools/call", json!({"name": tool, "arguments": arguments})).await?;
    response.json().await.map_err(|error| format!("{error:?}"))
}

/// A replica of the server.
pub struct ServedPod {
    pub name: String,
    uid: String,
    client: Client,
}

impl ServedPod {
    pub fn new(pod: &Pod) -> Self {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).unwrap();
        let (name, uid) = (pod.metadata.name.clone().unwrap(), pod.metadata.uid.clone().unwrap());
        Self { name, uid, client: client(address) }
    }

    /// Its process, which this machine sees because the node's processes are children of its own.
    pub fn process(&self) -> Pid {
        let uid = format!("POD_UID={}", self.uid);
        let has_uid = |process: &PathBuf| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == uid.as_bytes())
        };
        let mut processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let process = processes.find(has_uid).unwrap_or_else(|| panic!("no process of {}", self.name));
        let number: i32 = process.file_name().unwrap().to_str().unwrap().parse().unwrap();
        Pid::from_raw(number).unwrap()
    }

    /// The HTTP status of a `tools/list` with this key.
    pub async fn status(&self, key: &str) -> Option<u16> {
        post(&self.client, key, "tools/list", json!({})).await.ok().map(|response| response.status().as_u16())
    }

    pub async fn until_status(&self, key: &str, wanted: u16) {
        until(30, async || match self.status(key).await {
            Some(status) if status == wanted => Ok(()),
            other => Err(format!("{} answers {other:?}, not {wanted}", self.name)),
        })
        .await;
    }

    /// Waits until this key sees the tool, or no longer does.
    pub async fn until_listed(&self, key: &str, tool: &str, wanted: bool) {
        until(30, async || {
            let response = post(&self.client, key, "tools/list", json!({})).await?;
            let answer: Value = response.json().await.map_err(|error| format!("{error:?}"))?;
            let tools = answer["result"]["tools"].as_array().ok_or_else(|| answer.to_string())?;
            match tools.iter().any(|listed| listed["name"] == tool) {
                listed if listed == wanted => Ok(()),
                listed => Err(format!("{}: {tool} listed: {listed}", self.name)),
            }
        })
        .await;
    }
}

/// Waits until this key sees the tool on each pod, or no longer does.
pub async fn until_listed(pods: &[ServedPod], key: &str, tool: &str, wanted: bool) {
    join_all(pods.iter().map(|pod| pod.until_listed(key, tool, wanted))).await;
}

/// Waits until each pod answers a `tools/list` with this key with this status.
pub async fn until_status(pods: &[ServedPod], key: &str, wanted: u16) {
    join_all(pods.iter().map(|pod| pod.until_status(key, wanted))).await;
}
