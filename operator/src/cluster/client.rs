//! Calls of the Kubernetes API, each with a timeout. Nothing else in the operator has a client of the API.
//!
//! Every write passes [`Cluster::write`], where the [`Fence`] stands.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures::AsyncBufRead;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Client, Config, Resource,
    api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    config::Kubeconfig,
    core::{ApiResource, DynamicObject, GroupVersionKind, NamespaceResourceScope, Request, request},
    discovery::pinned_kind,
    error::DiscoveryError,
};
use portcullis_crds::NamespacedName;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use tokio::sync::Notify;

use super::{error::Error, fence::Fence, managed_fields::FIELD_MANAGER, received::ReceivedObject, scope::Scope};
use crate::metrics::{self, ApiVerb, Code, Metrics};

/// A request of the API that could be built.
type Built = Result<http::Request<Vec<u8>>, request::Error>;

/// The longest that one call may take.
pub(super) const CALL: Duration = Duration::from_secs(10);
/// How many seconds a watch lasts. The API server ends it then, and it is resumed.
pub(super) const WATCH: u32 = 60;
/// How long a connection may be silent while an answer is due. A watch sends something at least when its time is over; a
/// connection that is silent for longer was lost, and would hide every later revocation.
pub(super) const SILENCE: Duration = Duration::from_secs(WATCH as u64 + 15);

/// Why there is no client of the API.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no cluster is configured, neither by a kubeconfig nor by running in a pod: {0}")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the cluster's configuration cannot be used: {0}")]
    Client(#[from] kube::Error),
}

/// A client of the API.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    fence: Fence,
    is_of_pod: bool,
    metrics: Metrics,
    refused: Arc<Notify>,
}

/// A request that is counted once it ends, also if nobody waits for its answer any longer.
struct Counted<'a> {
    metrics: &'a Metrics,
    verb: ApiVerb,
    resource: metrics::ApiResource,
    code: Code,
    refused: &'a Notify,
}

impl Counted<'_> {
    fn ended<T>(mut self, result: Result<T, kube::Error>) -> Result<T, kube::Error> {
        self.code = result.as_ref().map_or_else(Code::of, |_| Code::Success);
        result
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let is_of_kind = matches!(self.verb, ApiVerb::List | ApiVerb::Watch);
        if self.code == Code::Forbidden || (is_of_kind && self.code == Code::NotFound) {
            self.refused.notify_one();
        }
        self.metrics.requested(self.verb, self.resource, self.code);
    }
}

/// Names one object; printed as `Kind namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    pub resource: ApiResource,
    pub name: NamespacedName,
}

impl ObjectRef {
    /// The object of this name of a kind that has a type.
    pub fn of<K: Resource<DynamicType = ()>>(name: NamespacedName) -> Self {
        Self { resource: ApiResource::erase::<K>(&()), name }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.kind, self.name)
    }
}

impl Cluster {
    /// A client of the cluster of the kubeconfig, or of the cluster that this pod runs in.
    ///
    /// # Errors
    /// Returns an error if neither is configured, or the configuration cannot be used.
    pub async fn connect(fence: Fence) -> Result<Self, ConnectError> {
        let mut config = Config::infer().await?;
        // The client would repeat any method, and wait as long as the server asks for. The queue and the watches retry instead.
        config.default_retry = false;
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        // A kubeconfig comes first.
        let is_of_pod = Kubeconfig::read().is_err();
        Ok(Self { is_of_pod, ..Self::new(Client::try_from(config)?, fence) })
    }

    /// Whether this is the cluster of the pod in which the process runs, by the account of the pod.
    pub fn is_of_pod(&self) -> bool {
        self.is_of_pod
    }

