//! API keys: 256 random bits behind a prefix that leak scanners can look for.

use std::fmt;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_crds::credentials::ApiKeyDigest;

/// The key of the Secret's data that holds the API key.
pub const DATA_KEY: &str = "api-key";

/// A key as clients send it; never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// What to do about a client's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is not there: create it (POST) with a new key.
    Create,
    /// It is the client's and holds a key.
    Keep(ApiKeyDigest),
    /// It is the client's, and what it holds is no key that the operator made: put a new one in.
    Replace,
    /// It is there and is not the client's: touch nothing.
    NotOwned,
}

/// What to do, given the Secret of the name that the client's spec says.
pub fn plan(_client: &ObjectMeta, _existing: Option<&Secret>) -> Plan {
    unimplemented!()
}

impl ApiKey {
    /// A key of random bytes.
    pub fn new(_random: [u8; 32]) -> Self {
        unimplemented!()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What servers know it by.
    pub fn digest(&self) -> ApiKeyDigest {
        unimplemented!()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}
