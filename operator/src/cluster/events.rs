//! Says what changed where people look first: `kubectl describe` and `kubectl events` (events.k8s.io/v1).
//!
//! Only transitions are told, and of one object never more than a few: whoever wants all of them reads the log. An event
//! that cannot be written is not missed by anything.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, Resource, api::PostParams};
use portcullis_crds::condition::Reason;
use tokio::time::Instant;
use tracing::debug;

use super::FIELD_MANAGER;
use super::error::call;

/// How many events one object has in hand, and how long it takes until it has one more.
const BURST: u32 = 20;
const REFILL: Duration = Duration::from_secs(30);
/// How many objects' budgets are remembered.
const REMEMBERED: usize = 10_000;
/// The API server's bound on a note, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDraft {
    pub is_warning: bool,
    pub reason: Reason,
    pub note: String,
}

/// Writes events.
pub struct Events {
    client: Client,
    budgets: Budgets,
}

/// How many events each object has in hand, by its UID, and since when.
#[derive(Default)]
struct Budgets(Mutex<HashMap<String, (u32, Instant)>>);

impl Events {
    pub fn new(client: Client) -> Self {
        Self { client, budgets: Budgets::default() }
    }

    pub async fn tell(&self, about: &ObjectReference, draft: &EventDraft) {
        let uid = about.uid.as_deref().unwrap_or_default();
        if !self.budgets.spend(uid, Instant::now()) {
            return;
        }
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let event = event(about, draft, k8s_openapi::jiff::Timestamp::now());
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        if let Err(error) = call("writing an event", events.create(&parameters, &event)).await {
            debug!(%error, reason = %draft.reason, "an event was not written");
        }
    }
}

impl Budgets {
    /// Takes one event of the object's, if there is one.
    fn spend(&self, uid: &str, now: Instant) -> bool {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() >= REMEMBERED {
            budgets.clear();
        }
        let (left, since) = budgets.entry(uid.to_owned()).or_insert((BURST, now));
        let refilled = u32::try_from(now.duration_since(*since).as_secs() / REFILL.as_secs()).unwrap_or(BURST);
        if refilled > 0 {
            *since = now;
            *left = left.saturating_add(refilled).min(BURST);
        }
        let is_within = *left > 0;
        *left = left.saturating_sub(1);
        is_within
    }
}

/// How an event refers to a resource of ours.
pub fn reference<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn event(about: &ObjectReference, draft: &EventDraft, now: k8s_openapi::jiff::Timestamp) -> Event {
    let name = about.name.as_deref().unwrap_or_default();
    let end = draft.note.floor_char_boundary(LONGEST_NOTE);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: about.namespace.clone(),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(draft.note[..end].to_owned()),
        reason: Some(draft.reason.to_string()),
        regarding: Some(about.clone()),
        reporting_controller: Some("portcullis.dev/operator".to_owned()),
        reporting_instance: Some(FIELD_MANAGER.to_owned()),
        type_: Some(if draft.is_warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_changes_all_the_time_tells_of_some_of_it() {
        let (budgets, start) = (Budgets::default(), Instant::now());
        let told = |second| (0..50).filter(|_| budgets.spend("u", start + Duration::from_secs(second))).count();
        assert_eq!((told(0), told(29), told(30), told(90)), (20, 0, 1, 2));
        assert!(budgets.spend("another", start));
    }

    #[test]
    fn a_note_keeps_within_the_api_s_bound() {
        let draft = EventDraft { is_warning: true, reason: Reason::Invalid, note: "ñ".repeat(2000) };
        let event = event(&ObjectReference::default(), &draft, k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(event.note.map(|note| note.len()), Some(LONGEST_NOTE));
    }
}
