//! API keys, in the header `x-api-key` or as a bearer token.
//!
//! A bearer token is a key if it begins with the prefix of the operator's keys, and is never looked at as anything else then.
//! Keys are 256 random bits, so only their SHA-256 is kept. Looking up the digest in a hash map reveals nothing to a guesser:
//! the time depends on the digest, which cannot be steered towards a known one.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use http::{HeaderName, header::AUTHORIZATION};
use portcullis_crds::{
    ClientId,
    contract::{KEY_PREFIX, KeyDigest, KeyHeader, MethodMode},
};

use super::{Authenticator, Client, Credential, CredentialKind, Identity, Presented, Refusal, Sources};
use crate::{
    audit::record::{AuthFailure, ClientRefusal},
    hash::HashMap,
    protocol::headers::{Header, RequestHeaders},
};

static HEADER: HeaderName = HeaderName::from_static("x-api-key");
static HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), AUTHORIZATION];
const SCHEME: &str = "Bearer";
const INVALID: &str = "Invalid API key";

/// The kind of API keys.
pub(super) struct ApiKey;

/// The API keys of the credentials.
struct ApiKeys {
    header: KeyHeader,
    entries: HashMap<KeyDigest, Entry>,
}

struct Entry {
    /// The id of the key in audit records.
    key_id: String,
    owner: ClientId,
    /// The owner in the policy; `None` if the policy has no client of the same id and UID.
    client: Option<Arc<Client>>,
    last_recorded: AtomicU64,
}

impl CredentialKind for ApiKey {
    fn headers(&self) -> &'static [HeaderName] {
        &HEADERS
    }

    /// A scheme of our own: a challenge for bearer tokens would make clients look for an authorization server.
    fn challenge(&self, Sources { realm, settings, .. }: &Sources<'_>) -> String {
        let header = if settings.api_key.header == KeyHeader::Bearer { &AUTHORIZATION } else { &HEADER };
        format!(r#"ApiKey realm="{realm}", header="{header}""#)
    }

    fn required(&self) -> &'static str {
        "API key required"
    }

    fn invalid(&self) -> &'static str {
        INVALID
    }

    fn authenticator(&self, sources: &Sources<'_>) -> Option<Box<dyn Authenticator>> {
        if sources.settings.api_key.mode == MethodMode::Off {
            return None;
        }
        let mut keys = HashMap::default();
        for owner in sources.credentials {
            let client = sources.clients.get(&owner.id, &owner.uid);
            for key in &owner.api_keys {
                let entry = Entry {
                    key_id: key.id.clone(),
                    owner: owner.id.clone(),
                    client: client.cloned(),
                    last_recorded: AtomicU64::new(0),
                };
                keys.insert(key.sha256, entry);
            }
        }
        Some(Box::new(ApiKeys { header: sources.settings.api_key.header, entries: keys }))
    }
}

impl Authenticator for ApiKeys {
    fn identify<'s>(&'s self, presented: &Presented<'_>, _: Duration) -> Option<Result<Identity<'s>, Refusal<'s>>> {
        Some(self.owner(KeyDigest::of(self.presented(presented.headers)?)))
    }

    fn identify_again<'s>(&'s self, earlier: &Identity<'_>) -> Option<Result<Identity<'s>, Refusal<'s>>> {
        earlier.credential.digest.map(|digest| self.owner(digest))
    }
}

impl ApiKeys {
    /// The key in one of the headers that it is read from.
    fn presented<'p>(&self, headers: &'p dyn RequestHeaders) -> Option<&'p [u8]> {
        let key = match (self.header, headers.get(&HEADER)) {
            (KeyHeader::Any | KeyHeader::XApiKey, Header::Once(key)) if !key.is_empty() => Some(key),
            _ => None,
        };
        let bearer = || match (self.header, headers.get(&AUTHORIZATION)) {
            (KeyHeader::Any | KeyHeader::Bearer, Header::Once(value)) => bearer_key(value),
            _ => None,
        };
        key.or_else(bearer)
    }

    /// The identity of the key with this digest.
    fn owner(&self, digest: KeyDigest) -> Result<Identity<'_>, Refusal<'_>> {
        let Some(entry) = self.entries.get(&digest) else {
            return Err(Refusal::Unauthenticated { message: INVALID, reason: AuthFailure::UnknownKey });
        };
        let credential = Credential { id: &entry.key_id, digest: Some(digest), last_recorded: &entry.last_recorded };
        match entry.client.as_deref() {
            Some(client) => Ok(Identity::of_client(client, credential)),
            None => Err(Refusal::ClientRefused {
                client: entry.owner.as_str(),
                credential: credential.id,
                reason: ClientRefusal::NotRecognised,
            }),
        }
    }
}

/// The key of the operator's making in `Bearer <key>` (RFC 6750, section 2.1). The scheme's case does not matter (RFC 9110, section 11.1).
fn bearer_key(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let token = rest.trim_ascii_start();
    let is_bearer = scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) && token.len() < rest.len();
    (is_bearer && token.starts_with(KEY_PREFIX.as_bytes())).then_some(token)
}
