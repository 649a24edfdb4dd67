//! Step five: says what was seen, in one patch, and only where it says something new.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{Resource, core::DynamicObject};
use portcullis_crds::condition::{ConditionType, Reason};
use serde::Serialize;
use serde_json::json;

use crate::cluster::{Cluster, Error, ObjectRef, events::EventDraft};
use crate::object::NamespacedName;

/// The API server's bound on a condition's message, in bytes, and ours below it.
const LONGEST_MESSAGE: usize = 4096;

/// A status is written at most this often.
pub const STATUS_PACE: Duration = Duration::from_secs(1);

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionState {
    pub status: ConditionStatus,
    pub reason: Reason,
    pub message: String,
}

impl ConditionState {
    pub fn new(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    /// With the reason's own sentence.
    pub fn plain(status: ConditionStatus, reason: Reason) -> Self {
        Self::new(status, reason, reason.sentence())
    }

    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// Turns what is said into conditions.
#[derive(Clone, Copy, Debug)]
pub struct ConditionWriter<'a> {
    pub generation: Option<i64>,
    /// What was said before: a condition that keeps its status keeps its time.
    pub previous: &'a [Condition],
    pub now: Timestamp,
}

impl ConditionWriter<'_> {
    pub fn condition(&self, type_: ConditionType, saying: &ConditionState) -> Condition {
        let status = match saying.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        let before = self.previous.iter().find(|it| it.type_ == type_.as_str() && it.status == status);
        Condition {
            type_: type_.to_string(),
            status: status.to_owned(),
            reason: saying.reason.to_string(),
            message: cut(&saying.message, LONGEST_MESSAGE),
            observed_generation: self.generation,
            // The API keeps whole seconds; more would differ from what is read back.
            last_transition_time: before
                .map_or_else(|| Time(whole_seconds(self.now)), |it| it.last_transition_time.clone()),
        }
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The two conditions by which kstatus tells progress from failure, derived from `Ready`.
pub fn kstatus(ready: &ConditionState, is_working: bool, is_stalled: bool) -> (ConditionState, ConditionState) {
    let stalled = match is_stalled {
        true => ConditionState::new(ConditionStatus::True, ready.reason, ready.message.clone()),
        false => {
            ConditionState::new(ConditionStatus::False, Reason::Progressing, "Nothing stands in the operator's way.")
        }
    };
    let reconciling = match is_working && !is_stalled {
        true if ready.is_true() => {
            ConditionState::new(ConditionStatus::True, Reason::Progressing, "A change is on its way to the pods.")
        }
        true => ConditionState::new(ConditionStatus::True, Reason::Progressing, ready.message.clone()),
        false => ConditionState::new(ConditionStatus::False, Reason::Available, "The operator has nothing to do here."),
    };
    (reconciling, stalled)
}

/// Which conditions changed their status or reason and are worth an event; the first sight of an object is none.
pub fn transitions(before: &[Condition], after: &[Condition]) -> Vec<EventDraft> {
    let told =
        [ConditionType::Accepted, ConditionType::Ready, ConditionType::PolicySynced, ConditionType::CredentialsReady];
    let mut events: Vec<EventDraft> = Vec::new();
    for condition in after.iter().filter(|it| told.iter().any(|told| told.as_str() == it.type_)) {
        let known = before.iter().find(|it| it.type_ == condition.type_);
        if known.is_some_and(|it| it.status == condition.status && it.reason == condition.reason) {
            continue;
        }
        let is_good = condition.status == "True";
        let passes = [Reason::Progressing, Reason::Publishing, Reason::NoPods].map(Reason::as_str);
        let is_warning = condition.status == "False" && !passes.contains(&condition.reason.as_str());
        // `PolicySynced` comes and goes with each edit; what is worth an event is that it failed.
        let is_told = is_warning || (is_good && condition.type_ == ConditionType::Ready.as_str());
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
        if let (true, Some(reason)) = (is_told, reason)
            && !events.iter().any(|told| told.reason == *reason)
        {
            events.push(EventDraft { is_warning, reason: *reason, note: condition.message.clone() });
        }
    }
    events
}

/// Writes a status over whatever is there, and returns the object as it is then.
///
/// # Errors
/// Returns an error if the API server refuses; 404 or 409 if the object was deleted, or another one has its name.
pub async fn write<K: Resource<DynamicType = ()>>(
    cluster: &Cluster,
    metadata: &ObjectMeta,
    status: &impl Serialize,
) -> Result<DynamicObject, Error> {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let name = NamespacedName { namespace: part(&metadata.namespace), name: part(&metadata.name) };
    let object = ObjectRef::of::<K>(name);
    let value = json!({
        "apiVersion": object.resource.api_version,
        "kind": object.resource.kind,
        "metadata": {"name": metadata.name, "uid": metadata.uid},
        "status": status,
    });
    cluster.apply_status(&object, value).await
}

/// At most so many bytes, ending at a character.
pub fn cut(text: &str, longest: usize) -> String {
    match text.len() <= longest {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(longest.saturating_sub('…'.len_utf8()))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let first = ConditionWriter { generation: Some(1), previous: &[], now: at(100) };
        let previous =
            [first
                .condition(ConditionType::Ready, &ConditionState::plain(ConditionStatus::False, Reason::Progressing))];
        let later = ConditionWriter { generation: Some(2), previous: &previous, now: at(200) };
        let same =
            later.condition(ConditionType::Ready, &ConditionState::plain(ConditionStatus::False, Reason::PodsNotReady));
        let other =
            later.condition(ConditionType::Ready, &ConditionState::plain(ConditionStatus::True, Reason::Available));
        assert_eq!((same.last_transition_time.0, other.last_transition_time.0), (at(100), at(200)));
        assert_eq!((same.reason.as_str(), same.observed_generation), ("PodsNotReady", Some(2)));
    }

    #[test]
    fn only_what_changed_is_told_and_each_reason_once() {
        let writer = ConditionWriter { generation: Some(1), previous: &[], now: at(100) };
        let invalid = ConditionState::new(ConditionStatus::False, Reason::Invalid, "spec.tools[0].backend: …");
        let conditions = [ConditionType::Accepted, ConditionType::Ready].map(|type_| writer.condition(type_, &invalid));
        let told = EventDraft { is_warning: true, reason: Reason::Invalid, note: invalid.message.clone() };
        assert_eq!(transitions(&[], &conditions), [told]);
        assert_eq!(transitions(&conditions, &conditions), []);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("añb", 9), "añb");
        assert_eq!(cut("ññññ", 6), "ñ…");
    }
}
