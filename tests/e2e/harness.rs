//! What the scenario runs in: a cluster with a node, the images, the CRDs, the CRM, and an operator beside the cluster with
//! the rights of its service account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use portcullis_tests::{ControlPlane, Mark, Process, Write, binary, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::pods::ServedPod;

const SERVER_IMAGE: &str = "localhost/portcullis-server:e2e";

/// The operator's account, as the audit log calls it.
pub const OPERATOR: &str = "system:serviceaccount:portcullis-system:portcullis-operator";

/// A cluster with a node, and its operator, which ends before the cluster does.
pub struct TestCluster {
    operator: Process,
    pub control_plane: ControlPlane,
    /// With the rights of the operator's account.
    kubeconfig: PathBuf,
}

/// A path of this repository.
pub fn repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

/// `eventually`, for a test: fails it when the time is over.
pub async fn until<T>(seconds: u64, attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually(Duration::from_secs(seconds), attempt).await.unwrap_or_else(|error| panic!("{error}"))
}

impl TestCluster {
    pub async fn start() -> Self {
        let control_plane = ControlPlane::start_with_node().await.unwrap();
        let binaries =
            PathBuf::from(std::env::var_os("PORTCULLIS_STATIC_BINARIES").expect("`make e2e` must say where they are"));
        for name in ["portcullis-server", "crm-api", "e2e-agent"] {
            control_plane.load_image(&format!("localhost/{name}:e2e"), &binaries.join(name)).unwrap();
        }
        control_plane.kubectl(["apply", "--server-side", "-f", &repository("crds")]).unwrap();
        control_plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).unwrap();
        let (crm, rights) = (repository("examples/crm/cluster"), repository("operator/rbac.yaml"));
        control_plane.kubectl(["apply", "-f", &crm, "-f", &rights]).unwrap();
        control_plane.kubectl(["rollout", "status", "deployment/crm-api", "-n", "sales", "--timeout=60s"]).unwrap();

