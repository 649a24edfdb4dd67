//! What the operator keeps of each watched object: no more than a reconcile reads.
//!
//! Objects are received without a type, so that one that cannot be decoded is kept with what is wrong with it, and the watch
//! goes on for all others.

use k8s_openapi::{
    api::core::v1::{Pod, Volume},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use kube::Resource;
use portcullis_crds::{
    Finding, McpClientSpec, McpServer, McpServerSpec, NamespacedName, client::McpClientStatus, json_object,
    server::McpServerStatus,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

use super::{
    labels,
    ownership::{controller, controller_uid, is_of_apps},
    pod_trouble::PodTrouble,
    received::ReceivedObject,
    store::Stored,
};
use crate::object::{Object, Spec, Undecodable};

pub type ServerObject = CustomObject<McpServerSpec, McpServerStatus>;
pub type ClientObject = CustomObject<McpClientSpec, McpClientStatus>;

/// The annotation that makes kubelet refresh a pod's volumes when its value changes.
pub const SYNC_ANNOTATION: &str = "portcullis.dev/sync";
/// The name of the container port at which a pod reports what it serves.
const ADMIN_PORT: &str = "admin";
/// How many names of ConfigMaps are kept of a pod.
const MAX_CONFIG_MAPS: usize = 16;
/// How many characters of a decoder's message go into a finding.
const MAX_ERROR: usize = 300;

/// An McpServer or an McpClient.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomObject<S: Spec, T> {
    pub object: Object<S>,
    /// `None` if it has none yet, or one that cannot be decoded: then it is written anew.
    pub status: Option<T>,
}

impl<S: Spec, T> CustomObject<S, T> {
    /// Whether it was deleted, and exists only until its finalizers are gone.
    pub fn is_terminating(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }
}

impl<S: Spec, T: DeserializeOwned> From<ReceivedObject> for CustomObject<S, T> {
    fn from(object: ReceivedObject) -> Self {
        let status = object.field("status").and_then(|status| serde_json::from_str(status.get()).ok());
        let spec = decode(object.field("spec").map_or("null", RawValue::get));
        Self { object: Object { metadata: object.metadata, spec }, status }
    }
}

/// Unknown fields are ignored: the API server may serve a newer schema than this version's.
fn decode<S: Spec>(spec: &str) -> Result<S, Undecodable<S::Partial>> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(spec)).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "spec".to_owned(),
            path => format!("spec.{path}"),
        };
        let message: String = error.into_inner().to_string().chars().take(MAX_ERROR).collect();
        let findings = Finding::new(path, format!("cannot be decoded: {message}")).into();
        Undecodable { findings, partial: S::partial(&json_object::shallow(spec).unwrap_or_default()) }
    })
}

/// An object that the operator built, as it is in the cluster.
#[derive(Clone, Debug)]
pub struct OwnedObject {
    name: NamespacedName,
    uid: String,
    version: u64,
    server: NamespacedName,
    /// The UID of its controller.
    owner_uid: Option<String>,
    /// The whole object as JSON text, which takes a fifth of what the tree would.
    json: Box<str>,
}

impl OwnedObject {
    pub fn name(&self) -> &str {
        &self.name.name
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The UID of its controller.
    pub fn owner_uid(&self) -> Option<&str> {
        self.owner_uid.as_deref()
    }

    /// The whole object.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

/// The items of a list come without their kind: an object is the same however it was received.
impl PartialEq for OwnedObject {
    fn eq(&self, other: &Self) -> bool {
        let content = |object: &Self| {
            let mut value = object.value();
            if let Some(fields) = value.as_object_mut() {
                fields.retain(|name, _| name != "apiVersion" && name != "kind");
            }
            value
        };
        (&self.name, &self.uid, self.version) == (&other.name, &other.uid, other.version)
            && (self.json == other.json || content(self) == content(other))
    }
}

impl From<ReceivedObject> for OwnedObject {
    fn from(object: ReceivedObject) -> Self {
        let metadata = &object.metadata;
        Self {
            name: name(metadata),
            uid: metadata.uid.clone().unwrap_or_default(),
            version: version(metadata),
            server: server(metadata),
            owner_uid: controller_uid(metadata).map(str::to_owned),
            json: object.json().into(),
        }
    }
}

/// A pod of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPod {
    pub name: NamespacedName,
    pub uid: String,
    version: u64,
    /// The server that its label names: a Service sends calls to it by that, whoever owns it.
    pub server: NamespacedName,
    /// The names of the ConfigMaps in its volumes, as far as they may be the server's.
    pub config_maps: Vec<String>,
    /// The address and port of its admin port, once it has an address.
    pub admin: Option<(String, u16)>,
    pub is_ready: bool,
    /// Whether its container runs now.
    pub is_running: bool,
    /// Since when its container runs, or if it does not, since when there is the pod.
    pub running_since: Option<Timestamp>,
    /// What keeps it from taking calls, as far as its status says.
    pub trouble: Option<PodTrouble>,
    /// The ReplicaSet that controls it.
    pub replica_set: Option<ReplicaSetRef>,
    /// Whether it was deleted. Until its containers end it may still serve.
    pub is_terminating: bool,
    /// Whether all of its containers ended for good.
    pub has_ended: bool,
    /// How often its container was restarted: a new process may serve something else.
    pub restarts: i32,
    /// The value of [`SYNC_ANNOTATION`].
    pub sync: Option<String>,
}

/// A ReplicaSet as its pods name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaSetRef {
    pub name: String,
    pub uid: String,
}

