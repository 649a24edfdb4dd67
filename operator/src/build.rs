//! The complete set of objects of one server, in the form that the API server defaults to.
//!
//! Pure and deterministic: a function of the server, its plan and the operator's settings. Nothing else builds objects. To add
//! a kind: its file beside the others, and its line in [`KINDS`].

mod config_map;
mod deployment;
mod document_names;
mod guards;
mod kind;
mod metadata;
mod secret;
mod service;
mod service_account;
mod settings;

use portcullis_crds::McpServerSpec;

pub use config_map::KIND as CONFIG_MAP;
pub use deployment::{KIND as DEPLOYMENT, PodSettings};
pub use document_names::{DocumentName, DocumentNames, FoundDocuments, FoundNames};
pub use kind::{BuildInput, BuiltKind, BuiltObject};
pub use metadata::{config_map_name, credentials_secret_name, labels, selector, selector_text, url};
pub use secret::KIND as SECRET;
pub use settings::{ADMIN_PORT, CLUSTER_DOMAIN, MCP_PORT, Settings};

use crate::{object::Object, validate::ServerPlan};

/// The kinds that are built. After the documents their objects are written in this order: what an object needs comes before it.
pub const KINDS: &[BuiltKind] =
    &[service_account::KIND, config_map::KIND, secret::KIND, service::KIND, deployment::KIND];

/// All objects of a server, in the order of `kinds`. While its spec has errors the pods are built with `last`, what they have of the
/// last valid one. While it has never been valid there is nothing but what is left of its credentials.
pub fn objects(
    kinds: &'static [BuiltKind],
    server: &Object<McpServerSpec>,
    plan: &ServerPlan,
    last: Option<&PodSettings>,
    names: &DocumentNames,
    settings: &Settings,
) -> Vec<BuiltObject> {
    let spec = valid_spec(server, plan);
    let pods = spec.map(PodSettings::of_spec).or_else(|| last.cloned());
    let was_valid = plan.documents.is_some() || pods.is_some();
    let input =
        BuildInput { server, spec, pods, policy: plan.policy(), credentials: plan.credentials(), names, settings };
    let built =
        |kind: &'static BuiltKind| (kind.build)(&input).into_iter().map(move |value| BuiltObject { kind, value });
    kinds.iter().filter(|kind| was_valid || kind.is_document).flat_map(built).collect()
}

/// The spec of a server; `None` if it has errors.
pub fn valid_spec<'a>(server: &'a Object<McpServerSpec>, plan: &ServerPlan) -> Option<&'a McpServerSpec> {
    server.spec.as_ref().ok().filter(|_| plan.findings.is_empty())
}

#[cfg(test)]
mod tests;
