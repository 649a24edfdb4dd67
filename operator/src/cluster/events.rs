//! Events about McpServers and McpClients, for `kubectl describe` and `kubectl events` (events.k8s.io/v1).
//!
//! Events report transitions, and of one object only a few at a time; the log has all of them. An event that cannot be
//! written is dropped: nothing depends on it.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::Resource;
use portcullis_crds::{NamespacedName, condition::Reason};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{
    client::{Cluster, ObjectRef},
    managed_fields::FIELD_MANAGER,
};
use crate::sync::lock;

/// How many events one object may have at once, and how long it takes until it may have one more.
const BURST: u32 = 20;
const REFILL: Duration = Duration::from_secs(30);
/// The budgets of how many objects are remembered.
const REMEMBERED: usize = 10_000;
/// The longest that events about one object are waited for.
const WRITE: Duration = Duration::from_secs(2);
/// The API server's bound on a note, in bytes.
const MAX_NOTE: usize = 1024;
/// The API server's bound on a name, in bytes.
const MAX_NAME: usize = 253;

/// The content of an event that is not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDraft {
    pub is_warning: bool,
    pub reason: Reason,
    pub note: String,
}

impl EventDraft {
    pub fn normal(reason: Reason, note: String) -> Self {
        Self { is_warning: false, reason, note }
    }

    pub fn warning(reason: Reason, note: String) -> Self {
        Self { is_warning: true, reason, note }
    }
}

/// Writes events.
pub struct Events {
    cluster: Cluster,
    budgets: Budgets,
}

/// How many events each object may still have, by its UID, and since when.
#[derive(Default)]
struct Budgets(Mutex<HashMap<String, (u32, Instant)>>);

impl Events {
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, budgets: Budgets::default() }
    }

    /// Writes events about a resource, unless it has had too many. What takes too long is dropped.
    pub async fn write<K: Resource<DynamicType = ()>>(&self, about: &ObjectMeta, drafts: &[EventDraft]) {
        let all = async {
            for draft in drafts {
                self.write_one::<K>(about, draft).await;
            }
        };
        if timeout(WRITE, all).await.is_err() {
            debug!(object = about.name, "events were not written in time");
        }
    }

    async fn write_one<K: Resource<DynamicType = ()>>(&self, about: &ObjectMeta, draft: &EventDraft) {
        if !self.budgets.spend(about.uid.as_deref().unwrap_or_default(), Instant::now()) {
            return;
        }
        let event = event(reference::<K>(about), draft, Timestamp::now());
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let name = NamespacedName { namespace: part(&event.metadata.namespace), name: part(&event.metadata.name) };
        let written = match serde_json::to_value(&event) {
            Ok(value) => self.cluster.create(&ObjectRef::of::<Event>(name), value).await.map(drop),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            debug!(%error, reason = %draft.reason, "an event was not written");
        }
    }
}

impl Budgets {
    /// Takes one event from the object's budget, if there is one.
    fn spend(&self, uid: &str, now: Instant) -> bool {
        let mut budgets = lock(&self.0);
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

fn reference<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn event(about: ObjectReference, draft: &EventDraft, now: Timestamp) -> Event {
    let name = event_name(about.name.as_deref().unwrap_or_default(), now);
    let end = draft.note.floor_char_boundary(MAX_NOTE);
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: about.namespace.clone(), ..ObjectMeta::default() },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(draft.note[..end].to_owned()),
        reason: Some(draft.reason.to_string()),
        regarding: Some(about),
        reporting_controller: Some("portcullis.dev/operator".to_owned()),
        reporting_instance: Some(FIELD_MANAGER.to_owned()),
        type_: Some(if draft.is_warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

/// The name of an event: that of its object, cut to what fits, and the time, which tells the events of long names apart.
fn event_name(object: &str, now: Timestamp) -> String {
    let suffix = format!(".{:016x}", now.as_nanosecond());
    // Names are ASCII. What is left must end as each part of a name does.
    let kept = object.get(..MAX_NAME - suffix.len()).unwrap_or(object);
    format!("{}{suffix}", kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use portcullis_crds::McpServer;

    use super::*;
    use crate::cluster::{fence::Fence, testing::in_process};

    #[test]
    fn an_object_that_changes_all_the_time_has_a_few_events() {
        let (budgets, start) = (Budgets::default(), Instant::now());
        let written = |second| (0..50).filter(|_| budgets.spend("u", start + Duration::from_secs(second))).count();
        assert_eq!((written(0), written(29), written(30), written(90)), (20, 0, 1, 2));
        assert!(budgets.spend("another", start));
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_are_not_answered_are_waited_for_only_for_a_while() {
        let events = Events::new(Cluster::new(in_process(|_| None), Fence::open()));
        let drafts = vec![EventDraft::warning(Reason::Invalid, "a note".into()); 6];
        let begun = Instant::now();
        events.write::<McpServer>(&ObjectMeta::default(), &drafts).await;
        assert_eq!(begun.elapsed().as_secs(), WRITE.as_secs());
    }

    #[test]
    fn an_object_of_any_name_has_events() {
        let now = Timestamp::from_nanosecond(0x18ab_0000_0000_00ff).unwrap();
        let [long, dotted] = ["x".repeat(253), format!("{}.-.{}", "x".repeat(233), "y".repeat(17))];
        for (object, kept) in [("crm", "crm"), (&long, &long[..236]), (&dotted, &dotted[..233])] {
            let name = event_name(object, now);
            assert_eq!(name, format!("{kept}.18ab0000000000ff"));
            assert!(name.len() <= MAX_NAME, "{}", name.len());
        }
    }

    #[test]
    fn a_note_keeps_within_the_bound_of_the_api_server() {
        let draft = EventDraft::warning(Reason::Invalid, "ñ".repeat(2000));
        let event = event(ObjectReference::default(), &draft, Timestamp::UNIX_EPOCH);
        assert_eq!(event.note.map(|note| note.len()), Some(MAX_NOTE));
    }
}
