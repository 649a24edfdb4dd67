//! Agents inside the cluster: one that a test makes calls with, and one that makes 20 calls a second all the time.

use std::time::Duration;

use jiff::Timestamp;
use portcullis_tests::{ControlPlane, PATIENCE, Process};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::release::VERSION;

const URL: &str = "http://crm.sales.svc:3000/mcp";

/// How long connections may still go to a killed pod: until the endpoints and kube-proxy's rules no longer have it. That is a second
/// on an idle machine.
const STALE_ENDPOINT: Duration = Duration::from_secs(10);

/// One line that the agent prints: the response to a call, or why there is none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentResponse {
    /// When the call began, and how long it took.
    pub at: Timestamp,
    pub millis: f64,
    pub status: Option<u16>,
    pub retry_after: Option<String>,
    #[serde(default)]
    pub body: Value,
    pub error: Option<String>,
}

impl AgentResponse {
    fn parse(line: &str) -> Self {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The structured result of the tool.
    pub fn result(&self) -> &Value {
        assert_eq!(self.failure(), None);
        &self.body["result"]["structuredContent"]
    }

    /// The whole line, unless the tool returned a result that is not an error.
    pub fn failure(&self) -> Option<String> {
        let is_served =
            self.status == Some(200) && self.body["result"].is_object() && self.body["result"]["isError"] != true;
        (!is_served).then(|| format!("{self:?}"))
    }
}

fn pod(name: &str, arguments: &[&str], environment: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "sales"},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "agent",
                "image": format!("localhost/e2e-agent:{VERSION}"),
                "imagePullPolicy": "Never",
                "args": arguments,
                "env": environment,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

fn run(cluster: &ControlPlane, pod: &Value) {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let file = cluster.folder().join(format!("{name}.json"));
    std::fs::write(&file, pod.to_string()).unwrap();
    cluster.kubectl(["apply", "-f", file.to_str().unwrap()]).unwrap();
    cluster.kubectl(["wait", "--for=condition=Ready", "-n", "sales", "pod", name, "--timeout=60s"]).unwrap();
}

/// Starts the agent that [`call`] uses.
pub fn start_idle(cluster: &ControlPlane) {
    run(cluster, &pod("idle", &[], json!([])));
}

/// Calls a tool from inside the cluster, through the Service.
pub fn call(cluster: &ControlPlane, key: &str, tool: &str, arguments: &Value, count: u32) -> Vec<AgentResponse> {
    let (arguments, count) = (arguments.to_string(), count.to_string());
    let command = ["exec", "-n", "sales", "idle", "--", "/e2e-agent", "--url", URL, "--key", key, "--tool", tool];
    let options = ["--arguments", &arguments, "--count", &count];
    let output = cluster.kubectl([&command[..], &options].concat()).unwrap();
    output.lines().map(AgentResponse::parse).collect()
}

/// The agent that makes calls all the time, with the key from its Secret, as an application would.
pub struct SteadyCaller {
    log: Process,
}

impl SteadyCaller {
    /// Starts it as a pod of this name.
    pub async fn start(cluster: &ControlPlane, name: &str) -> Self {
        let secret = json!({"name": "customer-service-agent-key", "key": "api-key"});
        let environment = json!([{"name": "API_KEY", "valueFrom": {"secretKeyRef": secret}}]);
        let arguments =
            ["--url", URL, "--tool", "search_contacts", "--arguments", r#"{"query": "energy"}"#, "--every", "50"];
        run(cluster, &pod(name, &arguments, environment));
        let log = cluster.kubectl_command();
        let options =
            [log.get_args().collect::<Vec<_>>(), ["logs", "-f", "-n", "sales", name].map(AsRef::as_ref).into()]
                .concat();
        let log = Process::start(log.get_program(), options, &[]).unwrap();
        log.line("status", PATIENCE).await.unwrap();
        Self { log }
    }

    fn responses(&self) -> Vec<AgentResponse> {
        let responses: Vec<_> = self.log.output().stdout().iter().map(|line| AgentResponse::parse(line)).collect();
        assert!(responses.len() > 20, "only {} calls", responses.len());
        responses
    }

    /// Checks that every call so far was served.
    pub fn assert_none_failed(&self) {
        let responses = self.responses();
        let failures: Vec<_> = responses.iter().filter_map(AgentResponse::failure).collect();
        assert_eq!(failures, Vec::<String>::new(), "of {} calls", responses.len());
        println!("e2e: {} calls from inside the cluster, none failed", responses.len());
    }

    /// Checks that every call was served, except those whose connection to the killed pod broke before the endpoints were
    /// updated.
    pub fn assert_broken_only_just_after(&self, killed: Timestamp) {
        let is_excused = |response: &AgentResponse| {
            let ended = response.at + Duration::from_secs_f64(response.millis / 1000.0);
            response.error.is_some() && ended >= killed && response.at < killed + STALE_ENDPOINT
        };
        let responses = self.responses();
        let (excused, others): (Vec<_>, Vec<_>) = responses.iter().partition(|response| is_excused(response));
        let failures: Vec<_> = others.iter().filter_map(|response| response.failure()).collect();
        assert_eq!(failures, Vec::<String>::new(), "a pod was killed at {killed}");
        println!("e2e: {} calls, {} of them broken by the kill of a pod", responses.len(), excused.len());
    }
}
