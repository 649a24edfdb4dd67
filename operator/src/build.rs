//! The complete set of objects of one server, as typed values in the form that the API server defaults to.
//!
//! Pure and deterministic: a function of the server, its plan and the operator's settings. No other path makes objects.

mod api_key;
mod config_map;
mod deployment;
mod metadata;
mod secret;
mod service;
mod service_account;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
};
use portcullis_crds::{McpServerSpec, contract::Version};

pub use api_key::api_key_secret;
pub use metadata::{config_map_name, credentials_secret_name, labels, selector, selector_text, url};

use crate::{
    cluster::kind::ObjectKind,
    validate::{Object, ServerPlan},
};

/// The kinds of the objects that are built.
pub const SERVICE_ACCOUNT: ObjectKind = service_account::KIND;
pub const CONFIG_MAP: ObjectKind = config_map::KIND;
pub const SECRET: ObjectKind = secret::KIND;
pub const SERVICE: ObjectKind = service::KIND;
pub const DEPLOYMENT: ObjectKind = deployment::KIND;
/// Where a pod serves MCP.
pub const MCP_PORT: u16 = 3000;
/// Where a pod answers kubelet and the operator.
pub const ADMIN_PORT: u16 = 9090;

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
pub fn objects(server: &Object<McpServerSpec>, plan: &ServerPlan, settings: &Settings) -> Option<Objects> {
    let documents = plan.documents.as_ref()?;
    let valid = server.spec.as_ref().ok().filter(|_| plan.findings.is_empty());
    Some(Objects {
        service_account: service_account::service_account(server),
        policy: config_map::policy(server, &documents.policy, Version::CURRENT),
        credentials: secret::credentials(server, &documents.credentials, Version::CURRENT),
        service: service::service(server),
        deployment: valid.map(|spec| deployment::deployment(server, spec, settings)),
    })
}

#[cfg(test)]
mod tests;
