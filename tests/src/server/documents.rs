//! The documents of a test's server, made with the types that the operator writes them with.

use portcullis_crds::contract::{
    ApiKeyDigest, CredentialClient, Credentials, KeyDigest, Policy, PolicyReading, SecretKey, ServerKeys,
};
use portcullis_crds::{Findings, check};

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
    let refused = |findings: Findings| Error::Document(findings.to_string());
    let reading = PolicyReading::parse(text).map_err(refused)?;
    if let Some(client) = reading.refused.into_iter().next() {
        return Err(refused(client.findings));
    }
    let half = check::server_half(reading.server.strict().map_err(refused)?).map_err(refused)?;
    Ok(Policy::new(half.half().clone(), reading.clients))
}

/// The credentials of these clients. The server's own keys are the same in every replica of a test.
///
/// # Errors
/// Returns an error if a client's name is not a valid id.
pub fn credentials(keys: &[ClientKey<'_>]) -> Result<Credentials, Error> {
    let clients = keys.iter().map(credential).collect::<Result<_, _>>()?;
    let server = ServerKeys { sessions: SecretKey([7; 32]), arguments: SecretKey([8; 32]) };
    Ok(Credentials::new(clients, Some(server)))
}

fn credential(key: &ClientKey<'_>) -> Result<CredentialClient, Error> {
    let sha256 = KeyDigest::of(key.key.as_bytes());
    let id = key.client.parse().map_err(|_| Error::Document(format!("`{}` is not a client id", key.client)))?;
    let api_keys = vec![ApiKeyDigest { id: sha256.key_id(), sha256 }];
    Ok(CredentialClient { api_keys, ..CredentialClient::new(id, key.uid) })
}
