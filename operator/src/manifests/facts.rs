//! The facts of a folder by itself: nothing was ever published, and nobody has a key yet.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::NamespacedName;
use portcullis_crds::contract::{ApiKeyDigest, ServerKeys};
use sha2::{Digest, Sha256};

use super::{Facts, ObjectId};
use crate::{credentials, validate::Published};

/// UIDs are made of the objects' names, so that the same folder gives the same bytes.
pub struct FolderAlone;

impl Facts for FolderAlone {
    fn metadata(&self, id: &ObjectId) -> ObjectMeta {
        ObjectMeta { uid: Some(uuid(Sha256::digest(id.to_string()).as_slice())), ..ObjectMeta::default() }
    }

    fn keys(&self, _: &NamespacedName) -> Vec<ApiKeyDigest> {
        Vec::new()
    }

    fn published(&self, _: &NamespacedName) -> Published {
        Published::default()
    }

    fn server_keys(&self, _: &NamespacedName) -> ServerKeys {
        credentials::server_keys([0; 64])
    }
}

/// Bytes written as a UUID (RFC 9562 section 5.8: of our own making).
pub fn uuid(bytes: &[u8]) -> String {
    let mut bytes: [u8; 16] = std::array::from_fn(|n| bytes.get(n).copied().unwrap_or_default());
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}
