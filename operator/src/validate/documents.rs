//! The two documents of what was granted: one key names one client, and what does not fit refuses the newest.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_crds::{
    Finding, NamespacedName,
    condition::Reason,
    contract::{ApiKeyDigest, CredentialClient, Credentials, Policy, PolicyClient, ServerHalf},
};

use super::{Documents, ServerInput, client::Asking};
use crate::condition::ConditionState;

/// The largest document, in bytes: a ConfigMap or Secret holds 1 MiB, its metadata included.
const MAX_BYTES: usize = 1_000_000;

/// A client that is to be in both documents.
pub(super) struct Entry {
    name: NamespacedName,
    policy: PolicyClient,
    credentials: CredentialClient,
}

impl Entry {
    /// With the client's keys; where they could not be read, with those that are published for this very client.
    pub fn of(policy: PolicyClient, asking: &Asking<'_>, input: &ServerInput) -> Self {
        let published = || {
            let clients = &input.published.credentials.as_ref()?.clients;
            let its = &clients[clients.binary_search_by(|client| client.id.cmp(&policy.id)).ok()?];
            (its.uid == policy.uid).then(|| its.api_keys.clone())
        };
        let api_keys = asking.input.keys.clone().or_else(published).unwrap_or_default();
        let credentials = CredentialClient { id: policy.id.clone(), uid: policy.uid.clone(), api_keys };
        Self { name: asking.name(), policy, credentials }
    }
}

/// The documents, and the clients that are not in them after all, with the reason.
///
/// # Errors
/// Returns an error if the policy does not fit into a ConfigMap even without clients.
pub(super) fn documents(
    half: Arc<ServerHalf>,
    entries: Vec<Entry>,
    input: &ServerInput,
) -> Result<(Documents, BTreeMap<NamespacedName, ConditionState>), Finding> {
    let mut refused = BTreeMap::new();
    let mut entries = one_client_a_key(entries, &mut refused);
    loop {
        let documents = print(&half, &entries, input);
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
        // The newest go; as many as the excess has of an even share, so that few rounds are enough.
        let kept = (entries.len() * MAX_BYTES / bytes).min(entries.len() - 1);
        for entry in entries.drain(kept..) {
            let message = format!(
                "the server's policy would have {bytes} bytes, and {MAX_BYTES} fit; older clients have precedence"
            );
            refused.insert(entry.name, ConditionState::no(Reason::TooManyClients, message));
        }
    }
}

/// Of two clients with the same key the older has it; entries come oldest first.
fn one_client_a_key(entries: Vec<Entry>, refused: &mut BTreeMap<NamespacedName, ConditionState>) -> Vec<Entry> {
    let mut owners = BTreeMap::new();
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        let taken = |key: &ApiKeyDigest| owners.get(&key.sha256).cloned();
        match entry.credentials.api_keys.iter().find_map(taken) {
            Some(owner) => {
                let message = format!("its API key is that of the older client `{owner}`; a key names one client");
                refused.insert(entry.name, ConditionState::no(Reason::IdentityConflict, message));
            }
            None => {
                owners.extend(entry.credentials.api_keys.iter().map(|key| (key.sha256, entry.policy.id.clone())));
                kept.push(entry);
            }
        }
    }
    kept
}

fn print(half: &Arc<ServerHalf>, entries: &[Entry], input: &ServerInput) -> Documents {
    let clients = entries.iter().map(|entry| entry.policy.clone()).collect();
    let policy = Policy::new(half.clone(), clients);
    let published_keys = input.published.credentials.as_ref().and_then(|published| published.keys.clone());
    let keys = published_keys.unwrap_or_else(|| input.fresh_keys.clone());
    let credentials = entries.iter().map(|entry| entry.credentials.clone()).collect();
    Documents { policy, credentials: Credentials::new(credentials, Some(keys)) }
}
