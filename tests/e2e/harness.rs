//! The cluster of the scenario: a node, the images, the release of the chart, and the CRM example.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use portcullis_tests::{ControlPlane, PATIENCE, TestCluster, repository, until};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::pods::ServedPod;
use crate::release::{self, Release, UPGRADED_TAG};

const NAMESPACE: &str = "sales";
/// How long a policy may take to be confirmed. A pod that was not seen to serve what was published in between confirms a policy that is
/// published once more after 91 s.
const SYNCED: Duration = Duration::from_secs(150);

/// The cluster, with the methods that concern the CRM example and the operator's pod.
pub struct CrmCluster {
    /// It has no operator of its own beside the cluster.
    cluster: TestCluster,
    pub release: Release,
}

impl Deref for CrmCluster {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        &self.cluster
    }
}

impl Drop for CrmCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = ["logs", "-n", release::NAMESPACE, "-lapp.kubernetes.io/name=portcullis-operator", "--tail=40"];
            let log = self.control_plane.kubectl(log).unwrap_or_else(|error| error.to_string());
            eprintln!("--- the last lines of the operator:\n{log}");
        }
    }
}

impl CrmCluster {
    /// A node with the images, and the release on it.
    pub async fn start() -> Self {
        let control_plane = ControlPlane::start_with_node().await.unwrap();
        let archives = PathBuf::from(std::env::var_os("PORTCULLIS_IMAGES").expect("`make e2e` must set the variable"));
        for name in ["portcullis-server", "portcullis-operator"] {
            let upgraded = format!("localhost/{name}:{UPGRADED_TAG}");
            control_plane.load_archive(&archives.join(format!("{name}.tar")), Some(&upgraded)).unwrap();
        }
        for name in ["crm-api", "e2e-agent"] {
            control_plane.load_archive(&archives.join(format!("{name}.tar")), None).unwrap();
        }
        let release = Release::package(&control_plane);
        let kubeconfig = control_plane.kubeconfig();
        let cluster = Self { cluster: TestCluster { operator: None, control_plane, kubeconfig }, release };
        let began = Instant::now();
        cluster.release.install();
        println!("e2e: chart installed, and the operator ready, in {:.2} s", began.elapsed().as_secs_f64());
        cluster
    }

    /// Runs kubectl as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.control_plane.kubectl(arguments).unwrap()
    }

    /// Ends everything, and checks that nothing is left.
    pub fn stop(self) {
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
    pub async fn key_of(&self, client: &str) -> String {
        self.key_in(&format!("{client}-key")).await
    }

    /// The API key in this Secret, once the operator has created it.
    pub async fn key_in(&self, secret: &str) -> String {
        until(PATIENCE, async || self.key(NAMESPACE, secret).await).await
    }

    /// A client of the server's Service on this machine.
    pub async fn service_client(&self) -> reqwest::Client {
        let services = self.api::<Service>(NAMESPACE);
        let address = until(PATIENCE, async || {
            let service = services.get("crm").await.map_err(|error| error.to_string())?;
            service.spec.and_then(|spec| spec.cluster_ip).ok_or_else(|| "crm has no address".to_owned())
        });
        crate::pods::client(&address.await)
    }

    /// Both pods of the server, once they are ready.
    pub async fn pods(&self) -> Vec<ServedPod> {
        until(PATIENCE, async || {
            let ready = self.ready_pods().await;
            if ready.len() == 2 { Ok(ready) } else { Err(format!("{} of 2 pods are ready", ready.len())) }
        })
        .await
    }

    /// The pods of the server that are ready and not being deleted, however many there are.
    pub async fn ready_pods(&self) -> Vec<ServedPod> {
        let of_server = ListParams::default().labels("app.kubernetes.io/instance=crm");
        let api = self.api::<Pod>(NAMESPACE);
        let pods = api.list(&of_server).await.unwrap().items;
        pods.iter().filter(|pod| is_ready(pod)).map(|pod| ServedPod::new(pod, api.clone())).collect()
    }

    /// The server's generation, and its status.
    pub async fn status(&self) -> (i64, Value) {
        let kind = GroupVersionKind::gvk("portcullis.dev", "v1alpha1", "McpServer");
        let servers: Api<DynamicObject> =
            Api::namespaced_with(self.control_plane.client(), NAMESPACE, &ApiResource::from_gvk(&kind));
        let mut server = servers.get("crm").await.unwrap();
        (server.metadata.generation.unwrap(), server.data["status"].take())
    }

    /// The name of the ConfigMap or Secret that new pods mount.
    pub fn document(&self, kind: &str) -> String {
        let field = if kind == "secret" { "secret" } else { "configMap" };
        let name = format!("jsonpath={{.spec.template.spec.volumes[0].projected.sources[*].{field}.name}}");
        self.kubectl(&["get", "deployment", "crm", "-n", NAMESPACE, "-o", &name])
    }

    /// Waits until the status says that both pods serve the current policy.
    pub async fn until_synced(&self) {
        until(SYNCED, async || {
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

    /// What only the operator writes in the namespace, each object with its resourceVersion. Pods and Deployments are left out,
    /// because kubelet and the controllers write them too.
    pub fn versions(&self) -> String {
        let kinds = "mcpservers,mcpclients,configmaps,secrets,serviceaccounts,services";
        let columns = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}";
        self.kubectl(&["get", kinds, "-n", NAMESPACE, "-o", columns])
    }

    /// Raises the limits of the server, so that calls at a rate have room.
    pub async fn raise_limits(&self) {
        let mut server = document("examples/crm/server.yaml", "crm");
        server["spec"]["limits"] = json!({
            "global": {"requests": 1_000_000, "per": "1m", "maxShare": 100},
            "perClient": {"requests": 100_000, "per": "1m"},
            "expensiveTools": {"requests": 10, "per": "1m"},
        });
        self.apply_in_background(&server).await.unwrap();
        self.until_synced().await;
    }

    /// The manifest of one of the example's clients, with other tools.
    pub fn client_manifest(&self, name: &str, tools: &[&str]) -> Value {
        let mut client = document("examples/crm/clients.yaml", name);
        client["spec"]["access"][0]["tools"] = json!(tools);
        client
    }

    /// Starts `kubectl apply` of one object.
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

/// Whether a pod takes calls, and goes on to.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_true = |name: &str| conditions.into_iter().flatten().any(|it| it.type_ == name && it.status == "True");
    pod.metadata.deletion_timestamp.is_none() && is_true("Ready")
}

/// A condition of a status; null if there is none with that type.
pub fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

/// The document of a file of this repository that has this name.
fn document(file: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(repository(file)).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(|one| serde::Deserialize::deserialize(one).unwrap());
    let mut named = documents.filter(|document: &Value| document["metadata"]["name"] == name);
    named.next().unwrap_or_else(|| panic!("there is no {name} in {file}"))
}

/// The command lines of the processes that name this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&*folder)).collect()
}
