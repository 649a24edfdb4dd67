//! The two documents of what was granted. A key belongs to one client, and if not all clients fit, the newest are refused.

use std::collections::BTreeMap;

use portcullis_crds::{
    Finding, NamespacedName,
    contract::{ApiKeyDigest, CredentialClient, Credentials, Policy, PolicyClient, PublishedHalf},
};

use super::{
    client_request::ClientRequest,
    decision::Refusal,
    input::{Published, ServerInput},
};
use crate::credentials;

/// The largest document, in bytes: a ConfigMap or Secret has room for 1 MiB, its metadata included.
pub(super) const MAX_BYTES: usize = 1_000_000;

/// The two documents of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Documents {
    pub policy: Policy,
    pub credentials: Credentials,
}

impl From<&Documents> for Published {
    fn from(documents: &Documents) -> Self {
        Self { policy: Some((&documents.policy).into()), credentials: Some((&documents.credentials).into()) }
    }
}

/// A client that is to be in both documents.
pub(super) struct Entry {
    name: NamespacedName,
    policy: PolicyClient,
    credentials: CredentialClient,
}

impl Entry {
    /// With the client's credentials; if they could not be read, with those that are published for the same client.
    pub fn new(policy: PolicyClient, request: &ClientRequest<'_>, published: &Published) -> Self {
        let entry = |issued: &[_]| credentials::entry(policy.id.clone(), policy.uid.clone(), issued);
        let credentials = match &request.input.credentials {
            Some(issued) => entry(issued),
            None => published_entry(request, published).cloned().unwrap_or_else(|| entry(&[])),
        };
        Self { name: request.name(), policy, credentials }
    }
}

/// The credentials that are published for the same client.
fn published_entry<'a>(request: &ClientRequest<'_>, published: &'a Published) -> Option<&'a CredentialClient> {
    let clients = &published.credentials.as_ref()?.clients;
    let entry = &clients[clients.binary_search_by(|client| client.id.cmp(&request.id)).ok()?];
    (entry.uid == request.uid()).then_some(entry)
}

/// What is left of the published credentials while no policy can be published: those of the clients that still request access and
/// are not suspended, without keys that they no longer have. `None` if none are published.
pub(super) fn remaining(requests: &[ClientRequest<'_>], published: &Published) -> Option<Credentials> {
    let keys = published.credentials.as_ref()?.keys.clone();
    let entries = requests.iter().filter(|request| !request.access.suspended).filter_map(|request| {
        let before = published_entry(request, published)?;
        let mut entry = before.clone();
        if let Some(issued) = &request.input.credentials {
            let now = credentials::entry(entry.id.clone(), entry.uid.clone(), issued);
            entry.api_keys.retain(|key| now.api_keys.contains(key));
        }
        Some(entry)
    });
    Some(Credentials::new(entries.collect(), keys))
}

/// The documents, and the clients that are refused after all. Entries of older clients come first.
///
/// # Errors
/// Returns an error if the policy does not fit into a ConfigMap even without clients.
pub(super) fn documents(
    half: &PublishedHalf,
    entries: Vec<Entry>,
    input: &ServerInput,
) -> Result<(Documents, BTreeMap<NamespacedName, Refusal>), Finding> {
    let mut refused = BTreeMap::new();
    let mut entries = refuse_shared_keys(entries, &mut refused);
    loop {
        let documents = print(half, &entries, input);
        let bytes = documents.policy.text().len().max(documents.credentials.text().len());
        if bytes <= MAX_BYTES {
            return Ok((documents, refused));
        }
        if entries.is_empty() {
            let message = format!(
                "make a policy of {bytes} bytes; at most {MAX_BYTES} fit into a ConfigMap: shorten descriptions and schemas, or \
                 split the server"
            );
            return Err(Finding::new("spec.tools", message));
        }
        // In proportion to the excess, so that few rounds are enough.
        let kept = (entries.len() * MAX_BYTES / bytes).min(entries.len() - 1);
        refused.extend(entries.drain(kept..).map(|entry| (entry.name, Refusal::DocumentTooLarge { bytes })));
    }
}

/// Of two clients with the same key, the older one keeps it.
fn refuse_shared_keys(entries: Vec<Entry>, refused: &mut BTreeMap<NamespacedName, Refusal>) -> Vec<Entry> {
    let mut owners = BTreeMap::new();
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        let keys = &entry.credentials.api_keys;
        match keys.iter().find_map(|key: &ApiKeyDigest| owners.get(&key.sha256).cloned()) {
            Some(owner) => {
                refused.insert(entry.name, Refusal::SharedCredential { owner });
            }
            None => {
                owners.extend(keys.iter().map(|key| (key.sha256, entry.policy.id.clone())));
                kept.push(entry);
            }
        }
    }
    kept
}

fn print(half: &PublishedHalf, entries: &[Entry], input: &ServerInput) -> Documents {
    let clients = entries.iter().map(|entry| entry.policy.clone()).collect();
    let published_keys = input.published.credentials.as_ref().and_then(|published| published.keys.clone());
    let keys = published_keys.unwrap_or_else(|| input.fresh_keys.clone());
    let credentials = entries.iter().map(|entry| entry.credentials.clone()).collect();
    Documents { policy: Policy::new(half.clone(), clients), credentials: Credentials::new(credentials, Some(keys)) }
}
