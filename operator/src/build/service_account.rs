//! The account that the pods run as. It may do nothing, and no pod gets its token.

use k8s_openapi::api::core::v1::ServiceAccount;
use portcullis_crds::McpServerSpec;

use super::metadata::of_server;
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
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    retrieval: Retrieval::Watched,
    lists: ListRules::BUILT_IN,
};

pub(super) fn service_account(server: &Object<McpServerSpec>) -> ServiceAccount {
    ServiceAccount {
        metadata: of_server(server, server.name().to_owned()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
