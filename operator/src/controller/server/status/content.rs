//! The content of a server's status: pure, a function of what one reconcile read.

use portcullis_crds::{
    condition::{ConditionType, Reason},
    contract::Version,
    server::{McpServerStatus, PodRevision, PodStatus, PodSummary, PolicyStatus, ToolStatus},
};

use super::{input::StatusInput, rollout::Rollout};
use crate::{
    build,
    cluster::Error,
    condition::{ConditionState, ConditionStatus},
    controller::{
        conditions::{ConditionWriter, kstatus},
        server::{confirmation::synced, pods::Pod},
    },
};

/// How many pods a status names, and how many notes of one kind are in a message.
const NAMED_PODS: usize = 16;
const NAMED_NOTES: usize = 3;

/// How the server is.
pub struct Assessment {
    pub accepted: ConditionState,
    pub synced: ConditionState,
    pub ready: ConditionState,
    is_working: bool,
    /// Whether it is not ready, and stays so until somebody does something about it.
    pub is_stalled: bool,
}

/// Assesses a server.
pub fn assess(input: &StatusInput<'_>) -> Assessment {
    let (accepted, synced) = (accepted(input), synced(input));
    let rollout = Rollout::new(input);
    let (mut ready, is_stalled) = ready(input, &accepted, &synced, &rollout);
    ready.message = [std::mem::take(&mut ready.message)].into_iter().chain(notes(input)).collect::<Vec<_>>().join("; ");
    let passes = matches!(ready.reason, Reason::Progressing | Reason::WriteFailed | Reason::PodsNotReady);
    let is_working = synced.reason == Reason::Publishing || (!ready.is_true() && passes) || rollout.is_rolling;
    Assessment { accepted, synced, ready, is_working, is_stalled }
}

/// The whole status.
pub fn content(input: &StatusInput<'_>, assessment: &Assessment) -> McpServerStatus {
    let Assessment { accepted, synced, ready, is_working, is_stalled } = assessment;
    let (mut reconciling, mut stalled) = kstatus(ready, *is_working, *is_stalled);
    if !is_stalled && !input.contested.is_empty() {
        // The pods are as they are; what is wrong is who else writes.
        stalled = ConditionState::yes(Reason::DriftContested, input.contested.join("; "));
        reconciling = kstatus(ready, false, true).0;
    }
    let previous = input.previous.map_or(&[][..], |status| &status.conditions);
    let writer = ConditionWriter { generation: input.generation, previous, now: input.now };
    let conditions = [
        (ConditionType::Accepted, accepted),
        (ConditionType::PolicySynced, synced),
        (ConditionType::Ready, ready),
        (ConditionType::Reconciling, &reconciling),
        (ConditionType::Stalled, &stalled),
    ];
    McpServerStatus {
        observed_generation: input.generation,
        policy: input.published.map(|(policy, credentials)| PolicyStatus {
            revision: policy.revision.to_string(),
            credentials_revision: credentials.revision.to_string(),
            clients: count(policy.clients.len()),
            contract: Version::CURRENT.number(),
        }),
        tools: input.published.and_then(|(policy, _)| {
            policy.server.as_ref().map(|half| ToolStatus { served: count(half.readable.spec.tools.len()) })
        }),
        pods: Some(pods(input)),
        selector: Some(build::selector_text(&input.server.name)),
        url: input.published.map(|_| build::url(&input.server.namespace, &input.server.name)),
        conditions: conditions.map(|(type_, state)| writer.condition(type_, state)).into(),
    }
}

fn accepted(input: &StatusInput<'_>) -> ConditionState {
    if input.plan.findings.is_empty() {
        return ConditionState::of_reason(ConditionStatus::True, Reason::Valid);
    }
    let rest = match input.published {
        Some(_) => " (until this is fixed the last valid spec stays in force, with the clients as they are now)",
        None => " (until this is fixed nothing is deployed)",
    };
    ConditionState::no(Reason::Invalid, format!("{}{rest}", input.plan.findings))
}

/// `Ready`, and whether it is False until somebody does something about it.
fn ready(
    input: &StatusInput<'_>,
    accepted: &ConditionState,
    synced: &ConditionState,
    rollout: &Rollout,
) -> (ConditionState, bool) {
    if !accepted.is_true() {
        return (accepted.clone(), true);
    }
    if let Some(problem) = input.problem {
        return (ConditionState::no(problem.reason(), problem.to_string()), Error::is_permanent(problem));
    }
    if synced.status == ConditionStatus::False {
        return (synced.clone(), true);
    }
    if let Some(failure) = &rollout.failure {
        let message = format!("{}; {failure}", rollout.pods());
        return (ConditionState::no(Reason::PodsNotReady, message), true);
    }
    let trouble = rollout.trouble.as_ref().map(|trouble| format!("; {trouble}")).unwrap_or_default();
    let message = format!("{}{trouble}", rollout.pods());
    match rollout.is_available {
        true if input.is_scaled_to_zero() => {
            (ConditionState::of_reason(ConditionStatus::True, Reason::ScaledToZero), false)
        }
        true => (ConditionState::yes(Reason::Available, message), false),
        false if rollout.is_troubled => (ConditionState::no(Reason::PodsNotReady, message), rollout.is_trouble_lasting),
        false => (ConditionState::no(Reason::Progressing, message), false),
    }
}

/// What is said in addition, whatever the server is like.
fn notes(input: &StatusInput<'_>) -> Vec<String> {
    [input.foreign, input.unreadable].into_iter().flat_map(first).collect()
}

/// The first of these notes, and how many more there are.
fn first(notes: &[String]) -> Vec<String> {
    let mut first: Vec<String> = notes.iter().take(NAMED_NOTES).cloned().collect();
    if let (Some(last), Some(more @ 1..)) = (first.last_mut(), notes.len().checked_sub(NAMED_NOTES)) {
        last.push_str(&format!(" (and {more} more like this)"));
    }
    first
}

fn pods(input: &StatusInput<'_>) -> PodStatus {
    let mut all: Vec<&Pod> = input.pods.iter().collect();
    // Those that are behind first, and then in an order that does not change by itself.
    all.sort_by(|a, b| (a.behind_for.is_none(), &a.name).cmp(&(b.behind_for.is_none(), &b.name)));
    let ours = || all.iter().filter(|pod| !pod.is_leaving);
    let (total, ready) = (ours().count(), ours().filter(|pod| pod.is_ready).count());
    let current = ours().filter(|pod| pod.behind_for.is_none()).count();
    let desired = input.replicas.map_or(total, usize::from);
    PodStatus {
        total: count(total),
        ready: count(ready),
        current: count(current),
        summary: PodSummary { ready: format!("{ready}/{desired}"), current: format!("{current}/{total}") },
        revisions: all.into_iter().take(NAMED_PODS).map(pod_revision).collect(),
    }
}

fn pod_revision(pod: &Pod) -> PodRevision {
    let serves = pod.serves.clone().unwrap_or_default();
    PodRevision { pod: pod.name.clone(), policy_revision: serves.policy, credentials_revision: serves.credentials }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
