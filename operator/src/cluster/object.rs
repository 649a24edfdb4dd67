//! What the operator keeps of each object it watches: no more than a reconcile looks at.
//!
//! Objects come off the wire without a type, so that one that nobody can decode is kept with what is wrong with it and
//! breaks the watch for no other.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::DynamicObject;
use portcullis_crds::{
    Finding, Findings, McpClientSpec, McpServerSpec, client::McpClientStatus, server::McpServerStatus,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::store::Stored;
use crate::object::{NamespacedName, Object};

pub type Server = CustomObject<McpServerSpec, McpServerStatus>;
pub type Client = CustomObject<McpClientSpec, McpClientStatus>;

/// The annotation that nudges kubelet to look at a pod's volumes.
pub const SYNC_ANNOTATION: &str = "portcullis.dev/sync";
/// The label that names a pod's server.
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
/// The port of the container that says what a pod serves.
const ADMIN_PORT: &str = "admin";
/// How much of a decoder's words goes into a finding.
const LONGEST_ERROR: usize = 300;

/// One of our own two kinds.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomObject<S, T> {
    pub object: Object<S>,
    /// None where it has none yet, or one that nobody can decode: then it is written anew.
    pub status: Option<T>,
}

impl<S, T> CustomObject<S, T> {
    /// Whether it was deleted and only waits for what has to come first.
    pub fn is_ending(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }
}

impl<S: DeserializeOwned, T: DeserializeOwned> From<DynamicObject> for CustomObject<S, T> {
    fn from(object: DynamicObject) -> Self {
        let DynamicObject { mut metadata, mut data, .. } = object;
        metadata.managed_fields = None;
        let status = serde_json::from_value(data["status"].take()).ok();
        Self { object: Object { metadata, spec: decode(data["spec"].take()) }, status }
    }
}

/// Leniently: what the API server let pass and this version does not know is no reason to stop.
fn decode<S: DeserializeOwned>(spec: Value) -> Result<S, Findings> {
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "spec".to_owned(),
            path => format!("spec.{path}"),
        };
        let message: String = error.into_inner().to_string().chars().take(LONGEST_ERROR).collect();
        Findings::from(Finding::new(path, format!("cannot be decoded: {message}")))
    })
}

/// An object that the operator built, as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedObject {
    key: NamespacedName,
    version: u64,
    /// The value of the label that names its server.
    pub server: String,
    /// Its JSON: a fifth of what the tree would take.
    json: Box<str>,
}

impl OwnedObject {
    /// The whole object.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

impl From<DynamicObject> for OwnedObject {
    fn from(object: DynamicObject) -> Self {
        let key = key(&object.metadata);
        let version = version(&object.metadata);
        let server = label(&object.metadata, INSTANCE_LABEL);
        let json = serde_json::to_string(&object).unwrap_or_default().into();
        Self { key, version, server, json }
    }
}

/// A pod of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPod {
    pub name: NamespacedName,
    pub uid: String,
    version: u64,
    /// The server's name; its namespace is the pod's.
    pub server: String,
    /// Where its admin port is, once it has an address.
    pub admin: Option<(String, u16)>,
    pub is_ready: bool,
    /// Whether its container runs now.
    pub is_running: bool,
    pub is_ending: bool,
    /// How often its container was started again: a new process may serve something else.
    pub restarts: i32,
    /// The value of [`SYNC_ANNOTATION`].
    pub sync: Option<String>,
}

impl ObservedPod {
    /// Whether nothing differs but what nudges change.
    pub fn is_like(&self, other: &Self) -> bool {
        let bare = |pod: &Self| Self { version: 0, sync: None, ..pod.clone() };
        bare(self) == bare(other)
    }
}

impl From<Pod> for ObservedPod {
    fn from(pod: Pod) -> Self {
        let name = key(&pod.metadata);
        let version = version(&pod.metadata);
        let server = label(&pod.metadata, INSTANCE_LABEL);
        let sync = pod.metadata.annotations.as_ref().and_then(|all| all.get(SYNC_ANNOTATION)).cloned();
        let status = pod.status.unwrap_or_default();
        let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
        let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
        let port = ports.find(|port| port.name.as_deref() == Some(ADMIN_PORT)).map(|port| port.container_port);
        let port = port.and_then(|port| u16::try_from(port).ok());
        let states = status.container_statuses.unwrap_or_default();
        let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        Self {
            name,
            uid: pod.metadata.uid.unwrap_or_default(),
            version,
            server,
            admin: status.pod_ip.filter(|ip| !ip.is_empty()).zip(port),
            is_ready: status.conditions.is_some_and(|all| {
                all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
            }),
            is_running: states.iter().any(|state| state.state.as_ref().is_some_and(|state| state.running.is_some())),
            is_ending: has_ended || pod.metadata.deletion_timestamp.is_some(),
            restarts: states.iter().map(|state| state.restart_count).sum(),
            sync,
        }
    }
}

impl<S: Send + Sync + 'static, T: Send + Sync + 'static> Stored for CustomObject<S, T> {
    fn key(&self) -> NamespacedName {
        key(&self.object.metadata)
    }

    fn version(&self) -> u64 {
        version(&self.object.metadata)
    }
}

impl Stored for OwnedObject {
    fn key(&self) -> NamespacedName {
        self.key.clone()
    }

    fn version(&self) -> u64 {
        self.version
    }
}

impl Stored for ObservedPod {
    fn key(&self) -> NamespacedName {
        self.name.clone()
    }

    fn version(&self) -> u64 {
        self.version
    }
}

fn key(metadata: &ObjectMeta) -> NamespacedName {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    NamespacedName { namespace: part(&metadata.namespace), name: part(&metadata.name) }
}

fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn label(metadata: &ObjectMeta, name: &str) -> String {
    metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(spec: Value) -> Client {
        let object = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient",
            "metadata": {"name": "agent", "namespace": "sales", "resourceVersion": "12"},
            "spec": spec, "status": {"observedGeneration": -1},
        });
        serde_json::from_value::<DynamicObject>(object).unwrap().into()
    }

    #[test]
    fn an_object_that_cannot_be_decoded_is_kept_with_its_field() {
        let seen = client(json!({"access": [{"serverRef": {"name": "crm"}, "tools": "all"}], "credentials": {}}));
        let findings = seen.object.spec.clone().unwrap_err();
        assert_eq!(findings.0[0].path, "spec.access[0].tools");
        assert_eq!((seen.version(), seen.key().name.as_str()), (12, "agent"));
    }

    #[test]
    fn a_field_of_a_later_version_is_no_reason_to_stop() {
        let seen = client(json!({"access": [], "credentials": {"apiKey": {"secretName": "key"}}, "later": true}));
        assert!(seen.object.spec.is_ok());
        assert_eq!(seen.status.and_then(|status| status.observed_generation), Some(-1));
    }
}
