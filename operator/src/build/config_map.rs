//! The ConfigMap of the policy that the pods enforce.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_crds::{
    McpServerSpec,
    contract::{POLICY_FILE, Policy, Version},
};

use super::{
    kind::{BuiltKind, value},
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
        let of = |policy| Version::WRITTEN.iter().map(move |version| value(config_map(input.server, policy, *version)));
        input.policy.into_iter().flat_map(of).collect()
    },
};

fn config_map(server: &Object<McpServerSpec>, policy: &Policy, version: Version) -> ConfigMap {
    ConfigMap {
        metadata: of_server(server, config_map_name(server.name(), version)),
        data: Some(BTreeMap::from([(POLICY_FILE.to_owned(), policy.text_in(version).to_owned())])),
        ..ConfigMap::default()
    }
}
