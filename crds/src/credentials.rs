//! The credentials: digests of API keys, in a Secret beside the policy. The key itself is nowhere but with its owner.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    document,
    finding::{Finding, Findings},
    name::ClientId,
    policy::{CONTRACT, contract_of},
    revision::Revision,
};

/// The name of the document's file, and of its key in the Secret.
pub const FILE: &str = "credentials.yaml";

/// Digests of all clients' keys: made by [`Credentials::new`] or [`Credentials::parse`] only.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The version of the contract: 1.
    pub contract: u32,
    /// The SHA-256 of the content without this field; may be left out of a document written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub revision: Option<Revision>,
    #[serde(default)]
    pub clients: Vec<CredentialClient>,
    /// The server's own keys; made up at each start where they are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<ServerKeys>,
}

/// The keys of one client.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialClient {
    /// Its id in the policy.
    pub id: ClientId,
    /// Its UID, the same as in the policy.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    #[schemars(length(max = 8))]
    pub api_keys: Vec<ApiKeyDigest>,
}

/// One API key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyDigest {
    /// What audit records name it by; says nothing about the key.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// The SHA-256 of the key's bytes.
    pub sha256: KeyDigest,
}

/// The SHA-256 of a key: 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// The digest of a key as it is sent.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// What audit records name the key by: the digest of its digest, cut short.
    pub fn key_id(&self) -> String {
        hex::encode(&Sha256::digest(self.0)[..6])
    }
}

/// The server's own keys, 32 random bytes each: what seals session ids, and what digests arguments in audit records.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerKeys {
    pub sessions: SecretKey,
    pub arguments: SecretKey,
}

/// 32 secret bytes, written as base64 (RFC 4648 section 4), never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretKey(pub [u8; 32]);

impl Credentials {
    /// A document of these clients: sorted, checked, with its revision.
    ///
    /// # Errors
    /// Where a client is there twice, or a key belongs to two.
    pub fn new(clients: Vec<CredentialClient>, keys: Option<ServerKeys>) -> Result<Self, Findings> {
        let mut credentials = Self { contract: CONTRACT, revision: None, clients, keys };
        credentials.sort();
        let findings = credentials.check();
        credentials.revision = credentials.content_revision();
        findings.or(credentials)
    }

    /// Reads a document. No finding repeats a value of it.
    ///
    /// # Errors
    /// All that is wrong with it, field by field.
    pub fn parse(text: &str) -> Result<Self, Findings> {
        // The parser's own words may quote the document, and this one is secret.
        let value = document::single(text).map_err(|_| Finding::new("", "is not one YAML document"))?;
        contract_of(&value)?;
        let mut credentials: Self = document::decode(value, "")?;
        // Before the sort: a finding names the place in the document as it was written.
        let mut findings = credentials.check();
        credentials.sort();
        let content = credentials.content_revision();
        if credentials.revision.is_some() && credentials.revision != content {
            findings
                .add("revision", "is not that of the content: the document was changed by hand; leave the field out");
        }
        credentials.revision = content;
        findings.or(credentials)
    }

    /// The document, the same bytes for the same content. It is secret.
    ///
    /// # Errors
    /// Never for a document of this type; the serializer's signature has it.
    pub fn print(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }

    /// The revision; every document that was made or parsed has one.
    pub fn revision(&self) -> &str {
        self.revision.as_ref().map_or("", Revision::as_str)
    }

    fn content_revision(&self) -> Option<Revision> {
        Revision::of(&Self { revision: None, ..self.clone() }).ok()
    }

    fn sort(&mut self) {
        self.clients.sort_by(|a, b| a.id.cmp(&b.id));
        for client in &mut self.clients {
            client.api_keys.sort();
        }
    }

    fn check(&self) -> Findings {
        let mut findings = Findings::default();
        let (mut ids, mut owners) = (BTreeSet::new(), BTreeMap::new());
        for (n, client) in self.clients.iter().enumerate() {
            if !ids.insert(&client.id) {
                findings.add(format!("clients[{n}].id"), format!("`{}` is there twice", client.id));
            }
            for (m, key) in client.api_keys.iter().enumerate() {
                if let Some(owner) = owners.insert(key.sha256, &client.id) {
                    let message = format!("the same key belongs to `{owner}`; a key names one client");
                    findings.add(format!("clients[{n}].apiKeys[{m}].sha256"), message);
                }
            }
        }
        findings
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str, key: &[u8]) -> CredentialClient {
        let sha256 = KeyDigest::of(key);
        CredentialClient {
            id: id.parse().unwrap(),
            uid: format!("uid-of-{id}"),
            api_keys: vec![ApiKeyDigest { id: sha256.key_id(), sha256 }],
        }
    }

    #[test]
    fn what_is_printed_parses_to_the_same() {
        let keys = ServerKeys { sessions: SecretKey([1; 32]), arguments: SecretKey([2; 32]) };
        let made = Credentials::new(vec![client("b", b"2"), client("a", b"1")], Some(keys)).unwrap();
        let text = made.print().unwrap();
        assert_eq!(Credentials::parse(&text).unwrap(), made);
        let shuffled = Credentials::new(vec![client("a", b"1"), client("b", b"2")], made.keys.clone()).unwrap();
        assert_eq!(shuffled.print().unwrap(), text);
        assert!(!format!("{made:?}").contains("AQEB"), "Debug shows no key");
    }

    #[test]
    fn one_key_for_two_clients_is_refused_by_its_field() {
        let findings = Credentials::new(vec![client("a", b"1"), client("b", b"1")], None).unwrap_err();
        assert_eq!(findings.0[0].path, "clients[1].apiKeys[0].sha256");
    }

    #[test]
    fn a_client_that_is_there_twice_is_refused_wherever_it_stands() {
        let one = |id: &str, key: &str| {
            format!(
                "{{id: {id}, uid: u, apiKeys: [{{id: k, sha256: '{}'}}]}}",
                String::from(KeyDigest::of(key.as_bytes()))
            )
        };
        let text = format!("contract: 1\nclients: [{}, {}, {}]", one("a", "1"), one("b", "2"), one("a", "3"));
        assert_eq!(Credentials::parse(&text).unwrap_err().0[0].path, "clients[2].id");
    }

    #[test]
    fn a_refusal_repeats_nothing_of_the_document() {
        for text in [
            "contract: 1\nclients: [{id: a, uid: u, apiKeys: [{id: k, sha256: canary}]}]",
            "contract: 1\nclients: [{id: a, uid: u, apiKeys: canary}]",
            "contract: 1\nkeys: {sessions: canary, arguments: canary}",
            "contract: 1\nclients: [{id: 'canary canary', uid: u, apiKeys: []}]",
            "contract: [canary",
        ] {
            let findings = Credentials::parse(text).unwrap_err().to_string();
            assert!(!findings.contains("canary"), "{findings}");
        }
    }

    #[test]
    fn another_contract_is_refused_before_anything_else() {
        let findings = Credentials::parse("contract: 2\nnew: field").unwrap_err();
        assert_eq!(findings.0[0].path, "contract");
    }
}
