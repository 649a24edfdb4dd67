//! Conditions of a status: their times, the two that kstatus reads, and which of their transitions are worth an event.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use portcullis_crds::condition::{ConditionType, Reason};

use crate::{cluster::events::EventDraft, condition::ConditionState};

/// The longest message of a condition, in bytes; the API server would take more.
const MAX_MESSAGE: usize = 4096;

/// Turns states into the conditions of one status.
#[derive(Clone, Copy, Debug)]
pub struct ConditionWriter<'a> {
    pub generation: Option<i64>,
    /// The conditions of the previous status. One that keeps its status keeps its time.
    pub previous: &'a [Condition],
    pub now: Timestamp,
}

impl ConditionWriter<'_> {
    pub fn condition(&self, type_: ConditionType, state: &ConditionState) -> Condition {
        let status = state.status.as_str();
        let before = self.previous.iter().find(|it| it.type_ == type_.as_str() && it.status == status);
        Condition {
            type_: type_.to_string(),
            status: status.to_owned(),
            reason: state.reason.to_string(),
            message: truncated(&state.message, MAX_MESSAGE),
            observed_generation: self.generation,
            // The API keeps whole seconds; anything else would differ from what is read back.
            last_transition_time: before
                .map_or_else(|| Time(whole_seconds(self.now)), |it| it.last_transition_time.clone()),
        }
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `Reconciling` and `Stalled`, by which kstatus distinguishes progress from failure.
pub fn kstatus(ready: &ConditionState, is_working: bool, is_stalled: bool) -> (ConditionState, ConditionState) {
    let stalled = match is_stalled {
        true => ConditionState::yes(ready.reason, ready.message.clone()),
        false => ConditionState::no(Reason::Progressing, "Nothing holds the operator up."),
    };
    let reconciling = match is_working && !is_stalled {
        true if ready.is_true() => ConditionState::yes(Reason::Progressing, "A change is on its way to the pods."),
        true => ConditionState::yes(Reason::Progressing, ready.message.clone()),
        false => ConditionState::no(Reason::Available, "The operator has nothing to do here."),
    };
    (reconciling, stalled)
}

/// An event for each condition whose status or reason changed, if that is worth one; each reason once.
pub fn transitions(before: &[Condition], after: &[Condition]) -> Vec<EventDraft> {
    let reported =
        [ConditionType::Accepted, ConditionType::Ready, ConditionType::PolicySynced, ConditionType::CredentialsReady];
    let mut events: Vec<EventDraft> = Vec::new();
    for condition in after.iter().filter(|it| reported.iter().any(|type_| type_.as_str() == it.type_)) {
        let known = before.iter().find(|it| it.type_ == condition.type_);
        if known.is_some_and(|it| it.status == condition.status && it.reason == condition.reason) {
            continue;
        }
        let passing = [Reason::Progressing, Reason::Publishing, Reason::NoPods].map(Reason::as_str);
        let is_warning = condition.status == "False" && !passing.contains(&condition.reason.as_str());
        // `PolicySynced` comes and goes with each edit: only its failure is worth an event.
        let is_good = condition.status == "True" && condition.type_ == ConditionType::Ready.as_str();
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
        if let (true, Some(reason)) = (is_warning || is_good, reason)
            && !events.iter().any(|event| event.reason == *reason)
        {
            events.push(EventDraft { is_warning, reason: *reason, note: condition.message.clone() });
        }
    }
    events
}

/// At most so many bytes, ending with a whole character.
fn truncated(text: &str, longest: usize) -> String {
    match text.len() <= longest {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(longest.saturating_sub('…'.len_utf8()))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::ConditionStatus::{False, True};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let first = ConditionWriter { generation: Some(1), previous: &[], now: at(100) };
        let state = ConditionState::of_reason;
        let previous = [first.condition(ConditionType::Ready, &state(False, Reason::Progressing))];
        let later = ConditionWriter { generation: Some(2), previous: &previous, now: at(200) };
        let same = later.condition(ConditionType::Ready, &state(False, Reason::PodsNotReady));
        let other = later.condition(ConditionType::Ready, &state(True, Reason::Available));
        assert_eq!((same.last_transition_time.0, other.last_transition_time.0), (at(100), at(200)));
        assert_eq!((same.reason.as_str(), same.observed_generation), ("PodsNotReady", Some(2)));
    }

    #[test]
    fn only_a_change_is_an_event_and_each_reason_once() {
        let writer = ConditionWriter { generation: Some(1), previous: &[], now: at(100) };
        let invalid = ConditionState::no(Reason::Invalid, "spec.tools[0].backend: …");
        let conditions = [ConditionType::Accepted, ConditionType::Ready].map(|type_| writer.condition(type_, &invalid));
        let event = EventDraft::warning(Reason::Invalid, invalid.message.clone());
        assert_eq!(transitions(&[], &conditions), [event]);
        assert_eq!(transitions(&conditions, &conditions), []);
    }

    #[test]
    fn a_text_is_truncated_between_characters() {
        assert_eq!(truncated("añb", 9), "añb");
        assert_eq!(truncated("ññññ", 6), "ñ…");
    }
}
