//! The ServiceAccount of the pods. It has no rights, and no pod gets its token.

use k8s_openapi::api::core::v1::ServiceAccount;
use portcullis_crds::McpServerSpec;

use super::{
    guards,
    kind::{BuiltKind, value},
    metadata::of_server,
};
use crate::{cluster::kind::ObjectKind, object::Object};

pub const KIND: BuiltKind = BuiltKind {
    object: ObjectKind::watched("", "v1", "ServiceAccount", "serviceaccounts"),
    is_document: false,
    needs: &[],
    is_pruned: false,
    guards: guards::SERVICE_ACCOUNT,
    build: |input| vec![value(service_account(input.server))],
};

fn service_account(server: &Object<McpServerSpec>) -> ServiceAccount {
    ServiceAccount {
        metadata: of_server(server, server.name().to_owned()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
