//! The complete set of objects of one server, as typed values in the form that the API server defaults to.
//!
//! Pure and deterministic: a function of the server, its plan and the operator's settings. No other path makes objects.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::McpServerSpec;

use crate::{
    credentials::api_key::ApiKey,
    validate::{Object, ServerPlan},
};

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "portcullis-operator";

/// What the operator was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image that pods run.
    pub server_image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
}

/// The objects of one server, in the order in which they are written: what a pod needs comes before the pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    pub service_account: ServiceAccount,
    pub policy: ConfigMap,
    pub credentials: Secret,
    pub service: Service,
    /// None while the McpServer is invalid: the pods that run stay as they are.
    pub deployment: Option<Deployment>,
}

/// All objects of a server; none while it has never been valid.
pub fn objects(_server: &Object<McpServerSpec>, _plan: &ServerPlan, _settings: &Settings) -> Option<Objects> {
    unimplemented!()
}

/// The Secret that a client's key is handed over in, named as its spec says, owned by the McpClient.
pub fn api_key_secret(_client: &ObjectMeta, _secret_name: &str, _key: &ApiKey) -> Secret {
    unimplemented!()
}

/// The labels that all objects and pods of a server carry, and that its Deployment and Service select pods by.
pub fn labels(_server: &str) -> std::collections::BTreeMap<String, String> {
    unimplemented!()
}
