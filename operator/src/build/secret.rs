//! The Secret of the digests of the clients' keys, and of the server's own keys.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use portcullis_crds::{
    McpServerSpec,
    contract::{CREDENTIALS_FILE, Credentials, Version},
};

use serde_json::Value;

use super::{
    kind::{BuiltKind, value},
    metadata::{credentials_secret_name, of_server},
};
use crate::{cluster::kind::ObjectKind, object::Object};

pub const KIND: BuiltKind = BuiltKind {
    object: ObjectKind::on_demand("", "v1", "Secret", "secrets"),
    is_document: true,
    needs: &[],
    is_pruned: false,
    guards: &[],
    build: |input| objects(input.server, &input.documents.credentials),
};

/// The Secret in the form of each contract version.
pub(super) fn objects(server: &Object<McpServerSpec>, credentials: &Credentials) -> Vec<Value> {
    Version::WRITTEN.iter().map(|version| value(secret(server, credentials, *version))).collect()
}

fn secret(server: &Object<McpServerSpec>, credentials: &Credentials, version: Version) -> Secret {
    let text = credentials.text_in(version).as_bytes().to_vec();
    Secret {
        metadata: of_server(server, credentials_secret_name(server.name(), version)),
        data: Some(BTreeMap::from([(CREDENTIALS_FILE.to_owned(), ByteString(text))])),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}
