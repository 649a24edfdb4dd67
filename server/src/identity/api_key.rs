//! API keys, in the header `x-api-key`.
//!
//! Keys are 256 random bits, so only their SHA-256 is kept. Looking up the digest in a hash map reveals nothing to a guesser:
//! the time depends on the digest, which cannot be steered towards a known one.

use std::time::Duration;

use portcullis_crds::contract::KeyDigest;

use super::{Credential, CredentialKind, Identity, Presented, Refusal};
use crate::{
    audit::record::{AuthFailure, ClientRefusal},
    config::Snapshot,
    protocol::headers::Header,
};

const HEADER: &str = "x-api-key";

/// The kind of API keys.
pub(super) struct ApiKey;

impl CredentialKind for ApiKey {
    fn is_offered(&self, snapshot: &Snapshot) -> bool {
        snapshot.offers_api_keys
    }

    fn header(&self) -> Option<&'static str> {
        Some(HEADER)
    }

    fn required(&self) -> &'static str {
        "API key required"
    }

    fn invalid(&self) -> &'static str {
        "Invalid API key"
    }

    fn identify<'s>(
        &self,
        snapshot: &'s Snapshot,
        presented: &Presented<'_>,
        _: Duration,
    ) -> Option<Result<Identity<'s>, Refusal<'s>>> {
        let key = match presented.headers.get(HEADER) {
            Header::Once(key) if !key.is_empty() => key,
            _ => return None,
        };
        let unknown = Refusal::Unauthenticated { message: self.invalid(), reason: AuthFailure::UnknownKey };
        let Some(entry) = snapshot.api_key(&KeyDigest::of(key)) else { return Some(Err(unknown)) };
        let credential = Credential { id: &entry.key_id, last_recorded: &entry.last_recorded };
        Some(match entry.client.as_deref() {
            Some(client) => Ok(Identity::of_client(client, credential)),
            None => Err(Refusal::ClientRefused {
                client: entry.id.as_str(),
                credential: credential.id,
                reason: ClientRefusal::NotRecognised,
            }),
        })
    }
}
