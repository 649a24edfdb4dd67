//! The documents of a test's server, made with the types that the operator writes them with.

use portcullis_crds::credentials::{ApiKeyDigest, CredentialClient, KeyDigest, SecretKey, ServerKeys};
use portcullis_crds::{Credentials, Policy};

use crate::Error;

/// The key of one client.
#[derive(Clone, Copy, Debug)]
pub struct ClientKey<'a> {
    pub client: &'a str,
    pub uid: &'a str,
    pub key: &'a str,
}

/// A policy as a person would write it.
///
/// # Errors
/// Returns an error if the text is not a valid policy.
pub fn policy(text: &str) -> Result<Policy, Error> {
    Policy::parse(text).map_err(|findings| Error::Document(findings.to_string()))
}

/// The credentials of these clients. The server's own keys are the same in every replica of a test.
///
/// # Errors
/// Returns an error if they are not valid credentials.
pub fn credentials(keys: &[ClientKey<'_>]) -> Result<Credentials, Error> {
    let clients = keys.iter().map(credential).collect::<Result<_, _>>()?;
    let server = ServerKeys { sessions: SecretKey([7; 32]), arguments: SecretKey([8; 32]) };
    Credentials::new(clients, Some(server)).map_err(|findings| Error::Document(findings.to_string()))
}

fn credential(key: &ClientKey<'_>) -> Result<CredentialClient, Error> {
    let sha256 = KeyDigest::of(key.key.as_bytes());
    let id = key.client.parse().map_err(|_| Error::Document(format!("`{}` is not a client id", key.client)))?;
    Ok(CredentialClient { id, uid: key.uid.into(), api_keys: vec![ApiKeyDigest { id: sha256.key_id(), sha256 }] })
}
