//! What keeps a pod from taking calls, in the words of kubelet and of the scheduler. Pure.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus};

/// The longest reason or message that is kept of kubelet's, in bytes.
const MAX_MESSAGE: usize = 512;
/// Reasons for which a container waits that may pass by themselves.
const PASSING: &[&str] = &["ContainerCreating", "PodInitializing"];

/// Why a pod takes no calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTrouble {
    pub reason: String,
    pub message: String,
    pub severity: Severity,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Each pod is like this for a moment.
    Passing,
    /// It may pass by itself, as when a pod that waits for a node gets one.
    Unclear,
    /// Somebody must do something about it.
    Lasting,
}

impl PodTrouble {
    /// The first thing that is wrong; `None` if the pod is ready, or nothing is known to be wrong.
    pub fn of(status: &PodStatus) -> Option<Self> {
        let conditions = || status.conditions.iter().flatten();
        if conditions().any(|it| it.type_ == "Ready" && it.status == "True") {
            return None;
        }
        let containers = [&status.init_container_statuses, &status.container_statuses];
        let of_container = containers.into_iter().flatten().flatten().find_map(container);
        let of_pod = || {
            let reason = status.reason.as_deref()?;
            let has_failed = status.phase.as_deref() == Some("Failed");
            let severity = if has_failed { Severity::Lasting } else { Severity::Unclear };
            Some(Self::new(reason, status.message.as_deref(), severity))
        };
        let unscheduled = || {
            let condition = conditions().find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
            Some(Self::new(condition.reason.as_deref()?, condition.message.as_deref(), Severity::Unclear))
        };
        let unready = || {
            let containers = status.container_statuses.as_ref()?;
            // The startup probe has succeeded, and the readiness probe does not.
            let has_started = containers.iter().any(|it| it.started == Some(true) && !it.ready);
            let condition =
                conditions().find(|it| it.type_ == "Ready" && it.status != "True").filter(|_| has_started)?;
            Some(Self::new(condition.reason.as_deref()?, condition.message.as_deref(), Severity::Passing))
        };
        of_container.or_else(of_pod).or_else(unscheduled).or_else(unready)
    }

    fn new(reason: &str, message: Option<&str>, severity: Severity) -> Self {
        Self { reason: bounded(reason), message: bounded(message.unwrap_or_default()), severity }
    }
}

impl std::fmt::Display for PodTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { reason, message, .. } = self;
        if message.is_empty() { f.write_str(reason) } else { write!(f, "{reason}: {message}") }
    }
}

/// What is wrong with a container. One that waits to be started again says why it ended.
fn container(status: &ContainerStatus) -> Option<PodTrouble> {
    let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    match status.state.as_ref()? {
        ContainerState { waiting: Some(waiting), .. } => {
            let reason = waiting.reason.as_deref().filter(|reason| !PASSING.contains(reason))?;
            let message = match ended {
                Some(ended) => format!("{}; {}", exit(ended), waiting.message.as_deref().unwrap_or_default()),
                None => waiting.message.clone().unwrap_or_default(),
            };
            Some(PodTrouble::new(reason, Some(&message), Severity::Lasting))
        }
        ContainerState { terminated: Some(ended), .. } if ended.exit_code != 0 => {
            Some(PodTrouble::new(ended.reason.as_deref().unwrap_or("Error"), Some(&exit(ended)), Severity::Unclear))
        }
        // With exit code 0, too: kubelet stops it so if a probe fails.
        _ => {
            let ended = ended?;
            let message = format!("restarted {} times, {}", status.restart_count, exit(ended));
            Some(PodTrouble::new(ended.reason.as_deref().unwrap_or("Error"), Some(&message), Severity::Unclear))
        }
    }
}

/// How a process ended.
fn exit(ended: &ContainerStateTerminated) -> String {
    let code = ended.exit_code;
    let reason = ended.reason.as_deref().filter(|reason| *reason != "Error").map(|reason| format!(", {reason}"));
    let reason = reason.unwrap_or_default();
    match ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("ended with exit code {code}{reason}: {message}"),
        None => format!("ended with exit code {code}{reason}"),
    }
}

