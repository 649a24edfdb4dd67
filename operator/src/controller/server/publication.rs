//! What was published: what this run remembers of it, and whose access it changed.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{condition::Reason, revision::Revision};
use serde_json::Value;
use tokio::time::Instant;
use tracing::info;

use super::{
    changes::{ANNOTATION, Changes, changed},
    corrections::Child,
    fetch::Fetched,
    grants::were_narrowed,
    object_write::child,
};
use crate::{
    build::{BuiltKind, BuiltObject, CONFIG_MAP, SECRET},
    cluster::events::EventDraft,
    controller::context::Context,
    sync::lock,
    validate::{Published, ServerPlan},
};

/// What was sent of a document before something else of it was.
pub struct SentBefore {
    document: Published,
    changes: Option<Changes>,
}

/// Remembers what is being sent: if it is found in the cluster later, this run published it, whatever became of the answer.
pub fn sending(
    context: &Context,
    fetched: &Fetched,
    plan: &ServerPlan,
    object: &BuiltObject,
    changes: &Changes,
) -> Option<SentBefore> {
    let document = document(plan, object.kind)?;
    let memory = context.of_servers.of(&fetched.name);
    let before = {
        let mut memory = lock(&memory);
        let changes = memory.sent_changes.insert(child(object), changes.clone());
        let before = SentBefore { document: memory.sent.clone(), changes };
        memory.sent.update(document.clone());
        before
    };
    // From here on a change of these clients is published at once; one that came before was not.
    if were_narrowed(context, fetched, &document) {
        context.publish(fetched.name.clone(), false);
    }
    Some(before)
}

/// What was being sent had no effect.
pub fn refused(context: &Context, fetched: &Fetched, plan: &ServerPlan, object: &BuiltObject, before: SentBefore) {
    let SentBefore { document: Published { policy, credentials }, changes } = before;
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    match changes {
        Some(changes) => drop(memory.sent_changes.insert(child(object), changes)),
        None => drop(memory.sent_changes.remove(&child(object))),
    }
    if by_other_name(&memory.sent_changes, plan, object).is_some() {
        return;
    }
    match is_policy(object.kind) {
        true => memory.sent.policy = policy,
        false => memory.sent.credentials = credentials,
    }
}

/// Whether a document was published since the server was fetched: what was planned rests on what it replaced.
pub fn is_outdated(context: &Context, fetched: &Fetched, kind: &BuiltKind) -> bool {
    let revision = |published: &Published| match is_policy(kind) {
        true => published.policy.as_ref().map(|policy| policy.revision.clone()),
        false => published.credentials.as_ref().map(|credentials| credentials.revision.clone()),
    };
    let memory = context.of_servers.of(&fetched.name);
    let published = revision(&lock(&memory).published);
    published.is_some() && published != revision(&fetched.input.published)
}

fn is_policy(kind: &BuiltKind) -> bool {
    kind.object.kind == CONFIG_MAP.object.kind
}

/// Remembers a document that is in place now. Each counts by itself: what clients had is what was written last, even if the other
/// document could not be written.
pub fn remember(context: &Context, fetched: &Fetched, plan: &ServerPlan, kind: &BuiltKind, is_published: bool) {
    let Some(document) = document(plan, kind) else { return };
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    // Meanwhile another server may have taken the name.
    if memory.uid != fetched.input.server.uid() {
        return;
    }
    if is_published {
        memory.is_untold = true;
        memory.publications.published();
        memory.unconfirmed_since = Some(Instant::now());
        if let Some(policy) = &document.policy {
            let (revision, clients) = (&policy.revision, policy.clients.len());
            info!(server = %fetched.name, %revision, clients, "published");
            let before = fetched.input.published.policy.as_ref();
            if before.is_none_or(|before| before.revision != *revision) {
                let note = format!("policy {} with {clients} clients", revision.short());
                memory.events.push(EventDraft::normal(Reason::PolicyPublished, note));
            }
        }
    }
    memory.published.update(document);
}

