//! The complete set of objects of one server, in the form that the API server defaults to.
//!
//! Pure and deterministic: a function of the server, its plan and the operator's settings. Nothing else builds objects. To add
//! a kind: its file beside the others, and its line in [`KINDS`].

mod config_map;
mod deployment;
mod guards;
mod kind;
mod metadata;
mod secret;
mod service;
mod service_account;
mod settings;

use portcullis_crds::McpServerSpec;

pub use config_map::KIND as CONFIG_MAP;
pub use deployment::KIND as DEPLOYMENT;
pub use kind::{BuildInput, BuiltKind, BuiltObject};
pub use metadata::{config_map_name, credentials_secret_name, labels, selector, selector_text, url};
pub use secret::KIND as SECRET;
pub use settings::{ADMIN_PORT, MCP_PORT, Settings};

use crate::{object::Object, validate::ServerPlan};

/// The kinds that are built. After the documents their objects are written in this order: what an object needs comes before it.
pub const KINDS: &[BuiltKind] =
    &[service_account::KIND, config_map::KIND, secret::KIND, service::KIND, deployment::KIND];

/// All objects of a server, in the order of `kinds`. None while it has never been valid; only credentials while no policy can be
/// published.
pub fn objects(
    kinds: &'static [BuiltKind],
    server: &Object<McpServerSpec>,
    plan: &ServerPlan,
    settings: &Settings,
) -> Vec<BuiltObject> {
    let Some(documents) = &plan.documents else {
        let kind = kinds.iter().find(|kind| kind.object.kind == SECRET.object.kind);
        let values = plan.credentials.iter().flat_map(|credentials| secret::objects(server, credentials));
        return kind.map(|kind| values.map(|value| BuiltObject { kind, value }).collect()).unwrap_or_default();
    };
    let spec = server.spec.as_ref().ok().filter(|_| plan.findings.is_empty());
    let input = BuildInput { server, spec, documents, settings };
    let built =
        |kind: &'static BuiltKind| (kind.build)(&input).into_iter().map(move |value| BuiltObject { kind, value });
    kinds.iter().flat_map(built).collect()
}

#[cfg(test)]
mod tests;