impl ReplicaSetRef {
    fn of(pod: &ObjectMeta) -> Option<Self> {
        let owner = controller(pod).filter(|owner| owner.kind == "ReplicaSet" && is_of_apps(owner))?;
        Some(Self { name: owner.name.clone(), uid: owner.uid.clone() })
    }
}

impl ObservedPod {
    /// Whether nothing differs but what the operator's own patches change.
    pub fn is_same_but_annotations(&self, other: &Self) -> bool {
        let bare = |pod: &Self| Self { version: 0, sync: None, ..pod.clone() };
        bare(self) == bare(other)
    }
}

impl From<Pod> for ObservedPod {
    fn from(pod: Pod) -> Self {
        let metadata = pod.metadata;
        let sync = metadata.annotations.as_ref().and_then(|all| all.get(SYNC_ANNOTATION)).cloned();
        let status = pod.status.unwrap_or_default();
        let (containers, volumes) = pod.spec.map(|spec| (spec.containers, spec.volumes)).unwrap_or_default();
        let server = NamespacedName { namespace: name(&metadata).namespace, name: instance(&metadata) };
        let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
        let port = ports.find(|port| port.name.as_deref() == Some(ADMIN_PORT)).map(|port| port.container_port);
        let port = port.and_then(|port| u16::try_from(port).ok());
        let trouble = PodTrouble::of(&status);
        let states = status.container_statuses.unwrap_or_default();
        let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let mut running = states.iter().filter_map(|state| state.state.as_ref()?.running.as_ref());
        let running_since = running.next().and_then(|state| state.started_at.clone());
        Self {
            running_since: running_since.or_else(|| metadata.creation_timestamp.clone()).map(|at| at.0),
            trouble,
            name: name(&metadata),
            version: version(&metadata),
            config_maps: config_maps(volumes.unwrap_or_default(), &server.name),
            server,
            replica_set: ReplicaSetRef::of(&metadata),
            is_terminating: metadata.deletion_timestamp.is_some(),
            has_ended,
            uid: metadata.uid.unwrap_or_default(),
            admin: status.pod_ip.filter(|ip| !ip.is_empty()).zip(port),
            is_ready: status.conditions.is_some_and(|all| {
                all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
            }),
            is_running: states.iter().any(|state| state.state.as_ref().is_some_and(|state| state.running.is_some())),
            restarts: states.iter().map(|state| state.restart_count).fold(0, i32::saturating_add),
            sync,
        }
    }
}

impl<S, T> Stored for CustomObject<S, T>
where
    S: Spec + PartialEq + Send + Sync + 'static,
    T: PartialEq + Send + Sync + 'static,
{
    fn namespaced_name(&self) -> NamespacedName {
        self.object.namespaced_name()
    }

    fn version(&self) -> u64 {
        version(&self.object.metadata)
    }
}

