//! What was published: what this run remembers of it, and whose access it changed.

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::condition::Reason;
use serde_json::Value;
use tokio::time::Instant;
use tracing::info;

use super::{
    changes::{ANNOTATION, Changes, changed},
    fetch::Fetched,
    grants::were_narrowed,
};
use crate::{
    build::{BuiltKind, BuiltObject, CONFIG_MAP, SECRET},
    cluster::events::EventDraft,
    controller::context::Context,
    sync::lock,
    validate::{Published, ServerPlan},
};

/// Remembers what is being sent: if it is found in the cluster later, this run published it, whatever became of the answer.
pub fn sending(context: &Context, fetched: &Fetched, plan: &ServerPlan, kind: &BuiltKind) {
    if let Some(document) = document(plan, kind) {
        let memory = context.of_servers.of(&fetched.name);
        lock(&memory).sent.update(document.clone());
        // From here on a change of these clients is published at once; one that came before was not.
        if were_narrowed(context, fetched, &document) {
            context.publish(fetched.name.clone(), false);
        }
    }
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
pub fn changes(
    context: &Context,
    fetched: &Fetched,
    plan: &ServerPlan,
    object: &BuiltObject,
    live: Option<&Value>,
) -> Option<Changes> {
    let kind = object.kind.object.kind;
    let (policy, credentials) = (plan.policy(), plan.credentials()?);
    let Published { policy: old_policy, credentials: old_credentials } = &fetched.input.published;
    let is_policy = kind == CONFIG_MAP.object.kind;
    if !is_policy && kind != SECRET.object.kind {
        return None;
    }
    let memory = context.of_servers.of(&fetched.name);
    let known = lock(&memory).changes.entry(kind).or_insert_with(|| Changes::read(live.and_then(annotation))).clone();
    let now = Timestamp::now();
    let revision = if is_policy { policy?.revision() } else { credentials.revision() };
    if known.is_current(revision) {
        let is_replaced = live.is_some_and(|live| live["data"] != object.value["data"]);
        return Some(if is_replaced { known.publish_again(now) } else { known });
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

fn annotation(object: &Value) -> Option<&str> {
    object.pointer("/metadata/annotations")?.get(ANNOTATION)?.as_str()
}