    pub fn new(client: Client, fence: Fence) -> Self {
        Self { client, fence, is_of_pod: false, metrics: Metrics::default(), refused: Arc::default() }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns once the API server has refused a request after the last call of this: an account lacks a right, a kind is not served,
    /// or an admission refused.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }

    /// The same cluster for writes that another fence admits.
    pub fn with_fence(&self, fence: Fence) -> Self {
        Self { fence, ..self.clone() }
    }

    /// An object as it is now; `None` if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer.
    pub async fn read(&self, object: &ObjectRef) -> Result<Option<ReceivedObject>, Error> {
        let request = requests(object).get(&object.name.name, &GetParams::default());
        let request = self.object(ApiVerb::Get, object, request);
        match call(format!("reading {object}"), CALL, request).await {
            Ok(read) => Ok(Some(read)),
            Err(Error::Api { source, .. }) if is_missing(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The metadata of an object as it is now; `None` if it does not exist. Nothing else of it is sent.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer.
    pub async fn read_metadata(&self, object: &ObjectRef) -> Result<Option<ObjectMeta>, Error> {
        let request = requests(object).get_metadata(&object.name.name, &GetParams::default());
        match call(format!("reading the metadata of {object}"), CALL, self.object(ApiVerb::Get, object, request)).await
        {
            Ok(read) => Ok(Some(read.metadata)),
            Err(Error::Api { source, .. }) if is_missing(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An object as a list has it; `None` if it does not exist. For kinds that the operator may list and not get.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer.
    pub async fn find(&self, object: &ObjectRef) -> Result<Option<ReceivedObject>, Error> {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow)]
            items: Vec<&'a RawValue>,
        }
        let parameters = ListParams::default().fields(&format!("metadata.name={}", object.name.name));
        let request = self.text(ApiVerb::List, &object.resource.plural, requests(object).list(&parameters));
        let found = async {
            let text = request.await?;
            let page: Page<'_> = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
            page.items
                .first()
                .map(|item| ReceivedObject::parse(item.get()))
                .transpose()
                .map_err(kube::Error::SerdeError)
        };
        call(format!("looking for {object}"), CALL, found).await
    }

    /// An object as it is now, with its type; `None` if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the object cannot be decoded.
    pub async fn get<K>(&self, name: &NamespacedName) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        let object = ObjectRef::of::<K>(name.clone());
        let Some(read) = self.read(&object).await? else { return Ok(None) };
        // The decoder's message may repeat a value, and this may be a Secret.
        read.decode().map(Some).map_err(|_| Error::Undecodable { object: object.to_string() })
    }

    /// Whether the API server serves a kind.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer.
    pub async fn serves(&self, resource: &ApiResource) -> Result<bool, Error> {
        let kind = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.kind);
        let doing = format!("looking for the kind {}", resource.kind);
        let counted = self.counted(ApiVerb::Discover, &resource.plural);
        let discovery = async { counted.ended(pinned_kind(&self.client, &kind).await) };
        match call(doing, CALL, discovery).await {
            Ok(_) => Ok(true),
            Err(Error::Api { source, .. }) if is_missing(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates an object; its name must be free.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn create(&self, object: &ObjectRef, value: Value) -> Result<ReceivedObject, Error> {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = requests(object).create(&parameters, value.to_string().into_bytes());
        self.write(format!("creating {object}"), self.object(ApiVerb::Create, object, request)).await
    }

    /// Creates a namespace.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn create_namespace(&self, name: &str) -> Result<(), Error> {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let resource = ApiResource::erase::<Namespace>(&());
        let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let request = requests_in(&resource, &Scope::All).create(&parameters, value.to_string().into_bytes());
        let created = self.text(ApiVerb::Create, &resource.plural, request);
        self.write(format!("creating Namespace {name}"), created).await.map(drop)
    }

    /// Checks whether an object could be created, and creates none. If the name is taken that is a conflict, after everything
    /// else was checked.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn try_create(&self, object: &ObjectRef, value: Value) -> Result<(), Error> {
        let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let request = requests(object).create(&parameters, value.to_string().into_bytes());
        self.write(format!("creating {object}"), self.text(ApiVerb::Create, &object.resource.plural, request))
            .await
            .map(drop)
    }

    /// Applies `value` to an object (server-side apply).
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn apply(&self, object: &ObjectRef, value: Value) -> Result<ReceivedObject, Error> {
        let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(value));
        let request = requests(object).patch(&object.name.name, &parameters, &patch);
        self.write(format!("applying {object}"), self.object(ApiVerb::Patch, object, request)).await
    }

    /// Applies `value` to the status of an object (server-side apply).
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn apply_status(&self, object: &ObjectRef, value: Value) -> Result<ReceivedObject, Error> {
        let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(value));
        let request = requests(object).patch_subresource("status", &object.name.name, &parameters, &patch);
        self.write(format!("writing the status of {object}"), self.object(ApiVerb::Patch, object, request)).await
    }

    /// Changes these fields of an object's status, and no others: null removes one.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, another object has the name, or the fence is closed.
    pub async fn patch_status(
        &self,
        object: &ObjectRef,
        uid: Option<&str>,
        status: Value,
    ) -> Result<ReceivedObject, Error> {
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "status": status}));
        let request = requests(object).patch_subresource("status", &object.name.name, &parameters, &patch);
        self.write(format!("writing the status of {object}"), self.object(ApiVerb::Patch, object, request)).await
    }

    /// Changes these fields of an object's metadata, and no others. `doing` describes the call in errors. Returns the object's
    /// resourceVersion afterwards, if the answer has it.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn patch_metadata(
        &self,
        doing: &str,
        object: &ObjectRef,
        metadata: Value,
    ) -> Result<Option<String>, Error> {
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let request = requests(object).patch_metadata(&object.name.name, &parameters, &patch);
        let doing = format!("{doing} {object}");
        let written = self.write(doing, self.text(ApiVerb::Patch, &object.resource.plural, request)).await?;
        Ok(ReceivedObject::parse(&written).ok().and_then(|written| written.metadata.resource_version))
    }

    /// Changes these fields of an object, and no others (JSON merge patch). `doing` describes the call in errors.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn merge(&self, doing: &str, object: &ObjectRef, patch: Value) -> Result<ReceivedObject, Error> {
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request = requests(object).patch(&object.name.name, &parameters, &Patch::Merge(patch));
        self.write(format!("{doing} {object}"), self.object(ApiVerb::Patch, object, request)).await
    }

    /// Deletes an object, unless another one has its name by then.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn delete(&self, object: &ObjectRef, uid: &str) -> Result<(), Error> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request = requests(object).delete(&object.name.name, &parameters);
        self.write(format!("deleting {object}"), self.text(ApiVerb::Delete, &object.resource.plural, request))
            .await
            .map(drop)
    }

    /// The answer to a request, as text.
    pub(super) async fn text(&self, verb: ApiVerb, plural: &str, request: Built) -> Result<String, kube::Error> {
        let request = request.map_err(kube::Error::BuildRequest)?;
        let counted = self.counted(verb, plural);
        counted.ended(self.client.request_text(request).await)
    }

    /// The answer to a request of a watch, while it arrives.
    pub(super) async fn lines(
        &self,
        plural: &str,
        request: Built,
    ) -> Result<impl AsyncBufRead + Unpin + use<>, kube::Error> {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        // Since Kubernetes 1.37 each event is compressed by itself, which the client's decompression does not read.
        request.headers_mut().insert(http::header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
        let counted = self.counted(ApiVerb::Watch, plural);
        counted.ended(self.client.request_stream(request).await)
    }

    /// The object that a request is answered with.
    async fn object(&self, verb: ApiVerb, object: &ObjectRef, request: Built) -> Result<ReceivedObject, kube::Error> {
        let text = self.text(verb, &object.resource.plural, request).await?;
        ReceivedObject::parse(&text).map_err(kube::Error::SerdeError)
    }

    /// Until it has ended, nobody has received an answer.
    fn counted(&self, verb: ApiVerb, plural: &str) -> Counted<'_> {
        let resource = metrics::ApiResource::of(plural);
        Counted { metrics: &self.metrics, verb, resource, code: Code::Unanswered, refused: &self.refused }
    }

    /// Every write passes here.
    pub(super) async fn write<T>(
        &self,
        doing: String,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let Some(remaining) = self.fence.remaining() else { return Err(Error::Fenced { doing }) };
        let answered = call(doing.clone(), CALL.min(remaining), request);
        self.fence.guard(answered).await.unwrap_or(Err(Error::Fenced { doing }))
    }
}

/// The requests for the objects of a kind in a scope.
pub(super) fn requests_in(resource: &ApiResource, scope: &Scope) -> Request {
    let namespace = match scope {
        Scope::All => None,
        Scope::Namespace(namespace) => Some(namespace.as_str()),
    };
    Request::new(DynamicObject::url_path(resource, namespace))
}

fn requests(object: &ObjectRef) -> Request {
    Request::new(DynamicObject::url_path(&object.resource, Some(&object.name.namespace)))
}

/// Whether the answer of discovery means that the API server lacks the kind, or the version of its group.
fn is_missing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Discovery(DiscoveryError::MissingKind(_)) => true,
        kube::Error::Api(status) => status.code == 404,
        _ => false,
    }
}

/// One call, for no longer than `longest`: the client itself would wait for ever.
pub(super) async fn call<T>(
    doing: String,
    longest: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(longest, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Error::Api { doing, source: Arc::new(error) }),
        Err(_) => Err(Error::Timeout { doing, after: longest }),
    }
}

#[cfg(test)]
mod tests;