impl Stored for OwnedObject {
    fn namespaced_name(&self) -> NamespacedName {
        self.name.clone()
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn server(&self) -> Option<NamespacedName> {
        Some(self.server.clone())
    }
}

impl Stored for ObservedPod {
    fn namespaced_name(&self) -> NamespacedName {
        self.name.clone()
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn server(&self) -> Option<NamespacedName> {
        Some(self.server.clone())
    }
}

fn name(metadata: &ObjectMeta) -> NamespacedName {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    NamespacedName { namespace: part(&metadata.namespace), name: part(&metadata.name) }
}

fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// The McpServer that an object was made for, in the object's own namespace: its controller, or the one that its label names.
fn server(metadata: &ObjectMeta) -> NamespacedName {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true) && owner.kind == McpServer::kind(&()));
    let name = owner.map_or_else(|| instance(metadata), |owner| owner.name.clone());
    NamespacedName { namespace: metadata.namespace.clone().unwrap_or_default(), name }
}

/// The McpServer that a label names.
fn instance(metadata: &ObjectMeta) -> String {
    metadata.labels.as_ref().and_then(|labels| labels.get(labels::INSTANCE)).cloned().unwrap_or_default()
}

/// The names of the ConfigMaps in these volumes that begin with the name of the server.
fn config_maps(volumes: Vec<Volume>, server: &str) -> Vec<String> {
    let names = volumes.into_iter().flat_map(|volume| {
        let sources = volume.projected.and_then(|projected| projected.sources).unwrap_or_default();
        let projected = sources.into_iter().filter_map(|source| source.config_map).map(|it| it.name);
        projected.chain(volume.config_map.map(|it| it.name))
    });
    names.filter(|name| name.starts_with(server)).take(MAX_CONFIG_MAPS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(spec: Value) -> ClientObject {
        let object = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient",
            "metadata": {"name": "agent", "namespace": "sales", "resourceVersion": "12"},
            "spec": spec, "status": {"observedGeneration": -1},
        });
        ReceivedObject::parse(&object.to_string()).unwrap().into()
    }

    #[test]
    fn an_object_that_cannot_be_decoded_is_kept_with_the_field_that_is_wrong() {
        let client = client(json!({"access": [{"serverRef": {"name": "crm"}, "tools": "all"}], "credentials": {}}));
        let findings = client.object.spec.clone().unwrap_err().findings;
        assert_eq!(findings.0[0].path, "spec.access[0].tools");
        assert_eq!((client.version(), client.namespaced_name().name.as_str()), (12, "agent"));
    }

    #[test]
    fn what_is_too_deep_is_named_with_its_bound_and_the_rest_is_read() {
        let nested = |levels: usize| format!("{}{}{}", r#"{"a":"#.repeat(levels), 1, "}".repeat(levels));
        for levels in [65, 130, 100_000] {
            let spec = format!(
                r#"{{"backends":[],"tools":[{{"name":"a","description":"x","backend":"b","inputSchema":{}}}]}}"#,
                nested(levels)
            );
            let text = format!(r#"{{"metadata":{{"name":"crm","namespace":"sales"}},"spec":{spec}}}"#);
            let server: ServerObject = ReceivedObject::parse(&text).unwrap().into();
            let findings = server.object.spec.unwrap_err().findings.to_string();
            let expected = "spec.tools[0].inputSchema: cannot be decoded: is nested more than 64 levels deep";
            assert!(findings.starts_with(expected), "{levels}: {findings}");

            let spec = format!(r#"{{"access":[{}],"suspended":true,"credentials":{{}}}}"#, nested(levels));
            let text = format!(r#"{{"metadata":{{"name":"bot","namespace":"sales"}},"spec":{spec}}}"#);
            let client: ClientObject = ReceivedObject::parse(&text).unwrap().into();
            let partial = client.object.spec.unwrap_err().partial;
            assert_eq!((partial.suspended, partial.access), (true, Some(Vec::new())), "{levels}");
        }
    }

    #[test]
    fn a_pod_whose_status_says_anything_at_all_is_read() {
        let state = json!({"name": "server", "image": "", "imageID": "", "ready": false, "restartCount": i32::MAX});
        let pod = json!({"metadata": {"name": "crm-0"}, "status": {"containerStatuses": [state, state, state]}});
        let pod: ObservedPod = serde_json::from_value::<Pod>(pod).unwrap().into();
        assert_eq!(pod.restarts, i32::MAX);
    }

    #[test]
    fn an_unknown_field_is_ignored() {
        let client = client(json!({"access": [], "credentials": {"apiKey": {"secretName": "key"}}, "later": true}));
        assert!(client.object.spec.is_ok());
        assert_eq!(client.status.and_then(|status| status.observed_generation), Some(-1));
    }
}
