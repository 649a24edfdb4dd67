//! The digests of the clients' keys, and the server's own keys.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use portcullis_crds::{Credentials, McpServerSpec, credentials::FILE};

use super::metadata::{credentials_secret_name, of_server};
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
    kind: "Secret",
    plural: "secrets",
    retrieval: Retrieval::OnDemand,
    lists: ListRules::BUILT_IN,
};

pub(super) fn credentials(server: &Object<McpServerSpec>, credentials: &Credentials) -> Secret {
    let text = credentials.print().expect("checked credentials must have a YAML form");
    Secret {
        metadata: of_server(server, credentials_secret_name(server.name())),
        data: Some(BTreeMap::from([(FILE.to_owned(), ByteString(text.into_bytes()))])),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}
