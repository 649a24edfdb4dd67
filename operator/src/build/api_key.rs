//! The Secret in which a client reads its API key.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_crds::McpClient;

use super::metadata::part_of_portcullis;
use crate::{
    cluster::{labels, ownership::controller_reference},
    credentials::api_key::{ApiKey, DATA_KEY},
};

/// The Secret of a client's key, with the name that its spec asks for, owned by the McpClient.
pub fn api_key_secret(client: &ObjectMeta, secret_name: &str, key: &ApiKey) -> Secret {
    let mut labels = part_of_portcullis();
    labels.insert(labels::NAME.into(), labels::API_KEY.into());
    Secret {
        metadata: ObjectMeta {
            name: Some(secret_name.to_owned()),
            namespace: client.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference::<McpClient>(client)]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(key.as_str().as_bytes().to_vec()))])),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}
