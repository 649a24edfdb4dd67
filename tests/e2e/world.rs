//! What the scenario runs in: a cluster with a node, the images, the CRDs, the CRM, and an operator beside the cluster with
//! the rights of its service account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use portcullis_tests::{ControlPlane, Process, binary, eventually};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::pods::ServedPod;

const SERVER_IMAGE: &str = "localhost/portcullis-server:e2e";

/// The operator ends before its cluster does.
pub struct World {
    operator: Process,
    pub cluster: ControlPlane,
}

/// A path of this repository.
pub fn repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

/// `eventually`, for a test: ends it where the time is over.
pub async fn until<T>(seconds: u64, attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually(Duration::from_secs(seconds), attempt).await.unwrap_or_else(|error| panic!("{error}"))
}

impl World {
    pub async fn start() -> Self {
        let cluster = ControlPlane::start_with_node().await.unwrap();
        let binaries =
            PathBuf::from(std::env::var_os("PORTCULLIS_STATIC_BINARIES").expect("`make e2e` must say where they are"));
        for name in ["portcullis-server", "crm-api", "e2e-agent"] {
            cluster.load_image(&format!("localhost/{name}:e2e"), &binaries.join(name)).unwrap();
        }
        cluster.kubectl(["apply", "--server-side", "-f", &repository("crds")]).unwrap();
        cluster.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).unwrap();
        let (crm, operator) = (repository("examples/crm/cluster"), repository("operator/rbac.yaml"));
        cluster.kubectl(["apply", "-f", &crm, "-f", &operator]).unwrap();
        cluster.kubectl(["rollout", "status", "deployment/crm-api", "-n", "sales", "--timeout=60s"]).unwrap();

        let kubeconfig = cluster.service_account_kubeconfig("portcullis-system", "portcullis-operator").await.unwrap();
        let environment = [("KUBECONFIG", kubeconfig.to_str().unwrap())];
        let arguments = ["run", "--server-image", SERVER_IMAGE];
        let operator = Process::start(binary("portcullis-operator").unwrap(), arguments, &environment).unwrap();
        Self { operator, cluster }
    }

    /// Ends everything, and looks for what was left behind.
    pub async fn stop(mut self) {
        assert!(self.operator.terminate(Duration::from_secs(20)).await.unwrap().success());
        let folder = self.cluster.folder().to_path_buf();
        let number = std::fs::read_to_string(folder.join("run/number")).unwrap();
        drop(self);
        assert_eq!(processes_of(&folder), Vec::<String>::new());
        assert!(!folder.exists());
        assert!(!Path::new(&format!("/sys/class/net/pk8s{}", number.trim())).exists());
    }

    /// A client's API key, once the operator has made it.
    pub async fn key(&self, client: &str) -> String {
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client(), "sales");
        let key = until(30, async || {
            let secret = secrets.get(&format!("{client}-key")).await.map_err(|error| error.to_string())?;
            secret.data.and_then(|mut data| data.remove("api-key")).ok_or_else(|| format!("no api-key for {client}"))
        });
        String::from_utf8(key.await.0).unwrap()
    }

    /// A client of the server's Service, from this machine.
    pub async fn service_client(&self) -> reqwest::Client {
        let services: Api<Service> = Api::namespaced(self.cluster.client(), "sales");
        let address = until(30, async || {
            let service = services.get("crm").await.map_err(|error| error.to_string())?;
            service.spec.and_then(|spec| spec.cluster_ip).ok_or_else(|| "crm has no address".to_owned())
        });
        crate::pods::client(&address.await)
    }

    /// The server's ready pods.
    pub async fn pods(&self) -> Vec<ServedPod> {
        let owned_by_server = |pod: &Pod| {
            pod.metadata.name.as_deref().is_some_and(|name| name.starts_with("crm-") && !name.starts_with("crm-api-"))
        };
        let ready = |pod: &Pod| {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            pod.metadata.deletion_timestamp.is_none()
                && conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
        };
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), "sales");
        until(60, async || {
            let pods = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
            let ours: Vec<_> =
                pods.iter().filter(|pod| owned_by_server(pod) && ready(pod)).map(ServedPod::new).collect();
            if ours.len() == 2 { Ok(ours) } else { Err(format!("{} pods are ready", ours.len())) }
        })
        .await
    }

    /// Waits until the status says that both pods serve the current policy.
    pub async fn settled(&self) {
        let kind = GroupVersionKind::gvk("portcullis.dev", "v1alpha1", "McpServer");
        let servers: Api<DynamicObject> =
            Api::namespaced_with(self.cluster.client(), "sales", &ApiResource::from_gvk(&kind));
        until(60, async || {
            let server = servers.get("crm").await.map_err(|error| error.to_string())?;
            let status = &server.data["status"];
            let ready = status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            let observed = status["observedGeneration"].as_i64() == server.metadata.generation;
            let pods = &status["pods"];
            if ready && observed && pods["total"] == 2 && pods["current"] == 2 {
                Ok(())
            } else {
                Err(format!("the status is {status}"))
            }
        })
        .await;
    }

    /// Limits that leave room for calls at a rate, on the same server: a change of policy like any other.
    pub async fn raise_limits(&self) {
        let mut server = document("examples/crm/server.yaml", "crm");
        server["spec"]["limits"] = json!({
            "global": {"requests": 1_000_000, "per": "1m", "maxShare": 100},
            "perClient": {"requests": 100_000, "per": "1m"},
            "expensiveTools": {"requests": 10, "per": "1m"},
        });
        self.apply_in_background(&server).await.unwrap();
        self.settled().await;
    }

    /// The example's client with other tools.
    pub fn client_manifest(&self, name: &str, tools: &[&str]) -> Value {
        let mut client = document("examples/crm/clients.yaml", name);
        client["spec"]["access"][0]["tools"] = json!(tools);
        client
    }

    /// `kubectl apply` of one object, while the caller goes on.
    pub fn apply_in_background(&self, manifest: &Value) -> JoinHandle<()> {
        let file = self.cluster.folder().join("manifest.json");
        std::fs::write(&file, manifest.to_string()).unwrap();
        let mut command = self.cluster.kubectl_command();
        command.arg("apply").arg("-f").arg(file);
        tokio::task::spawn_blocking(move || {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        })
    }
}

/// One document of a file of this repository, by its name.
fn document(file: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(repository(file)).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(|one| serde::Deserialize::deserialize(one).unwrap());
    let mut named = documents.filter(|document: &Value| document["metadata"]["name"] == name);
    named.next().unwrap_or_else(|| panic!("no {name} in {file}"))
}

/// The command lines of the processes that name this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&*folder)).collect()
}
