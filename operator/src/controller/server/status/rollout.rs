//! How far the pods of a server's Deployment are, and what keeps them: pure.

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

use super::input::StatusInput;
use crate::{cluster::pod_trouble::Severity, controller::server::pods::Pod};

/// The rollout of the Deployment.
pub struct Rollout {
    available: i32,
    desired: i32,
    /// Whether as many pods as there are to be take calls.
    pub is_available: bool,
    /// Whether pods of an older template are being replaced.
    pub is_rolling: bool,
    /// Why it does not go on, in the words of the Deployment's controller.
    pub failure: Option<String>,
    /// What keeps the first pod that does not start, and how many others do not.
    pub trouble: Option<String>,
    /// Whether one of them does not just take a moment.
    pub is_troubled: bool,
    /// Whether one of them does not start until somebody does something about it.
    pub is_trouble_lasting: bool,
}

impl Rollout {
    pub fn new(input: &StatusInput<'_>) -> Self {
        let status = input.deployment.and_then(|it| it.status.clone()).unwrap_or_default();
        // What it says is about an older spec of it, or there is none.
        let is_stale =
            input.deployment.is_none_or(|deployment| status.observed_generation < deployment.metadata.generation);
        let desired = i32::from(input.replicas.unwrap_or_default());
        let available = status.available_replicas.unwrap_or_default();
        let is_rolling = input.deployment.is_some_and(|deployment| {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
            is_stale || is_incomplete(&status, wanted)
        });
        let is_available = available >= desired && !is_stale;
        let mut troubled: Vec<&Pod> =
            input.pods.iter().filter(|pod| !pod.is_leaving && pod.trouble.is_some()).collect();
        let severity = |pod: &&Pod| pod.trouble.as_ref().map(|trouble| std::cmp::Reverse(trouble.severity));
        troubled.sort_by_key(|pod| (severity(pod), &pod.name));
        let worst = troubled.first().and_then(|pod| pod.trouble.as_ref()).map(|trouble| trouble.severity);
        let is_failed = !is_stale && (is_rolling || !is_available);
        let failure = status.conditions.iter().flatten().find(|condition| is_failed && is_failure(condition));
        let mut failure = failure.map(|condition| condition.message.clone().unwrap_or_default());
        let trouble = trouble(&troubled);
        if let (Some(failure), Some(trouble)) = (&mut failure, &trouble) {
            *failure = format!("{failure}; {trouble}");
        }
        Self {
            available,
            desired,
            is_available,
            is_rolling,
            failure,
            trouble,
            is_troubled: worst > Some(Severity::Passing),
            is_trouble_lasting: worst == Some(Severity::Lasting),
        }
    }

    /// How many pods take calls, of how many.
    pub fn pods(&self) -> String {
        format!("{} of {} pods take calls", self.available, self.desired)
    }
}

fn is_incomplete(status: &DeploymentStatus, wanted: i32) -> bool {
    let updated = status.updated_replicas.unwrap_or_default();
    updated < wanted || status.replicas.unwrap_or_default() > updated
}

/// Whether pods cannot be created (quota, admission), or did not become ready within the Deployment's deadline.
fn is_failure(condition: &DeploymentCondition) -> bool {
    (condition.type_ == "ReplicaFailure" && condition.status == "True")
        || (condition.type_ == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
}

fn trouble(pods: &[&Pod]) -> Option<String> {
    let first = pods.first()?;
    let more = match pods.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    first.trouble.as_ref().map(|trouble| format!("pod {}: {trouble}{more}", first.name))
}
