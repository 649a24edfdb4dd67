//! The digests of the clients' keys, and the server's own keys.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use portcullis_crds::{
    McpServerSpec,
    contract::{CREDENTIALS_FILE, Credentials, Version},
};

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

pub(super) fn credentials(server: &Object<McpServerSpec>, credentials: &Credentials, version: Version) -> Secret {
    let text = credentials.text().as_bytes().to_vec();
    Secret {
        metadata: of_server(server, credentials_secret_name(server.name(), version)),
        data: Some(BTreeMap::from([(CREDENTIALS_FILE.to_owned(), ByteString(text))])),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}
