//! A credential as servers recognise it. Nothing here is secret.

use portcullis_crds::{
    ClientId,
    contract::{ApiKeyDigest, CredentialClient},
};

/// A credential that was issued to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuedCredential {
    ApiKey(ApiKeyDigest),
}

impl IssuedCredential {
    /// The name of the credential in audit records and in status.
    pub fn id(&self) -> &str {
        match self {
            Self::ApiKey(digest) => &digest.id,
        }
    }
}

/// A client's entry in the credentials that are published.
pub fn entry(id: ClientId, uid: String, issued: &[IssuedCredential]) -> CredentialClient {
    let mut entry = CredentialClient::new(id, uid);
    for credential in issued {
        match credential {
            IssuedCredential::ApiKey(digest) => entry.api_keys.push(digest.clone()),
        }
    }
    entry
}