        let kubeconfig =
            control_plane.service_account_kubeconfig("portcullis-system", "portcullis-operator").await.unwrap();
        Self { operator: operator(&kubeconfig), control_plane, kubeconfig }
    }

    /// Kills it with SIGKILL.
    pub async fn kill_operator(&mut self) {
        self.operator.signal(Signal::KILL).unwrap();
        self.operator.ended(Duration::from_secs(5)).await.unwrap();
    }

    pub async fn start_operator(&mut self) {
        self.operator = operator(&self.kubeconfig);
        self.operator.line("everything was seen", Duration::from_secs(20)).await.unwrap();
    }

    /// What the operator wrote since `since`.
    pub fn writes(&self, since: Mark) -> Vec<Write> {
        self.control_plane.audit().writes_since(since, OPERATOR).unwrap()
    }

    /// Ends everything, and checks that nothing is left behind.
    pub async fn stop(mut self) {
        assert!(self.operator.terminate(Duration::from_secs(20)).await.unwrap().success());
        let folder = self.control_plane.folder().to_path_buf();
        let number = std::fs::read_to_string(folder.join("run/number")).unwrap();
        drop(self);
        assert_eq!(processes_of(&folder), Vec::<String>::new());
        assert!(!folder.exists());
        assert!(!Path::new(&format!("/sys/class/net/pk8s{}", number.trim())).exists());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
        for group in mounts.lines().filter(|line| line.contains(" cgroup")) {
            let group = format!("{}/portcullis-k8s-{}", group.split(' ').nth(1).unwrap(), number.trim());
            assert!(!Path::new(&group).exists(), "{group}");
        }
    }

    /// The API key of one of the example's clients, once the operator has created it.
    pub async fn key(&self, client: &str) -> String {
        self.key_in(&format!("{client}-key")).await
    }

    /// The API key in this Secret.
    pub async fn key_in(&self, secret: &str) -> String {
        let secrets: Api<Secret> = Api::namespaced(self.control_plane.client(), "sales");
        let key = until(30, async || {
            let found = secrets.get(secret).await.map_err(|error| error.to_string())?;
            found.data.and_then(|mut data| data.remove("api-key")).ok_or_else(|| format!("no api-key in {secret}"))
        });
        String::from_utf8(key.await.0).unwrap()
    }

    /// A client of the server's Service, from this machine.
    pub async fn service_client(&self) -> reqwest::Client {
        let services: Api<Service> = Api::namespaced(self.control_plane.client(), "sales");
        let address = until(30, async || {
            let service = services.get("crm").await.map_err(|error| error.to_string())?;
            service.spec.and_then(|spec| spec.cluster_ip).ok_or_else(|| "crm has no address".to_owned())
        });
        crate::pods::client(&address.await)
    }

    /// The server's ready pods.
    pub async fn pods(&self) -> Vec<ServedPod> {
        let ready = |pod: &Pod| {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            pod.metadata.deletion_timestamp.is_none()
                && conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
        };
        let pods: Api<Pod> = Api::namespaced(self.control_plane.client(), "sales");
        until(60, async || {
            let of_server = ListParams::default().labels("app.kubernetes.io/instance=crm");
            let pods = pods.list(&of_server).await.map_err(|error| error.to_string())?.items;
            let ready: Vec<_> = pods.iter().filter(|pod| ready(pod)).map(ServedPod::new).collect();
            if ready.len() == 2 { Ok(ready) } else { Err(format!("{} pods are ready", ready.len())) }
        })
        .await
    }

    /// The server's generation, and its status.
    pub async fn status(&self) -> (i64, Value) {
        let kind = GroupVersionKind::gvk("portcullis.dev", "v1alpha1", "McpServer");
        let servers: Api<DynamicObject> =
            Api::namespaced_with(self.control_plane.client(), "sales", &ApiResource::from_gvk(&kind));
        let mut server = servers.get("crm").await.unwrap();
        (server.metadata.generation.unwrap(), server.data["status"].take())
    }

    /// Waits until the status reports that both pods serve the current policy.
    pub async fn settled(&self) {
        until(60, async || {
            let (generation, status) = self.status().await;
            let is_true = |name: &str| condition(&status, name)["status"] == "True";
            let (observed, pods) = (&status["observedGeneration"], &status["pods"]);
            let is_current = pods["total"] == 2 && pods["current"] == 2;
            if *observed == generation && is_current && is_true("Ready") && is_true("PolicySynced") {
                Ok(())
            } else {
                Err(format!("the status is {status}"))
            }
        })
        .await;
    }

    /// What only the operator writes in the namespace, each object with the resourceVersion that any write would change. Pods and
    /// Deployments are left out: kubelet and the controllers write them too.
    pub fn versions(&self) -> String {
        let kinds = "mcpservers,mcpclients,configmaps,secrets,serviceaccounts,services";
        let columns = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}";
        self.control_plane.kubectl(["get", kinds, "-n", "sales", "-o", columns]).unwrap()
    }

    /// Raises the server's limits so that they admit steady calls, which is a change of policy like any other.
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

    /// The manifest of one of the example's clients, with other tools.
    pub fn client_manifest(&self, name: &str, tools: &[&str]) -> Value {
        let mut client = document("examples/crm/clients.yaml", name);
        client["spec"]["access"][0]["tools"] = json!(tools);
        client
    }

    /// `kubectl apply` of one object, while the caller goes on.
    pub fn apply_in_background(&self, manifest: &Value) -> JoinHandle<()> {
        let file = self.control_plane.folder().join("manifest.json");
        std::fs::write(&file, manifest.to_string()).unwrap();
        let mut command = self.control_plane.kubectl_command();
        command.arg("apply").arg("-f").arg(file);
        tokio::task::spawn_blocking(move || {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        })
    }
}

/// The operator as a plain process beside the cluster.
fn operator(kubeconfig: &Path) -> Process {
    let environment = [("KUBECONFIG", kubeconfig.to_str().unwrap())];
    let arguments = ["run", "--server-image", SERVER_IMAGE];
    Process::start(binary("portcullis-operator").unwrap(), arguments, &environment).unwrap()
}

/// A condition of a status; null if the status has none of that type.
pub fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

/// One document of a file of this repository, by its name.
fn document(file: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(repository(file)).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(|one| serde::Deserialize::deserialize(one).unwrap());
    let mut named = documents.filter(|document: &Value| document["metadata"]["name"] == name);
    named.next().unwrap_or_else(|| panic!("no {name} in {file}"))
}

/// The command lines of the processes that contain this folder's path.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&*folder)).collect()
}
