//! Whether the pods enforce what was decided, as a whole and about one client: pure. What is said follows from what is written, what
//! the pods report and the time, and from nothing that happened before.

use std::collections::BTreeSet;

use portcullis_crds::{ClientId, condition::Reason};

use super::{pods::Pod, status::StatusInput};
use crate::{
    cluster::Error,
    condition::{ConditionState, ConditionStatus},
    probe::LAG,
};

/// How many pods a message names.
const NAMED_PODS: usize = 3;

/// `PolicySynced` of a client's access.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmation {
    pub synced: ConditionState,
    /// Whether it stays as it is until somebody does something about it.
    pub is_stalled: bool,
    /// Whether no pod takes calls, so that what was taken away is in force nowhere.
    pub is_unserved: bool,
}

impl Confirmation {
    /// Whether what was taken away is in force nowhere.
    pub fn is_removed(&self) -> bool {
        self.synced.is_true() || self.is_unserved
    }
}

/// What the pods enforce of the documents.
pub struct Confirmations<'a> {
    problem: Option<&'a Error>,
    unwritten: &'a BTreeSet<ClientId>,
    counted: Vec<&'a Pod>,
    /// Those that are leaving: what they do not serve is not in force, and they confirm nothing.
    leaving: Vec<&'a Pod>,
    /// What is said while no pod counts.
    no_pods: Confirmation,
    /// What is said of each client for which nothing is missing.
    in_force: Confirmation,
}

impl<'a> Confirmations<'a> {
    /// `ready` is that of the server, and whether it is stalled: it says why there are no pods.
    pub fn new(input: &StatusInput<'a>, ready: &ConditionState, is_stalled: bool) -> Self {
        let synced = no_pods(input);
        let no_pods = match is_stalled && !synced.is_true() {
            true => ConditionState::no(ready.reason, ready.message.clone()),
            false => synced,
        };
        Self {
            problem: input.problem,
            unwritten: input.unwritten,
            counted: counted(input.pods),
            leaving: input.pods.iter().filter(|pod| pod.is_leaving && pod.counts()).collect(),
            no_pods: Confirmation {
                is_stalled: no_pods.status == ConditionStatus::False,
                synced: no_pods,
                is_unserved: true,
            },
            in_force: Confirmation {
                synced: ConditionState::yes(Reason::Synced, "it is in force on every pod that takes calls"),
                is_stalled: false,
                is_unserved: false,
            },
        }
    }

    /// Whether the pods enforce what was decided about this client.
    pub fn of(&self, client: &ClientId) -> Confirmation {
        if self.unwritten.contains(client) {
            return Confirmation {
                synced: unwritten(self.problem),
                is_stalled: self.problem.is_some_and(Error::is_permanent),
                is_unserved: false,
            };
        }
        let pods = self.counted.iter().chain(&self.leaving).copied();
        let behind: Vec<&Pod> = pods.filter(|pod| pod.behind.contains(client)).collect();
        if self.counted.is_empty() && behind.is_empty() {
            return self.no_pods.clone();
        }
        match of_pods(&behind, "its access") {
            Some(synced) => {
                Confirmation { is_stalled: synced.reason == Reason::PodLagging, synced, is_unserved: false }
            }
            None => self.in_force.clone(),
        }
    }
}

/// `PolicySynced` of the server: whether every pod that counts serves what is published.
pub fn synced(input: &StatusInput<'_>) -> ConditionState {
    let Some((policy, _)) = input.published else {
        return match input.problem {
            Some(problem) => ConditionState::no(problem.reason(), problem.to_string()),
            None if input.plan.findings.is_empty() => {
                ConditionState::unknown(Reason::Publishing, "the policy is being published")
            }
            None => ConditionState::no(Reason::Invalid, "Nothing was ever published: the spec has errors."),
        };
    };
    if !input.is_in_place {
        return unwritten(input.problem);
    }
    let counted = counted(input.pods);
    if counted.is_empty() {
        return no_pods(input);
    }
    let behind: Vec<&Pod> = counted.into_iter().filter(|pod| pod.behind_for.is_some()).collect();
    let revision = policy.revision.short();
    of_pods(&behind, &format!("policy {revision}")).unwrap_or_else(|| {
        ConditionState::yes(Reason::Synced, format!("policy {revision} is in force on every pod that takes calls"))
    })
}

/// While a document is not in the cluster as it was planned. Without a problem another party wrote it at the same time.
fn unwritten(problem: Option<&Error>) -> ConditionState {
    match problem {
        Some(problem) => ConditionState::no(problem.reason(), problem.to_string()),
        None => ConditionState::unknown(Reason::Publishing, "the policy is being published"),
    }
}

fn counted(pods: &[Pod]) -> Vec<&Pod> {
    pods.iter().filter(|pod| !pod.is_leaving && pod.counts()).collect()
}

/// While no pod takes calls, nothing is enforced. If that is what the spec wants, nothing has to be confirmed either.
fn no_pods(input: &StatusInput<'_>) -> ConditionState {
    match input.is_scaled_to_zero() {
        true => ConditionState::of_reason(ConditionStatus::True, Reason::ScaledToZero),
        false => ConditionState::of_reason(ConditionStatus::Unknown, Reason::NoPods),
    }
}

/// `what` is published, and these pods do not serve it; `None` if there are none.
fn of_pods(behind: &[&Pod], what: &str) -> Option<ConditionState> {
    if behind.is_empty() {
        return None;
    }
    let lagging: Vec<&Pod> = behind.iter().copied().filter(|pod| pod.is_lagging()).collect();
    if lagging.is_empty() {
        let message = format!("{what} is published, and so far {}", named(behind));
        return Some(ConditionState::unknown(Reason::Publishing, message));
    }
    let message = format!("{what} was published over {} s ago, and {}", LAG.as_secs(), named(&lagging));
    Some(ConditionState::no(Reason::PodLagging, message))
}

/// What the first of these pods serve, and how many more there are.
fn named(pods: &[&Pod]) -> String {
    let first: Vec<String> = pods.iter().take(NAMED_PODS).map(|pod| serving(pod)).collect();
    match pods.len().checked_sub(NAMED_PODS).filter(|more| *more > 0) {
        Some(more) => format!("{}; and {more} more", first.join("; ")),
        None => first.join("; "),
    }
}

fn serving(pod: &Pod) -> String {
    let name = match pod.is_leaving {
        true => format!("{}, which is not gone yet,", pod.name),
        false => pod.name.clone(),
    };
    let Some(serves) = &pod.serves else { return format!("pod {name} has not reported what it serves") };
    let before = if pod.doubtful_for.is_some() { ", maybe since before the latest change" } else { "" };
    let part = |revision: &Option<String>| revision.as_deref().map_or("none", short).to_owned();
    format!("pod {name} serves policy {}, credentials {}{before}", part(&serves.policy), part(&serves.credentials))
}

fn short(revision: &str) -> &str {
    revision.get(..12).unwrap_or(revision)
}
