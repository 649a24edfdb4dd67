//! API keys, in the header `x-api-key`.
//!
//! Keys are 256 random bits, so only their SHA-256 is kept. Looking up the digest in a hash map reveals nothing to a guesser:
//! the time depends on the digest, which cannot be steered towards a known one.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use portcullis_crds::{
    ClientId,
    contract::{KeyDigest, MethodMode},
};

use super::{Authenticator, Client, Credential, CredentialKind, Identity, Presented, Refusal, Sources};
use crate::{
    audit::record::{AuthFailure, ClientRefusal},
    protocol::headers::Header,
};

const HEADER: &str = "x-api-key";
const INVALID: &str = "Invalid API key";

/// The kind of API keys.
pub(super) struct ApiKey;

/// The API keys of the credentials, by their digests.
struct ApiKeys(HashMap<KeyDigest, Entry>);

struct Entry {
    /// The id of the key in audit records.
    key_id: String,
    owner: ClientId,
    /// The owner in the policy; `None` if the policy has no client of the same id and UID.
    client: Option<Arc<Client>>,
    last_recorded: AtomicU64,
}

impl CredentialKind for ApiKey {
    fn header(&self) -> Option<&'static str> {
        Some(HEADER)
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
        let mut keys = HashMap::new();
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
        Some(Box::new(ApiKeys(keys)))
    }
}

impl Authenticator for ApiKeys {
    fn identify<'s>(&'s self, presented: &Presented<'_>, _: Duration) -> Option<Result<Identity<'s>, Refusal<'s>>> {
        let key = match presented.headers.get(HEADER) {
            Header::Once(key) if !key.is_empty() => key,
            _ => return None,
        };
        Some(self.owner(KeyDigest::of(key)))
    }

    fn identify_again<'s>(&'s self, earlier: &Identity<'_>) -> Option<Result<Identity<'s>, Refusal<'s>>> {
        earlier.credential.digest.map(|digest| self.owner(digest))
    }
}

impl ApiKeys {
    /// The identity of the key with this digest.
    fn owner(&self, digest: KeyDigest) -> Result<Identity<'_>, Refusal<'_>> {
        let Some(entry) = self.0.get(&digest) else {
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
