//! What was published: what this run remembers of it, and which clients' access it changed.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_crds::{NamespacedName, condition::Reason};
use tracing::info;

use super::fetch::Fetched;
use crate::{cluster::events::EventDraft, controller::context::Context, sync::lock, validate::Published};

/// Remembers the documents that are in place now, and if one of them was just written, the clients whose access the pods have yet
/// to take up. Each document counts by itself: what clients had is what was written last, even if the other document could not be
/// written. Returns the event of a new policy.
pub fn remember(context: &Context, fetched: &Fetched, written: Published, is_published: bool) -> Option<EventDraft> {
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    let before = &fetched.input.published;
    let mut event = None;
    if is_published {
        memory.pending.extend(changed_clients(&fetched.name, before, &written));
        memory.publications.published();
        if let Some(policy) = &written.policy {
            let (revision, clients) = (&policy.revision, policy.clients.len());
            info!(server = %fetched.name, %revision, clients, "published");
            if before.policy.as_ref().is_none_or(|before| before.revision != *revision) {
                let note = format!("policy {} with {clients} clients", revision.short());
                event = Some(EventDraft::normal(Reason::PolicyPublished, note));
            }
        }
    }
    memory.published.update(written);
    event
}

/// The clients whose entry differs from before in either document.
fn changed_clients(server: &NamespacedName, before: &Published, written: &Published) -> BTreeSet<NamespacedName> {
    let known: BTreeMap<_, _> =
        before.policy.iter().flat_map(|policy| &*policy.clients).map(|client| (&client.id, client)).collect();
    let policy = written.policy.iter().flat_map(|policy| &*policy.clients);
    let policy = policy.filter(|client| known.get(&client.id) != Some(client));
    let keys: BTreeMap<_, _> =
        before.credentials.iter().flat_map(|it| &*it.clients).map(|client| (&client.id, client)).collect();
    let credentials = written.credentials.iter().flat_map(|it| &*it.clients);
    let credentials = credentials.filter(|client| keys.get(&client.id) != Some(client));
    let ids = policy.map(|client| &client.id).chain(credentials.map(|client| &client.id));
    ids.map(|id| id.resolve(&server.namespace)).collect()
}
