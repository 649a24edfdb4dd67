//! Whose access a server may have published: only what takes something of that away has to be published at once.
//!
//! A client that no rule of the server admits is a stranger to it. What becomes of strangers must not end the server's other work.

use portcullis_crds::{ClientId, NamespacedName};

use super::{
    fetch::{Fetched, client_input},
    names::policy_name,
};
use crate::{
    build::{CONFIG_MAP, DocumentName},
    controller::{context::Context, index::narrows},
    sync::lock,
    validate::{ClientInput, Published},
};

/// Whether the client may have access to the server: it is in what was published or sent, or that is not known yet.
pub fn may_serve(context: &Context, server: &NamespacedName, client: &NamespacedName) -> bool {
    let Ok(id) = ClientId::of(&server.namespace, client) else { return false };
    let memory = context.of_servers.known(server);
    let (known, sent) = memory
        .map(|memory| {
            let memory = lock(&memory);
            (memory.published.clone(), memory.sent.clone())
        })
        .unwrap_or_default();
    if has_entry(&known, &id) || has_entry(&sent, &id) {
        return true;
    }
    let is_there = |name| context.owned.get(&CONFIG_MAP.object, &policy_name(server, name)).is_some();
    known.policy.is_none() && DocumentName::ALL.into_iter().any(is_there)
}

fn has_entry(published: &Published, id: &ClientId) -> bool {
    let policy = published.policy.iter().flat_map(|policy| &*policy.clients);
    let credentials = published.credentials.iter().flat_map(|credentials| &*credentials.clients);
    policy.map(|client| &client.id).chain(credentials.map(|client| &client.id)).any(|it| it == id)
}

/// Whether something was taken away since `fetched` was read from a client that its plan serves and nothing that was published does:
/// until the plan was sent, it was a stranger. `sent` is what is being sent.
pub fn were_narrowed(context: &Context, fetched: &Fetched, sent: &Published) -> bool {
    let namespace = &fetched.name.namespace;
    fetched.input.clients.iter().any(|before| {
        let name = before.client.object().namespaced_name();
        takes_away(before, client_input(context, &name).as_ref())
            && ClientId::of(namespace, &name)
                .is_ok_and(|id| has_entry(sent, &id) && !has_entry(&fetched.input.published, &id))
    })
}

fn takes_away(before: &ClientInput, now: Option<&ClientInput>) -> bool {
    let Some(now) = now else { return true };
    let (old, new) = (before.client.object(), now.client.object());
    let is_narrowed = match (&old.spec, &new.spec) {
        (Ok(old), Ok(new)) => narrows(old, new),
        (Err(_), Ok(_) | Err(_)) => false,
        (Ok(_), Err(_)) => true,
    };
    let has = |key| now.credentials.as_ref().is_some_and(|now| now.contains(key));
    old.uid() != new.uid() || is_narrowed || before.credentials.iter().flatten().any(|key| !has(key))
}

#[cfg(test)]
mod tests;
