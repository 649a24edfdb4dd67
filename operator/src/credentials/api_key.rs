//! API keys: 256 random bits behind a prefix that leak scanners can search for.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::ByteString;
use portcullis_crds::{
    client::ApiKeyStatus,
    condition::Reason,
    contract::{ApiKeyDigest, KEY_PREFIX, KeyDigest},
};

use super::{
    issued::IssuedCredential,
    kind::{CredentialKind, CredentialStatus, DataKey, SecretData},
};

pub const KIND: CredentialKind = CredentialKind {
    field: "apiKey",
    noun: "key",
    usage: "API keys, for the header x-api-key or Authorization: Bearer",
    label: "portcullis-api-key",
    data: &[DataKey { key: DATA_KEY, file_extension: "key" }],
    secret_name: |credentials| credentials.api_key.as_ref().map(|api_key| &api_key.secret_name),
    revoke_before: |credentials| credentials.api_key.as_ref().and_then(|api_key| api_key.revoke_before.as_ref()),
    create: |random| data(&ApiKey::new(random)),
    read: |data| {
        let text = std::str::from_utf8(&data.get(DATA_KEY)?.0).ok()?;
        ApiKey::parse(text).map(|key| IssuedCredential::ApiKey(key.digest()))
    },
    status: |status| {
        let ApiKeyStatus { secret_name, key_id, issued_at } = status.api_key.clone()?;
        Some(CredentialStatus { secret_name, id: key_id, issued_at })
    },
    set_status: |status, credential| {
        status.api_key = credential.map(|CredentialStatus { secret_name, id, issued_at }| ApiKeyStatus {
            secret_name,
            key_id: id,
            issued_at,
        });
    },
    issued: Reason::KeyIssued,
};

const DATA_KEY: &str = "api-key";

/// A key as clients send it; never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
struct ApiKey(String);

impl ApiKey {
    fn new(random: [u8; 32]) -> Self {
        Self(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// Reads a key back; `None` if the text is anything else.
    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(KEY_PREFIX)?).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    fn digest(&self) -> ApiKeyDigest {
        let sha256 = KeyDigest::of(self.0.as_bytes());
        ApiKeyDigest { id: sha256.key_id(), sha256 }
    }
}

fn data(key: &ApiKey) -> SecretData {
    SecretData::from([(DATA_KEY.to_owned(), ByteString(key.0.as_bytes().to_vec()))])
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_begins_with_a_prefix_and_is_never_printed_by_debug() {
        let key = ApiKey::new([7; 32]);
        assert_eq!(key.0, "portcullis_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
        assert_eq!(key.digest().sha256, KeyDigest::of(key.0.as_bytes()));
    }

    #[test]
    fn only_a_key_that_was_made_here_is_read_back() {
        let key = ApiKey::new([7; 32]);
        assert_eq!((KIND.read)(&data(&key)), Some(IssuedCredential::ApiKey(key.digest())));
        for other in ["secret", "portcullis_BwcHBwcH", &format!("{}\n", key.0)] {
            assert_eq!((KIND.read)(&data(&ApiKey(other.to_owned()))), None, "{other:?}");
        }
    }
}