/// One of the planned documents.
fn document(plan: &ServerPlan, kind: &BuiltKind) -> Option<Published> {
    match kind.object.kind {
        kind if kind == CONFIG_MAP.object.kind => {
            Some(Published { policy: Some(plan.policy()?.into()), credentials: None })
        }
        kind if kind == SECRET.object.kind => {
            Some(Published { policy: None, credentials: Some(plan.credentials()?.into()) })
        }
        _ => None,
    }
}

/// What the revisions of a document changed, with the one that `object` contains; `None` if the object is not a document. `live` is
/// the object in the cluster. What its annotation says counts only for a run that has not written it.
///
/// Each revision that was sent counts, unless it was refused: it may still come, and pods may have it. So a document is always
/// written once something else was sent, even if it is in the cluster as it should be; what was sent for the version that this
/// replaces has no effect any more.
pub fn changes(
    context: &Context,
    fetched: &Fetched,
    plan: &ServerPlan,
    object: &BuiltObject,
    live: Option<&Value>,
) -> Option<Changes> {
    let (policy, credentials) = (plan.policy(), plan.credentials()?);
    let is_policy = is_policy(object.kind);
    let revision = revision(plan, object.kind)?;
    let memory = context.of_servers.of(&fetched.name);
    let mut before = fetched.input.published.clone();
    let (published, known) = {
        let mut memory = lock(&memory);
        before.update(memory.sent.clone());
        let read = || Changes::read(live.and_then(annotation));
        let published = memory.changes.entry(child(object)).or_insert_with(read).clone();
        let known = memory.sent_changes.get(&child(object)).unwrap_or(&published);
        // What both names have was sent by the other one.
        let same =
            || by_other_name(&memory.sent_changes, plan, object).or(by_other_name(&memory.changes, plan, object));
        if !known.is_current(revision)
            && let Some(same) = same()
        {
            return Some(same.clone());
        }
        (published.clone(), known.clone())
    };
    let Published { policy: old_policy, credentials: old_credentials } = &before;
    let now = Timestamp::now();
    if known.is_current(revision) {
        let is_there = live.map(|live| live["data"] == object.value["data"]);
        return Some(match (published.is_current(revision), is_there) {
            (_, Some(true)) | (true, None) => known,
            // Somebody else replaced it.
            (true, Some(false)) => known.publish_again(now),
            // It is sent once more.
            (false, Some(false) | None) => known.publish_late(now),
        });
    }
    let (before, clients) = match is_policy {
        true => (
            old_policy.as_ref().map(|before| &before.revision),
            old_policy
                .as_ref()
                .zip(policy)
                .map(|(before, now)| changed(&before.clients, now.clients(), |client| &client.id)),
        ),
        false => (
            old_credentials.as_ref().map(|before| &before.revision),
            old_credentials.as_ref().map(|before| changed(&before.clients, credentials.clients(), |client| &client.id)),
        ),
    };
    Some(known.publish(before, revision, clients, now))
}

/// The revision of the planned document of this kind; `None` if it is not a document, or none is planned.
fn revision<'a>(plan: &'a ServerPlan, kind: &BuiltKind) -> Option<&'a Revision> {
    match kind.object.kind {
        kind if kind == CONFIG_MAP.object.kind => Some(plan.policy()?.revision()),
        kind if kind == SECRET.object.kind => Some(plan.credentials()?.revision()),
        _ => None,
    }
}

/// What is known of the same document by its other name, if it is there as it is planned.
fn by_other_name<'a>(all: &'a HashMap<Child, Changes>, plan: &ServerPlan, object: &BuiltObject) -> Option<&'a Changes> {
    let revision = revision(plan, object.kind)?;
    let is_it = |(kind, name): &Child| *kind == object.kind.object.kind && name != object.name();
    all.iter().find(|(child, changes)| is_it(child) && changes.is_current(revision)).map(|(_, changes)| changes)
}

fn annotation(object: &Value) -> Option<&str> {
    object.pointer("/metadata/annotations")?.get(ANNOTATION)?.as_str()
}
