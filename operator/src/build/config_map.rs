//! The policy that the pods obey.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_crds::{
    McpServerSpec,
    contract::{POLICY_FILE, Policy, Version},
};

use super::metadata::{config_map_name, of_server};
use crate::{
    cluster::{
        drift::ListRules,
        kind::{ObjectKind, Retrieval},
    },
    validate::Object,
};

pub(super) const KIND: ObjectKind = ObjectKind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    retrieval: Retrieval::Watched,
    lists: ListRules::BUILT_IN,
};

pub(super) fn policy(server: &Object<McpServerSpec>, policy: &Policy, version: Version) -> ConfigMap {
    ConfigMap {
        metadata: of_server(server, config_map_name(server.name(), version)),
        data: Some(BTreeMap::from([(POLICY_FILE.to_owned(), policy.text().to_owned())])),
        ..ConfigMap::default()
    }
}
