//! What all objects of a server have in common: their names, labels and owner.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{McpServer, McpServerSpec, contract::Version};

use super::{document_names::DocumentName, settings::MCP_PORT};
use crate::{
    cluster::{labels, ownership::controller_reference},
    object::Object,
};

/// The ConfigMap of a server's policy. Its name carries the version of the contract, so that the documents of two versions
/// exist side by side while an upgrade replaces the pods.
pub fn config_map_name(server: &str, version: Version, name: DocumentName) -> String {
    format!("{server}-policy-{version}{}", name.suffix())
}

/// The Secret of a server's credentials. Its name carries the version of the contract, as that of the policy does.
pub fn credentials_secret_name(server: &str, version: Version, name: DocumentName) -> String {
    format!("{server}-credentials-{version}{}", name.suffix())
}

/// Where agents in the cluster reach a server.
pub fn url(namespace: &str, server: &str) -> String {
    format!("http://{server}.{namespace}.svc:{MCP_PORT}/mcp")
}

/// The labels by which a server's Deployment and Service select its pods. They can never change: a selector is immutable.
pub fn selector(server: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(labels::NAME.into(), labels::SERVER.into()), (labels::INSTANCE.into(), server.to_owned())])
}

/// The same as text, as a label selector of the API is written.
pub fn selector_text(server: &str) -> String {
    selector(server).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// The labels that all objects and pods of a server carry.
pub fn labels(server: &str) -> BTreeMap<String, String> {
    let mut labels = labels::part_of_portcullis();
    labels.append(&mut selector(server));
    labels
}

/// The metadata of a server's object of this name.
pub(super) fn of_server(server: &Object<McpServerSpec>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(server.namespace().to_owned()),
        labels: Some(labels(server.name())),
        owner_references: Some(vec![controller_reference::<McpServer>(&server.metadata)]),
        ..ObjectMeta::default()
    }
}