/// In one line.
fn bounded(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = message.floor_char_boundary(MAX_MESSAGE);
    if end < message.len() { format!("{}…", &message[..end]) } else { message }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        Severity::{Lasting, Passing, Unclear},
        *,
    };

    fn words(status: Value) -> Option<(String, Severity)> {
        let status: PodStatus = serde_json::from_value(status).unwrap();
        PodTrouble::of(&status).map(|trouble| (trouble.to_string(), trouble.severity))
    }

    fn container(state: Value, last: Value) -> Value {
        json!({
            "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last,
        })
    }

    fn unready() -> Value {
        json!({"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "containers with unready status: [server]"})
    }

    fn scheduled() -> Value {
        json!({"type": "PodScheduled", "status": "True"})
    }

    /// A container whose startup probe has succeeded.
    fn started() -> Value {
        let mut started = container(json!({"running": {}}), json!({}));
        started["started"] = json!(true);
        started
    }

    #[test]
    fn a_pod_says_in_the_words_of_kubelet_and_of_the_scheduler_what_is_wrong() {
        let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
        let crashed = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "cannot bind\n"}});
        let of = |state: Value| json!({"phase": "Pending", "containerStatuses": [container(state, json!({}))]});
        for (status, expected) in [
            (json!({}), None),
            (of(json!({"waiting": {"reason": "ContainerCreating"}})), None),
            (of(json!({"running": {}})), None),
            (
                of(waiting("ImagePullBackOff", "Back-off pulling image \"x\"")),
                Some(("ImagePullBackOff: Back-off pulling image \"x\"", Lasting)),
            ),
            (of(waiting("InvalidImageName", "")), Some(("InvalidImageName", Lasting))),
            (
                of(waiting("CreateContainerConfigError", "secret \"a\" not found")),
                Some(("CreateContainerConfigError: secret \"a\" not found", Lasting)),
            ),
            (
                json!({"containerStatuses": [container(waiting("CrashLoopBackOff", "back-off 10s"), crashed.clone())]}),
                Some(("CrashLoopBackOff: ended with exit code 1: cannot bind; back-off 10s", Lasting)),
            ),
            (
                json!({"containerStatuses": [container(
                    json!({"running": {}}),
                    json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
                )]}),
                Some(("OOMKilled: restarted 3 times, ended with exit code 137, OOMKilled", Unclear)),
            ),
            (
                json!({"initContainerStatuses": [container(crashed, json!({}))], "containerStatuses": [
                    container(json!({"waiting": {"reason": "PodInitializing"}}), json!({})),
                ]}),
                Some(("Error: ended with exit code 1: cannot bind", Unclear)),
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
                Some(("Evicted: The node was low on resource: memory.", Lasting)),
            ),
            (
                json!({"phase": "Pending", "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
                ]}),
                Some(("Unschedulable: 0/3 nodes are available", Unclear)),
            ),
            (
                json!({"containerStatuses": [container(
                    json!({"running": {}}),
                    json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
                )]}),
                Some(("Completed: restarted 3 times, ended with exit code 0, Completed", Unclear)),
            ),
            (
                json!({"phase": "Running", "conditions": [unready(), scheduled()], "containerStatuses": [started()]}),
                Some(("ContainersNotReady: containers with unready status: [server]", Passing)),
            ),
            (
                json!({"phase": "Running", "conditions": [unready()], "containerStatuses": [
                    container(json!({"running": {}}), json!({})),
                ]}),
                None,
            ),
            (
                json!({"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [
                    container(json!({"running": {}}), json!({"terminated": {"exitCode": 1}})),
                ]}),
                None,
            ),
        ] {
            let expected = expected.map(|(words, severity): (&str, Severity)| (words.to_owned(), severity));
            assert_eq!(words(status.clone()), expected, "{status}");
        }
    }

    #[test]
    fn a_message_is_one_line_with_a_bound() {
        for (reason, message) in [("X", &*"ñ\n".repeat(1000)), (&*"X\n".repeat(1000), "")] {
            let (words, _) = words(json!({"phase": "Failed", "reason": reason, "message": message})).unwrap();
            assert!(words.len() < MAX_MESSAGE + 10 && !words.contains('\n'), "{words}");
        }
    }
}
