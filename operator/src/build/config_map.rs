//! The ConfigMap of the policy that the pods enforce.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_crds::{
    McpServerSpec,
    contract::{POLICY_FILE, Policy, Version},
};

use super::{
    document_names::DocumentName,
    kind::{BuiltKind, names, value},
    metadata::{config_map_name, of_server},
};
use crate::{cluster::kind::ObjectKind, object::Object};

pub const KIND: BuiltKind = BuiltKind {
    object: ObjectKind::watched("", "v1", "ConfigMap", "configmaps"),
    is_document: true,
    needs: &[],
    is_pruned: false,
    guards: &[],
    build: |input| {
        let Some(policy) = input.policy else { return Vec::new() };
        names(input).map(|(version, name)| value(config_map(input.server, policy, version, name))).collect()
    },
};

fn config_map(server: &Object<McpServerSpec>, policy: &Policy, version: Version, name: DocumentName) -> ConfigMap {
    ConfigMap {
        metadata: of_server(server, config_map_name(server.name(), version, name)),
        data: Some(BTreeMap::from([(POLICY_FILE.to_owned(), policy.text_in(version).to_owned())])),
        ..ConfigMap::default()
    }
}
