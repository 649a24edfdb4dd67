//! The content of a server's status: pure, a function of what one reconcile read.

use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use portcullis_crds::{
    NamespacedName,
    condition::{ConditionType, Reason},
    contract::{PublishedCredentials, PublishedPolicy, Version},
    server::{McpServerStatus, PodRevision, PodStatus, PodSummary, PolicyStatus, ToolStatus},
};

use crate::{
    build,
    cluster::Error,
    condition::{ConditionState, ConditionStatus},
    controller::{
        conditions::{ConditionWriter, kstatus},
        server::pods::Pod,
    },
    probe::LAG,
    validate::ServerPlan,
};

/// How many pods a status names.
const NAMED_PODS: usize = 16;

/// Everything that a server's status is made of.
pub struct StatusInput<'a> {
    pub server: &'a NamespacedName,
    pub generation: Option<i64>,
    /// How many pods there are to be; `None` if the spec cannot be decoded.
    pub replicas: Option<u16>,
    pub plan: &'a ServerPlan,
    /// The documents in force: written, not only planned.
    pub published: Option<(&'a PublishedPolicy, &'a PublishedCredentials)>,
    /// The first write that failed.
    pub problem: Option<&'a Error>,
    pub deployment: Option<&'a Deployment>,
    pub pods: &'a [Pod],
    pub previous: Option<&'a McpServerStatus>,
    pub now: Timestamp,
}

/// The whole status.
pub fn content(input: &StatusInput<'_>) -> McpServerStatus {
    let accepted = accepted(input);
    let synced = synced(input);
    let ready = ready(input, &accepted, &synced);
    let is_publishing = synced.reason == Reason::Publishing;
    let is_working =
        is_publishing || matches!(ready.reason, Reason::Progressing | Reason::WriteFailed) || is_rolling(input);
    let is_stalled = !ready.is_true()
        && matches!(ready.reason, Reason::Invalid | Reason::NotOwned | Reason::PodLagging | Reason::PodsNotReady);
    let (reconciling, stalled) = kstatus(&ready, is_working, is_stalled);
    let previous = input.previous.map_or(&[][..], |status| &status.conditions);
    let writer = ConditionWriter { generation: input.generation, previous, now: input.now };
    let conditions = [
        (ConditionType::Accepted, &accepted),
        (ConditionType::PolicySynced, &synced),
        (ConditionType::Ready, &ready),
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
            policy.server.as_ref().map(|half| ToolStatus { served: count(half.spec.tools.len()) })
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

/// Whether every pod that counts serves what is published.
pub fn synced(input: &StatusInput<'_>) -> ConditionState {
    let Some((policy, _)) = input.published else {
        return match input.problem {
            Some(problem) => ConditionState::no(problem.reason(), problem.to_string()),
            None => ConditionState::no(Reason::Invalid, "Nothing was ever published: the spec has errors."),
        };
    };
    let counted: Vec<&Pod> = input.pods.iter().filter(|pod| pod.counts()).collect();
    let behind: Vec<&&Pod> = counted.iter().filter(|pod| pod.behind_for.is_some()).collect();
    let lagging: Vec<String> = behind.iter().filter(|pod| pod.is_lagging()).take(3).map(|pod| serving(pod)).collect();
    let revision = policy.revision.short();
    if counted.is_empty() {
        return ConditionState::of_reason(ConditionStatus::Unknown, Reason::NoPods);
    }
    if !lagging.is_empty() {
        let seconds = LAG.as_secs();
        let message = format!("policy {revision} was published over {seconds} s ago, and {}", lagging.join("; "));
        return ConditionState::no(Reason::PodLagging, message);
    }
    if behind.is_empty() {
        let message = format!("policy {revision} is in force on every pod that takes calls");
        return ConditionState::yes(Reason::Synced, message);
    }
    let behind: Vec<String> = behind.iter().take(3).map(|pod| serving(pod)).collect();
    let message = format!("policy {revision} is published, and so far {}", behind.join("; "));
    ConditionState::unknown(Reason::Publishing, message)
}

fn serving(pod: &Pod) -> String {
    let name = &pod.name;
    let Some(serves) = &pod.serves else { return format!("pod {name} has not reported what it serves") };
    let part = |revision: &Option<String>| revision.as_deref().map_or("none", short).to_owned();
    format!("pod {name} serves policy {}, credentials {}", part(&serves.policy), part(&serves.credentials))
}

fn short(revision: &str) -> &str {
    revision.get(..12).unwrap_or(revision)
}

fn ready(input: &StatusInput<'_>, accepted: &ConditionState, synced: &ConditionState) -> ConditionState {
    if !accepted.is_true() {
        return accepted.clone();
    }
    if let Some(problem) = input.problem {
        return ConditionState::no(problem.reason(), problem.to_string());
    }
    if synced.status == ConditionStatus::False {
        return synced.clone();
    }
    let desired = i32::from(input.replicas.unwrap_or_default());
    let status = input.deployment.and_then(|it| it.status.clone()).unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    let pods = format!("{available} of {desired} pods take calls");
    if available >= desired && !is_stale(input) {
        return ConditionState::yes(Reason::Available, pods);
    }
    let conditions = status.conditions.unwrap_or_default();
    let failed = conditions.iter().find(|it| {
        (it.type_ == "ReplicaFailure" && it.status == "True")
            || (it.type_ == "Progressing" && it.reason.as_deref() == Some("ProgressDeadlineExceeded"))
    });
    match failed {
        Some(failed) => {
            let why = failed.message.as_deref().unwrap_or_default();
            ConditionState::no(Reason::PodsNotReady, format!("{pods}: {why}"))
        }
        None => ConditionState::no(Reason::Progressing, pods),
    }
}

/// Whether the Deployment's status is about an older spec of it.
fn is_stale(input: &StatusInput<'_>) -> bool {
    input
        .deployment
        .is_none_or(|it| it.status.as_ref().and_then(|status| status.observed_generation) < it.metadata.generation)
}

/// Whether pods of an older template are being replaced.
fn is_rolling(input: &StatusInput<'_>) -> bool {
    let Some(deployment) = input.deployment else { return false };
    let status = deployment.status.clone().unwrap_or_default();
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or_default();
    is_stale(input) || updated < desired || status.replicas.unwrap_or_default() > updated
}

fn pods(input: &StatusInput<'_>) -> PodStatus {
    let mut all: Vec<&Pod> = input.pods.iter().collect();
    // Those that are behind first, and then in an order that does not change by itself.
    all.sort_by(|a, b| (a.behind_for.is_none(), &a.name).cmp(&(b.behind_for.is_none(), &b.name)));
    let total = all.len();
    let ready = all.iter().filter(|pod| pod.is_ready).count();
    let current = all.iter().filter(|pod| pod.behind_for.is_none()).count();
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
