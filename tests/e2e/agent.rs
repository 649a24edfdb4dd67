//! Agents inside the cluster: one that makes calls on request, and one that makes 20 calls a second all the time.

use std::time::Duration;

use jiff::Timestamp;
use portcullis_tests::{ControlPlane, Process};
use serde::Deserialize;
use serde_json::{Value, json};

const URL: &str = "http://crm.sales.svc:3000/mcp";

/// How long a killed pod may still get connections: until the endpoints, and then kube-proxy's rules, no longer contain it.
const HEARSAY: Duration = Duration::from_secs(2);

/// One line of the agent's output.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// When the call started.
    pub at: Timestamp,
    pub status: Option<u16>,
    pub retry_after: Option<String>,
    #[serde(default)]
    pub body: Value,
    pub error: Option<String>,
}

impl Answer {
    fn parse(line: &str) -> Self {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The tool's result, as data.
    pub fn result(&self) -> &Value {
        assert_eq!(self.failure(), None);
        &self.body["result"]["structuredContent"]
    }

    /// Why it is not the result of a successful call.
    pub fn failure(&self) -> Option<String> {
        let worked =
            self.status == Some(200) && self.body["result"].is_object() && self.body["result"]["isError"] != true;
        (!worked).then(|| format!("{self:?}"))
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
                "image": "localhost/e2e-agent:e2e",
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

/// Starts the agent that `ask` uses.
pub fn start_asked(cluster: &ControlPlane) {
    run(cluster, &pod("asked", &[], json!([])));
}

/// Calls a tool from inside the cluster, through the Service.
pub fn ask(cluster: &ControlPlane, key: &str, tool: &str, arguments: &Value, count: u32) -> Vec<Answer> {
    let (arguments, count) = (arguments.to_string(), count.to_string());
    let command = ["exec", "-n", "sales", "asked", "--", "/e2e-agent", "--url", URL, "--key", key, "--tool", tool];
    let options = ["--arguments", &arguments, "--count", &count];
    let output = cluster.kubectl([&command[..], &options].concat()).unwrap();
    output.lines().map(Answer::parse).collect()
}

/// The agent that calls all the time, with the key from its Secret, as an application would.
pub struct Steady {
    log: Process,
}

impl Steady {
    pub async fn start(cluster: &ControlPlane) -> Self {
        let secret = json!({"name": "customer-service-agent-key", "key": "api-key"});
        let environment = json!([{"name": "API_KEY", "valueFrom": {"secretKeyRef": secret}}]);
        let arguments =
            ["--url", URL, "--tool", "search_contacts", "--arguments", r#"{"query": "energy"}"#, "--every", "50"];
        run(cluster, &pod("steady", &arguments, environment));
        let log = cluster.kubectl_command();
        let options =
            [log.get_args().collect::<Vec<_>>(), ["logs", "-f", "-n", "sales", "steady"].map(AsRef::as_ref).into()]
                .concat();
        let log = Process::start(log.get_program(), options, &[]).unwrap();
        log.line("status", Duration::from_secs(20)).await.unwrap();
        Self { log }
    }

    fn answers(&self) -> Vec<Answer> {
        let answers: Vec<_> = self.log.output().stdout().iter().map(|line| Answer::parse(line)).collect();
        assert!(answers.len() > 20, "only {} calls", answers.len());
        answers
    }

    /// Asserts that every call so far worked.
    pub fn assert_none_failed(&self) {
        let answers = self.answers();
        let failures: Vec<_> = answers.iter().filter_map(Answer::failure).collect();
        assert_eq!(failures, Vec::<String>::new(), "of {} calls", answers.len());
        println!("e2e: {} calls from inside, one after the other: none failed", answers.len());
    }

    /// No server refused a call, and no connection broke but to the pod that was killed then, for as long as the cluster
    /// needs to hear of its end.
    pub fn assert_broken_only_just_after(&self, killed: Timestamp) {
        let is_excused = |answer: &Answer| {
            answer.error.is_some() && (killed..killed + HEARSAY).contains(&(answer.at + Duration::from_millis(100)))
        };
        let answers = self.answers();
        let (excused, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| is_excused(answer));
        let failures: Vec<_> = others.iter().filter_map(|answer| answer.failure()).collect();
        assert_eq!(failures, Vec::<String>::new(), "a pod was killed at {killed}");
        println!("e2e: {} calls, {} broken with the pod that was killed", answers.len(), excused.len());
    }
}
