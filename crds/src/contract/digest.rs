//! Digests of API keys, and secret keys: byte strings with a textual form that `Debug` never prints.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What every key that the operator makes begins with. A bearer token that begins with it is a key, and nothing else.
pub const KEY_PREFIX: &str = "portcullis_";

/// The SHA-256 of a key: 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// The digest of a key as it is sent.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The id of the key in audit records: the first six bytes of the digest's own digest, in hexadecimal.
    pub fn key_id(&self) -> String {
        hex::encode(&Sha256::digest(self.0)[..6])
    }
}

/// 32 secret bytes, written as base64 (RFC 4648 section 4), never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretKey(pub [u8; 32]);

impl TryFrom<String> for KeyDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| "must be 64 hexadecimal digits: the SHA-256 of the key")?;
        Ok(Self(digest))
    }
}

impl From<KeyDigest> for String {
    fn from(digest: KeyDigest) -> String {
        hex::encode(digest.0)
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({})", self.key_id())
    }
}

impl JsonSchema for KeyDigest {
    fn schema_name() -> Cow<'static, str> {
        "KeyDigest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
    }
}

impl TryFrom<String> for SecretKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text).map_err(|_| "must be base64 of 32 bytes")?;
        Ok(Self(bytes.try_into().map_err(|_| "must be base64 of 32 bytes")?))
    }
}

impl From<SecretKey> for String {
    fn from(key: SecretKey) -> String {
        STANDARD.encode(key.0)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl JsonSchema for SecretKey {
    fn schema_name() -> Cow<'static, str> {
        "SecretKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"})
    }
}
