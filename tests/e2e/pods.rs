//! The pods of the server one by one, called from this machine with the host name of the Service: how a test sees what each pod
//! enforces, and since when.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use portcullis_tests::{PATIENCE, expect_eq, until};
use reqwest::{Client, Response, header};
use rustix::process::Pid;
use serde_json::{Value, json};

const HOST: &str = "crm.sales.svc";
const PORT: u16 = 3000;

/// A client that resolves the host name of the server to this address.
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

/// Calls a tool, and returns the JSON-RPC response.
pub async fn call(client: &Client, key: &str, tool: &str, arguments: Value) -> Result<Value, String> {
    let response = post(client, key, "tools/call", json!({"name": tool, "arguments": arguments})).await?;
    response.json().await.map_err(|error| format!("{error:?}"))
}

/// A pod of the server.
pub struct ServedPod {
    pub name: String,
    uid: String,
    client: Client,
    pods: Api<Pod>,
}

impl ServedPod {
    pub fn new(pod: &Pod, pods: Api<Pod>) -> Self {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).unwrap();
        let (name, uid) = (pod.metadata.name.clone().unwrap(), pod.metadata.uid.clone().unwrap());
        Self { name, uid, client: client(address), pods }
    }

    /// Its process. The processes of the node are in the pid namespace of this machine too.
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

    /// Waits until a `tools/list` with this key has this HTTP status.
    pub async fn until_status(&self, key: &str, expected: u16) {
        until(PATIENCE, async || {
            let status = self.status(key).await;
            if status == Some(expected) { Ok(()) } else { Err(format!("{}: {status:?}, not {expected}", self.name)) }
        })
        .await;
    }

    /// Waits until this key is refused, or the pod ends, which refuses as well.
    pub async fn until_refused(&self, key: &str) {
        until(PATIENCE, async || match post(&self.client, key, "tools/list", json!({})).await {
            Err(error) => self.is_ending(error).await,
            Ok(response) => match response.status().as_u16() {
                401 | 403 => Ok(()),
                status => Err(format!("{}: {status}, neither 401 nor 403", self.name)),
            },
        })
        .await;
    }

    /// Waits until this key does not get this tool: it is not in the list, the key is refused, or the pod ends.
    pub async fn until_lost(&self, key: &str, tool: &str) {
        until(PATIENCE, async || {
            let response = match post(&self.client, key, "tools/list", json!({})).await {
                Err(error) => return self.is_ending(error).await,
                Ok(response) => response,
            };
            let status = response.status().as_u16();
            let body: Value = response.json().await.map_err(|error| format!("{error:?}"))?;
            match body["result"]["tools"].as_array() {
                Some(tools) if tools.iter().all(|listed| listed["name"] != tool) => Ok(()),
                None if matches!(status, 401 | 403) => Ok(()),
                _ => Err(format!("{}: {status} {body}", self.name)),
            }
        })
        .await;
    }

    /// Whether it is deleted or being deleted: only then does it refuse by not answering, which `error` says that it did.
    async fn is_ending(&self, error: String) -> Result<(), String> {
        match self.pods.get_opt(&self.name).await.map_err(|error| error.to_string())? {
            Some(pod) if pod.metadata.deletion_timestamp.is_none() => Err(format!("{}: {error}", self.name)),
            Some(_) | None => Ok(()),
        }
    }

    /// Waits until the list of tools for this key has this tool, or does not have it.
    pub async fn until_listed(&self, key: &str, tool: &str, is_expected: bool) {
        until(PATIENCE, async || {
            let response = post(&self.client, key, "tools/list", json!({})).await?;
            let body: Value = response.json().await.map_err(|error| format!("{error:?}"))?;
            let tools = body["result"]["tools"].as_array().ok_or_else(|| body.to_string())?;
            expect_eq(tools.iter().any(|listed| listed["name"] == tool), is_expected)
                .map_err(|error| format!("{tool} in the list of {}: {error}", self.name))
        })
        .await;
    }
}

/// [`ServedPod::until_listed`] for several pods.
pub async fn until_listed(pods: &[ServedPod], key: &str, tool: &str, is_expected: bool) {
    join_all(pods.iter().map(|pod| pod.until_listed(key, tool, is_expected))).await;
}

/// [`ServedPod::until_status`] for several pods.
pub async fn until_status(pods: &[ServedPod], key: &str, expected: u16) {
    join_all(pods.iter().map(|pod| pod.until_status(key, expected))).await;
}
