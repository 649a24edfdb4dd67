//! What a cluster adds to manifests: identities, credentials and what is in force. [`NoCluster`] takes its place on files alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::NamespacedName;
use portcullis_crds::contract::ServerKeys;
use sha2::{Digest, Sha256};

use super::object::ObjectId;
use crate::{
    build::CLUSTER_DOMAIN,
    credentials::{IssuedCredential, server_keys},
    validate::Published,
};

/// What a cluster adds to the objects of a folder.
pub trait ClusterState {
    /// An object's UID and creation time.
    fn metadata(&self, id: &ObjectId) -> ObjectMeta;
    /// The credentials that a client has.
    fn credentials(&self, client: &NamespacedName) -> Vec<IssuedCredential>;
    /// What is in force on a server.
    fn published(&self, server: &NamespacedName) -> Published;
    /// A server's own keys.
    fn server_keys(&self, server: &NamespacedName) -> ServerKeys;
    /// The domain of the names of Services.
    fn cluster_domain(&self) -> &str {
        CLUSTER_DOMAIN
    }
}

/// Nothing was ever published and no client has a credential. UIDs are derived from the objects' names, so that the same folder gives
/// the same bytes.
pub struct NoCluster<'a> {
    pub cluster_domain: &'a str,
}

impl Default for NoCluster<'_> {
    fn default() -> Self {
        Self { cluster_domain: CLUSTER_DOMAIN }
    }
}

impl ClusterState for NoCluster<'_> {
    fn metadata(&self, id: &ObjectId) -> ObjectMeta {
        ObjectMeta { uid: Some(uuid(Sha256::digest(id.to_string()).as_slice())), ..ObjectMeta::default() }
    }

    fn credentials(&self, _: &NamespacedName) -> Vec<IssuedCredential> {
        Vec::new()
    }

    fn published(&self, _: &NamespacedName) -> Published {
        Published::default()
    }

    fn server_keys(&self, _: &NamespacedName) -> ServerKeys {
        server_keys([0; 64])
    }

    fn cluster_domain(&self) -> &str {
        self.cluster_domain
    }
}

/// Bytes written as a UUID of version 8 (RFC 9562 section 5.8).
pub fn uuid(bytes: &[u8]) -> String {
    let mut bytes: [u8; 16] = std::array::from_fn(|n| bytes.get(n).copied().unwrap_or_default());
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}
