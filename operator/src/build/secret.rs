//! The Secret of the digests of the clients' keys, and of the server's own keys.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use portcullis_crds::{
    McpServerSpec,
    contract::{CREDENTIALS_FILE, Credentials, Version},
};

use super::{
    document_names::DocumentName,
    kind::{BuiltKind, names, value},
    metadata::{credentials_secret_name, of_server},
};
use crate::{cluster::kind::ObjectKind, object::Object};

pub const KIND: BuiltKind = BuiltKind {
    object: ObjectKind::on_demand("", "v1", "Secret", "secrets"),
    is_document: true,
    needs: &[],
    is_pruned: false,
    guards: &[],
    build: |input| {
        let Some(credentials) = input.credentials else { return Vec::new() };
        names(input).map(|(version, name)| value(secret(input.server, credentials, version, name))).collect()
    },
};

fn secret(server: &Object<McpServerSpec>, credentials: &Credentials, version: Version, name: DocumentName) -> Secret {
    let text = credentials.text_in(version).as_bytes().to_vec();
    Secret {
        metadata: of_server(server, credentials_secret_name(server.name(), version, name)),
        data: Some(BTreeMap::from([(CREDENTIALS_FILE.to_owned(), ByteString(text))])),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}
