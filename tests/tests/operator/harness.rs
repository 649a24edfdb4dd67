//! A control plane with the CustomResourceDefinitions, and an operator beside it with the rights of its account.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use portcullis_crds::contract::KeyDigest;
use portcullis_crds::contract::{
    CREDENTIALS_FILE, CredentialsReading, POLICY_FILE, PolicyReading, PublishedCredentials, PublishedPolicy,
};
use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{ControlPlane, Mark, Process, Write, binary, eventually};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub const OPERATOR: &str = "system:serviceaccount:portcullis-system:portcullis-operator";

/// A control plane and its operator; the operator ends before the control plane does.
pub struct TestCluster {
    pub operator: Option<Process>,
    pub control_plane: ControlPlane,
    pub kubeconfig: PathBuf,
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
    /// With a running operator.
    pub async fn start() -> Self {
        let mut cluster = Self::without_operator().await;
        cluster.start_operator();
        cluster
    }

    pub async fn without_operator() -> Self {
        let control_plane = ControlPlane::start().await.unwrap();
        let (crds, rbac) = (repository("crds"), repository("operator/rbac.yaml"));
        control_plane.kubectl(["apply", "--server-side", "-f", &crds, "-f", &rbac]).unwrap();
        control_plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).unwrap();
        let kubeconfig =
            control_plane.service_account_kubeconfig("portcullis-system", "portcullis-operator").await.unwrap();
        Self { operator: None, control_plane, kubeconfig }
    }

    pub fn start_operator(&mut self) {
        let environment = [("KUBECONFIG", self.kubeconfig.to_str().unwrap())];
        self.operator = Some(Process::start(binary("portcullis-operator").unwrap(), ["run"], &environment).unwrap());
    }

    /// Kills it with SIGKILL.
    pub async fn kill_operator(&mut self) {
        let mut operator = self.operator.take().unwrap();
        operator.signal(rustix::process::Signal::KILL).unwrap();
        operator.ended(Duration::from_secs(5)).await.unwrap();
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.control_plane.client(), namespace)
    }

    pub async fn namespace(&self, name: &str) {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::<Namespace>::all(self.control_plane.client()).create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// `examples/crm`, in a namespace of its own.
    pub async fn crm(&self, namespace: &str) {
        self.namespace(namespace).await;
        for file in ["server.yaml", "clients.yaml"] {
            let text = std::fs::read_to_string(repository(&format!("examples/crm/{file}"))).unwrap();
            self.apply(&text.replace("namespace: sales", &format!("namespace: {namespace}")));
        }
    }

    /// Applies a text with `kubectl apply`.
    pub fn apply(&self, text: &str) {
        let file = tempfile::NamedTempFile::new_in(self.control_plane.folder()).unwrap();
        std::fs::write(file.path(), text).unwrap();
        self.control_plane
            .kubectl(["apply", "--server-side", "--force-conflicts", "-f", file.path().to_str().unwrap()])
            .unwrap();
    }

    /// Applies a merge patch.
    pub async fn patch<K>(&self, namespace: &str, name: &str, patch: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api::<K>(namespace).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// The policy that is published, and its ConfigMap.
    pub async fn policy(&self, namespace: &str) -> Result<PublishedPolicy, String> {
        let config_map =
            self.api::<ConfigMap>(namespace).get("crm-policy-v1").await.map_err(|error| error.to_string())?;
        let text = config_map.data.unwrap_or_default().remove(POLICY_FILE).unwrap_or_default();
        PolicyReading::parse(&text).map(Into::into).map_err(|error| error.to_string())
    }

    /// The credentials that are published.
    pub async fn credentials(&self, namespace: &str) -> Result<PublishedCredentials, String> {
        let secret =
            self.api::<Secret>(namespace).get("crm-credentials-v1").await.map_err(|error| error.to_string())?;
        let text = secret.data.unwrap_or_default().remove(CREDENTIALS_FILE).unwrap_or_default();
        let reading = CredentialsReading::parse(&String::from_utf8_lossy(&text.0));
        reading.map(Into::into).map_err(|error| error.to_string())
    }

    /// The names of the clients in the policy whose keys are in the credentials and in their own Secrets.
    pub async fn served(&self, namespace: &str) -> Result<Vec<String>, String> {
        let (policy, credentials) = (self.policy(namespace).await?, self.credentials(namespace).await?);
        let mut served = Vec::new();
        for client in policy.clients.iter() {
            let known = credentials.clients.iter().find(|it| it.id == client.id && it.uid == client.uid);
            let digest = known.and_then(|it| it.api_keys.first()).map(|key| key.sha256);
            let name = client.id.as_str();
            let key = self.key(namespace, &format!("{}-key", name.rsplit('/').next().unwrap())).await;
            if digest.is_some() && digest == key.ok().map(|key| KeyDigest::of(key.as_bytes())) {
                served.push(name.to_owned());
            }
        }
        Ok(served)
    }

    /// A client's key, read as its owner reads it.
    pub async fn key(&self, namespace: &str, secret: &str) -> Result<String, String> {
        let secret = self.api::<Secret>(namespace).get(secret).await.map_err(|error| error.to_string())?;
        let key = secret.data.unwrap_or_default().remove("api-key").ok_or("no api-key in it")?;
        String::from_utf8(key.0).map_err(|error| error.to_string())
    }

    /// A server's condition as `status/reason`, and its message.
    pub async fn server_condition(&self, namespace: &str, type_: &str) -> Result<(String, String), String> {
        let server = self.api::<McpServer>(namespace).get("crm").await.map_err(|error| error.to_string())?;
        condition(&server.status.ok_or("no status")?.conditions, type_)
    }

    /// A client's condition as `status/reason`, and its message.
    pub async fn client_condition(&self, namespace: &str, name: &str, type_: &str) -> Result<(String, String), String> {
        let client = self.api::<McpClient>(namespace).get(name).await.map_err(|error| error.to_string())?;
        condition(&client.status.ok_or("no status")?.conditions, type_)
    }

    /// What the operator wrote since `mark`.
    pub fn writes(&self, mark: Mark) -> Vec<Write> {
        self.control_plane.audit().writes_since(mark, OPERATOR).unwrap()
    }

    /// Waits until the operator has written nothing for `quiet`.
    pub async fn settled(&self, quiet: Duration) {
        until(60, async || {
            let mark = self.control_plane.audit().mark().unwrap();
            tokio::time::sleep(quiet).await;
            match self.writes(mark).as_slice() {
                [] => Ok(()),
                writes => Err(format!("the operator still writes: {writes:?}")),
            }
        })
        .await;
    }
}

pub fn condition(conditions: &[Condition], type_: &str) -> Result<(String, String), String> {
    let found = conditions.iter().find(|condition| condition.type_ == type_);
    let found = found.ok_or_else(|| format!("no condition {type_}"))?;
    Ok((format!("{}/{}", found.status, found.reason), found.message.clone()))
}

/// An error that names both values if they differ, for `until`.
pub fn expect<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?}, not {wanted:?}")) }
}

/// The manifest of a client of the example's server.
pub fn client(namespace: &str, name: &str, server: Value, tools: Value) -> String {
    let access = json!({"serverRef": server, "tools": tools, "maxRecordsPerQuery": 100, "allowWrite": true});
    let spec = json!({"access": [access], "credentials": {"apiKey": {"secretName": format!("{name}-key")}}});
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
    .to_string()
}
