//! What was published: what this run remembers of it, and whose access it changed.

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::condition::Reason;
use serde_json::Value;
use tokio::time::Instant;
use tracing::info;

use super::{
    changes::{ANNOTATION, Changes, changed},
    fetch::Fetched,
};
use crate::{
    build::{BuiltObject, CONFIG_MAP, SECRET},
    cluster::events::EventDraft,
    controller::context::Context,
    sync::lock,
    validate::{Published, ServerPlan},
};

/// Remembers the documents that are in place now. Each document counts by itself: what clients had is what was written last, even
/// if the other document could not be written. Returns the event of a new policy.
pub fn remember(context: &Context, fetched: &Fetched, written: Published, is_published: bool) -> Option<EventDraft> {
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    let before = &fetched.input.published;
    let mut event = None;
    if is_published {
        memory.publications.published();
        memory.unconfirmed_since = Some(Instant::now());
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

/// What the revisions of a document changed, with the one that `object` contains; `None` if the object is not a document. `live` is
/// the object in the cluster. What its annotation says counts only for a run that has not written it.
pub fn changes(
    context: &Context,
    fetched: &Fetched,
    plan: &ServerPlan,
    object: &BuiltObject,
    live: Option<&Value>,
) -> Option<Changes> {
    let kind = object.kind.object.kind;
    let documents = plan.documents.as_ref()?;
    let (policy, credentials) = (&documents.policy, &documents.credentials);
    let Published { policy: old_policy, credentials: old_credentials } = &fetched.input.published;
    let is_policy = kind == CONFIG_MAP.object.kind;
    if !is_policy && kind != SECRET.object.kind {
        return None;
    }
    let memory = context.of_servers.of(&fetched.name);
    let known = lock(&memory).changes.entry(kind).or_insert_with(|| Changes::read(live.and_then(annotation))).clone();
    let now = Timestamp::now();
    let revision = if is_policy { policy.revision() } else { credentials.revision() };
    if known.is_current(revision) {
        let is_replaced = live.is_some_and(|live| live["data"] != object.value["data"]);
        return Some(if is_replaced { known.publish_again(now) } else { known });
    }
    let (before, clients) = match is_policy {
        true => (
            old_policy.as_ref().map(|before| &before.revision),
            old_policy.as_ref().map(|before| changed(&before.clients, policy.clients(), |client| &client.id)),
        ),
        false => (
            old_credentials.as_ref().map(|before| &before.revision),
            old_credentials.as_ref().map(|before| changed(&before.clients, credentials.clients(), |client| &client.id)),
        ),
    };
    Some(known.publish(before, revision, clients, now))
}

fn annotation(object: &Value) -> Option<&str> {
    object.pointer("/metadata/annotations")?.get(ANNOTATION)?.as_str()
}
