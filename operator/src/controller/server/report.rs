//! Step five: pods are told and asked, clients hear what became of them, and the status says it all.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use portcullis_crds::{McpServer, McpServerSpec, condition::Reason, server::McpServerStatus};
use tokio::time::Instant;

use super::{
    LOOK_AGAIN,
    status::{Pod, StatusInput, revisions, status, synced},
    write::Outcome,
};
use crate::{
    cluster::{Error, object::ObservedPod},
    controller::{
        context::{Context, ReconcileKey},
        fetch::Fetched,
        memory::{ServerMemory, ServerReport, lock},
        status::{ConditionState, STATUS_PACE, transitions, write as write_status},
    },
    probe::{LAG, Restored, Revisions},
    validate::{Published, ServerPlan},
};

/// Pods mostly confirm a publication within this time; only then is it worth a status that they have not.
const CONFIRMATION: Duration = Duration::from_millis(400);

/// Reports on one reconcile. Gives how long the server may be left alone.
///
/// # Errors
/// Where the status cannot be written.
pub async fn report(
    context: &Context,
    fetched: &Fetched,
    plan: &ServerPlan,
    outcome: &Outcome,
) -> Result<Duration, Error> {
    let published = follow(context, fetched, outcome);
    let pods = pods(context, fetched);
    let deployment = context.children.deployments.get(&fetched.name);
    let deployment: Option<Deployment> = deployment.and_then(|child| serde_json::from_value(child.value()).ok());
    let spec = fetched.input.server.spec.as_ref().ok();
    let input = StatusInput {
        server: &fetched.name,
        generation: fetched.input.server.metadata.generation,
        replicas: spec.map(McpServerSpec::replicas),
        plan,
        published: published.both(),
        // What somebody else wrote at the same moment is no problem: the next look settles it.
        problem: outcome.problem.as_ref().filter(|problem| !problem.is_conflict()),
        deployment: deployment.as_ref(),
        pods: &pods,
        previous: fetched.server.status.as_ref(),
        now: Timestamp::now(),
    };
    let wanted = status(&input);
    report_to_clients(context, fetched, plan, &synced(&input));
    for event in &outcome.events {
        context.events.write::<McpServer>(&fetched.input.server.metadata, event).await;
    }
    let again = write(context, fetched, wanted).await?;
    let lagging_at =
        pods.iter().filter_map(|pod| LAG.checked_sub(pod.behind_for?)).filter(|left| !left.is_zero()).min();
    Ok(again.min(lagging_at.map_or(LOOK_AGAIN, |left| left + Duration::from_millis(100))))
}

/// Has the pods told of what is published, and asked what they serve. Gives what is published.
pub fn follow(context: &Context, fetched: &Fetched, outcome: &Outcome) -> Published {
    let memory = context.of_servers.of(&fetched.name);
    let published = lock(&memory).published.clone();
    if let Some(documents) = published.both() {
        let restored = restored(fetched.server.status.as_ref());
        let target = revisions(documents);
        context.prober.follow(&fetched.name, &target, outcome.is_published, &fetched.pods, &restored);
    }
    published
}

fn pods(context: &Context, fetched: &Fetched) -> Vec<Pod> {
    let live = fetched.pods.iter().filter(|pod| !pod.is_terminating);
    let pod = |pod: &Arc<ObservedPod>| {
        let known = context.prober.known(&pod.uid);
        Pod {
            name: pod.name.name.clone(),
            is_ready: pod.is_ready,
            is_running: pod.is_running,
            serves: known.as_ref().and_then(|known| known.serves.clone()),
            behind_for: match known {
                Some(known) => known.behind_since.map(|since| since.elapsed()),
                None => Some(Duration::ZERO),
            },
        }
    };
    live.map(pod).collect()
}

/// What an earlier run wrote down about the pods: they are asked before anything is said anew.
fn restored(status: Option<&McpServerStatus>) -> Restored {
    let Some(status) = status else { return Restored::default() };
    let pods = status.pods.iter().flat_map(|pods| &pods.revisions).filter(|pod| pod.policy_revision.is_some());
    let serves = pods.map(|pod| {
        let revisions =
            Revisions { policy: pod.policy_revision.clone(), credentials: pod.credentials_revision.clone() };
        (pod.pod.clone(), revisions)
    });
    let synced = status.conditions.iter().find(|it| it.type_ == "PolicySynced" && it.status != "True");
    let behind_for = synced.map(|it| Timestamp::now().duration_since(it.last_transition_time.0)).unwrap_or_default();
    Restored { serves: serves.collect(), behind_for: Duration::try_from(behind_for).unwrap_or_default() }
}

/// Has each client say what became of it, where that is news to it.
fn report_to_clients(context: &Context, fetched: &Fetched, plan: &ServerPlan, synced: &ConditionState) {
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    if synced.is_true() {
        memory.pending.clear();
    }
    let ServerMemory { pending, report, .. } = &mut *memory;
    let now = plan.outcomes.iter().map(|(client, outcome)| {
        let is_pending = pending.contains(client);
        (client.clone(), ServerReport { outcome: Some(outcome.clone()), is_pending, synced: synced.clone() })
    });
    let now = now.collect();
    let before = std::mem::replace(report, now);
    for (client, said) in report.iter() {
        let is_news = before.get(client).is_none_or(|before| {
            let concerns = said.is_pending || before.is_pending || !before.synced.is_true() || !said.synced.is_true();
            before.outcome != said.outcome
                || before.is_pending != said.is_pending
                || (concerns && before.synced != said.synced)
        });
        if is_news {
            context.queue.add(ReconcileKey::Client(client.clone()));
        }
    }
}

/// Writes the status, if it says anything new and its time has come; else gives when that is.
async fn write(context: &Context, fetched: &Fetched, wanted: McpServerStatus) -> Result<Duration, Error> {
    if fetched.server.status.as_ref() == Some(&wanted) {
        return Ok(LOOK_AGAIN);
    }
    let memory = context.of_servers.of(&fetched.name);
    let (status_at, published_at) = {
        let memory = lock(&memory);
        (memory.status_at, memory.published_at)
    };
    let is_waiting = wanted.conditions.iter().any(|it| it.reason == Reason::Publishing.as_str());
    let not_before =
        [status_at.map(|at| at + STATUS_PACE), published_at.filter(|_| is_waiting).map(|at| at + CONFIRMATION)];
    let now = Instant::now();
    if let Some(at) = not_before.into_iter().flatten().max().filter(|at| *at > now) {
        return Ok(at - now);
    }
    lock(&memory).status_at = Some(now);
    let before = fetched.server.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let events = transitions(before, &wanted.conditions);
    let written = write_status::<McpServer>(&context.cluster, &fetched.input.server.metadata, &wanted).await?;
    context.servers.update(written.into());
    for event in &events {
        context.events.write::<McpServer>(&fetched.input.server.metadata, event).await;
    }
    Ok(LOOK_AGAIN)
}
