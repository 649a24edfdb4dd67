//! API keys: 256 random bits behind a prefix that secret scanners can search for.
//!
//! A key that is in its client's Secret is kept for ever: nothing here replaces a valid key.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_crds::contract::{ApiKeyDigest, KeyDigest};

use crate::cluster::ownership::is_controlled_by;

/// The key of the Secret's data that holds the API key.
pub const DATA_KEY: &str = "api-key";
/// What every key begins with.
const PREFIX: &str = "portcullis_";

/// A key as clients send it; `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// What to do about a client's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It does not exist: create it with a new key.
    Create,
    /// It is the client's and holds a key.
    Keep(ApiKeyDigest),
    /// It is the client's, and what it holds was not made by the operator: put a new key in. A key that a person chose is not
    /// accepted: its digest is published, which only 256 random bits withstand.
    Replace,
    /// It exists and is not the client's: touch nothing.
    NotOwned,
}

/// What to do, given the Secret that the client's spec names.
pub fn plan(client: &ObjectMeta, existing: Option<&Secret>) -> Plan {
    let Some(secret) = existing else { return Plan::Create };
    if !is_controlled_by(&secret.metadata, client) {
        return Plan::NotOwned;
    }
    let data = secret.data.as_ref().and_then(|data| data.get(DATA_KEY));
    let key = data.and_then(|data| std::str::from_utf8(&data.0).ok()).and_then(ApiKey::parse);
    key.map_or(Plan::Replace, |key| Plan::Keep(key.digest()))
}

impl ApiKey {
    /// A key of random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// A key that the operator made; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is published of it.
    pub fn digest(&self) -> ApiKeyDigest {
        let sha256 = KeyDigest::of(self.0.as_bytes());
        ApiKeyDigest { id: sha256.key_id(), sha256 }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use portcullis_crds::McpClient;

    use super::*;
    use crate::cluster::ownership::controller_reference;

    fn client(uid: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some("bot".into()),
            namespace: Some("sales".into()),
            uid: Some(uid.into()),
            ..ObjectMeta::default()
        }
    }

    fn holding(text: &str) -> Secret {
        let owner = controller_reference::<McpClient>(&client("u1"));
        Secret {
            metadata: ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([(DATA_KEY.into(), ByteString(text.into()))])),
            ..Secret::default()
        }
    }

    #[test]
    fn a_key_has_a_prefix_and_debug_does_not_print_it() {
        let key = ApiKey::new([7; 32]);
        assert_eq!(key.as_str(), "portcullis_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
        assert_eq!(key.digest().sha256, KeyDigest::of(key.as_str().as_bytes()));
    }

    #[test]
    fn a_key_that_exists_is_kept_and_the_secret_of_another_owner_is_left_alone() {
        let key = ApiKey::new([7; 32]);
        let ours = holding(key.as_str());
        let foreign =
            Secret { metadata: ObjectMeta { owner_references: None, ..ours.metadata.clone() }, ..ours.clone() };
        for (what, existing, expected) in [
            ("nothing exists", None, Plan::Create),
            ("the client's own", Some(ours.clone()), Plan::Keep(key.digest())),
            ("nobody's", Some(foreign), Plan::NotOwned),
            ("no data", Some(Secret { data: None, ..ours.clone() }), Plan::Replace),
            ("a key that a person chose", Some(holding("secret")), Plan::Replace),
            ("a shorter key", Some(holding("portcullis_BwcHBwcH")), Plan::Replace),
            ("a key with white space", Some(holding(&format!("{}\n", key.as_str()))), Plan::Replace),
        ] {
            assert_eq!(plan(&client("u1"), existing.as_ref()), expected, "{what}");
        }
        let created_again = plan(&client("u2"), Some(&ours));
        assert_eq!(
            created_again,
            Plan::NotOwned,
            "a client that is created again does not get the key of the former one"
        );
    }
}
