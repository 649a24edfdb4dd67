//! `credentials.yaml`: the digests of the clients' API keys. The keys themselves are only with their owners.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    digest::{KeyDigest, SecretKey},
    envelope::{Entry, Envelope, RefusedClient, decode_entry, print},
    version::Version,
};
use crate::{Finding, Findings, document, name::ClientId, revision::Revision};

/// The name of the document's file, and of its key in the Secret.
pub const CREDENTIALS_FILE: &str = "credentials.yaml";

/// The keys of one client.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialClient {
    /// The id of the client, as in the policy.
    pub id: ClientId,
    /// The UID of the client, as in the policy.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// The API keys that the client may use. A key belongs to one client: clients that share a key are all denied.
    #[schemars(length(max = 8))]
    pub api_keys: Vec<ApiKeyDigest>,
}

impl CredentialClient {
    /// A client without credentials.
    pub fn new(id: ClientId, uid: impl Into<String>) -> Self {
        Self { id, uid: uid.into(), api_keys: Vec::new() }
    }
}

/// One API key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyDigest {
    /// The id of the key in audit records.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// The SHA-256 of the key's bytes, in hexadecimal digits.
    pub sha256: KeyDigest,
}

/// The server's own keys, 32 random bytes each.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerKeys {
    /// The key that seals session ids, as base64.
    pub sessions: SecretKey,
    /// The key that digests arguments in audit records, as base64.
    pub arguments: SecretKey,
}

/// Credentials to be published: printed once, and carried with their text and revision. The text is secret.
#[derive(Clone, PartialEq)]
pub struct Credentials {
    clients: Arc<[CredentialClient]>,
    keys: Option<ServerKeys>,
    revision: Revision,
    text: Arc<str>,
}

impl Credentials {
    /// Sorts and prints the credentials of these clients.
    pub fn new(mut clients: Vec<CredentialClient>, keys: Option<ServerKeys>) -> Self {
        #[derive(Serialize)]
        struct Content<'a> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            clients: &'a [CredentialClient],
            #[serde(skip_serializing_if = "Option::is_none")]
            keys: Option<&'a ServerKeys>,
        }
        clients.sort_by(|a, b| a.id.cmp(&b.id));
        clients.iter_mut().for_each(|client| client.api_keys.sort());
        let (revision, text) = print(&Content { clients: &clients, keys: keys.as_ref() });
        Self { clients: clients.into(), keys, revision, text: text.into() }
    }

    /// Sorted by id.
    pub fn clients(&self) -> &[CredentialClient] {
        &self.clients
    }

    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The document: the same bytes for the same content.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The document in the form of that contract version.
    pub fn text_in(&self, version: Version) -> &str {
        match version {
            Version::V1 => &self.text,
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("revision", &self.revision)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

/// Credentials as they were read: each client by itself, and the server's own keys by themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialsReading {
    pub revision: Revision,
    /// Whether the document states its revision. One that does not may be half written.
    pub is_sealed: bool,
    /// Sorted by id.
    pub clients: Vec<CredentialClient>,
    /// The entries that cannot be read.
    pub refused: Vec<RefusedClient>,
    /// The server's own keys; `Ok(None)` if the document has none: the server then generates keys when it starts. An unknown
    /// field of the document is reported here too.
    pub keys: Result<Option<ServerKeys>, Findings>,
    /// Whether the document has a field that is not known. It may restrict the clients, which then have no more than they had.
    pub has_unknown_fields: bool,
}

impl CredentialsReading {
    /// Reads a document. No finding repeats a value of it.
    ///
    /// # Errors
    /// Returns an error if the document as a whole cannot be trusted: it is not YAML, it is of another contract version, or its
    /// revision is not the revision of its content.
    pub fn parse(text: &str) -> Result<Self, Findings> {
        // The messages of the YAML parser may quote the document, and this one is secret.
        let document = document::tolerant(text).map_err(|_| Finding::new("", "is not one YAML document"))?;
        let mut envelope = Envelope::open(document)?;
        let owners = owners(envelope.raw_clients());
        let (mut clients, mut refused) = envelope.take_clients::<CredentialClient>();
        clients.iter_mut().for_each(|client| client.api_keys.sort());
        refuse_shared_keys(owners, &mut clients, &mut refused);
        let keys = envelope.take("keys");
        let unknown = envelope.unknown_fields(&["clients", "keys"]);
        let has_unknown_fields = !unknown.is_empty();
        let keys = if has_unknown_fields { Err(unknown) } else { keys };
        let Envelope { revision, is_sealed, .. } = envelope;
        Ok(Self { revision, is_sealed, clients, refused, keys, has_unknown_fields })
    }
}

/// The ids of the entries that contain each key, or the positions of those without an id. Entries that cannot be read count too: who
/// else has a key does not depend on the rest of an entry.
fn owners(entries: &[Value]) -> BTreeMap<KeyDigest, BTreeSet<String>> {
    let mut owners: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (n, entry) in entries.iter().enumerate() {
        let id = entry.get("id").and_then(Value::as_str).filter(|id| id.parse::<ClientId>().is_ok());
        let keys = if entry.is_object() { entry.get("apiKeys") } else { Some(entry) };
        for digest in keys.map(digests).unwrap_or_default() {
            owners.entry(digest).or_default().insert(id.map_or_else(|| format!("clients[{n}]"), str::to_owned));
        }
    }
    owners
}

/// The digests in what should be a list of keys, wherever they stand in it.
fn digests(keys: &Value) -> Vec<KeyDigest> {
    match keys {
        Value::String(text) => KeyDigest::try_from(text.clone()).into_iter().collect(),
        Value::Array(items) => items.iter().flat_map(digests).collect(),
        // The id of a key may be any text.
        Value::Object(fields) => fields.iter().filter(|(name, _)| *name != "id").flat_map(|it| digests(it.1)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// A key identifies one client: clients that share one are all refused.
fn refuse_shared_keys(
    owners: BTreeMap<KeyDigest, BTreeSet<String>>,
    clients: &mut Vec<CredentialClient>,
    refused: &mut Vec<RefusedClient>,
) {
    for shared in owners.into_values().filter(|owners| owners.len() > 1) {
        clients.retain(|client| !shared.contains(client.id.as_str()));
        let names = shared.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(" and ");
        for id in &shared {
            let Ok(id) = id.parse::<ClientId>() else { continue };
            let finding = Finding::new(format!("clients[{id}].apiKeys"), format!("{names} have the same key"));
            refused.push(RefusedClient { id: Some(id), findings: finding.into() });
        }
    }
}

impl Entry for CredentialClient {
    fn id(&self) -> &ClientId {
        &self.id
    }

    fn read(entry: Value, at: &str) -> Result<(Self, Findings), Findings> {
        decode_entry::<Self, ApiKeyDigest>(entry, "apiKeys", at)
    }
}

/// The credentials that are in force at a server, as far as they can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedCredentials {
    pub revision: Revision,
    /// Sorted by id.
    pub clients: Arc<[CredentialClient]>,
    pub keys: Option<ServerKeys>,
}

impl From<&Credentials> for PublishedCredentials {
    fn from(credentials: &Credentials) -> Self {
        let Credentials { clients, keys, revision, .. } = credentials.clone();
        Self { revision, clients, keys }
    }
}

impl From<CredentialsReading> for PublishedCredentials {
    fn from(reading: CredentialsReading) -> Self {
        let CredentialsReading { revision, clients, keys, .. } = reading;
        Self { revision, clients: clients.into(), keys: keys.ok().flatten() }
    }
}
