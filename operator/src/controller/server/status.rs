//! Step five: the pods take up what is published, the clients get their reports, and the status is written.

mod content;
mod input;
mod rollout;

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use portcullis_crds::{ClientId, McpServer, McpServerSpec, condition::Reason, server::McpServerStatus};
use tokio::time::Instant;

use super::{
    apply::Outcome,
    changes::changed,
    confirmation::Confirmations,
    fetch::{Fetched, published_policy},
    pods::{Pod, follow, pods},
    reports::report_to_clients,
    standing,
};
use crate::{
    build::DEPLOYMENT,
    cluster::{Error, events::EventDraft},
    controller::{
        context::Context,
        status::{self, PACE},
    },
    probe::Occasion,
    sync::lock,
    validate::ServerPlan,
};
use content::{assess, content};
pub use input::StatusInput;

/// How often each server is reconciled although nothing is known to have changed.
pub const RECHECK: Duration = Duration::from_secs(600);
/// Pods mostly confirm a publication within this time; a status that they have not is written only after it.
const CONFIRMATION: Duration = Duration::from_millis(400);
/// How long until a reconcile looks again for the first answer of a pod, if that does not start one.
const AWAITED: Duration = Duration::from_secs(1);

/// Reports on one reconcile. Returns how long until the server must be reconciled again, and what
/// failed here: the ReplicaSets could not be read, or the status not be written.
pub async fn report(
    context: &Context,
    fetched: &Fetched,
    plan: &ServerPlan,
    outcome: &Outcome,
) -> (Duration, Option<Error>) {
    let is_in_place = outcome.is_policy_in_place && outcome.are_credentials_in_place;
    let (unsure, owners) = standing::read_owners(context, fetched).await;
    let published = follow(context, fetched, Occasion::Routine);
    let now = Timestamp::now();
    let pods = pods(context, fetched, &published, now);
    let (foreign, news, settles) = standing::foreign(context, fetched);
    let metadata = &fetched.input.server.metadata;
    let foreign_events = news.into_iter().map(|note| EventDraft::warning(Reason::ForeignPod, note));
    // They wait for the status, and it does not for them.
    let events: Vec<EventDraft> = outcome.events.iter().cloned().chain(foreign_events).collect();
    if pods.iter().any(|pod| pod.counts() && pod.is_awaited) {
        context.events.write::<McpServer>(metadata, &events).await;
        return (AWAITED, owners.err());
    }
    let (contested, corrects) = lock(&context.of_servers.of(&fetched.name)).corrections.contested(Instant::now());
    let previous = lock(&context.of_servers.of(&fetched.name)).status.clone().or_else(|| fetched.server.status.clone());
    let unwritten = unwritten(context, fetched, plan, outcome);
    let deployment = context.owned.get(&DEPLOYMENT.object, &fetched.name);
    let deployment: Option<Deployment> = deployment.and_then(|object| serde_json::from_value(object.value()).ok());
    let input = StatusInput {
        server: &fetched.name,
        generation: metadata.generation,
        replicas: fetched.input.server.spec.as_ref().ok().map(McpServerSpec::replicas),
        plan,
        published: published.both(),
        is_in_place,
        unwritten: &unwritten,
        // A conflict with another party's write is not a problem: the next reconcile resolves it.
        problem: outcome.problem.as_ref().or(owners.as_ref().err()).filter(|problem| !problem.is_conflict()),
        deployment: deployment.as_ref(),
        pods: &pods,
        foreign: &foreign,
        unreadable: &unreadable(context, fetched),
        contested: &contested,
        previous: previous.as_ref(),
        now,
    };
    lock(&context.of_servers.of(&fetched.name)).holds_removal = holds_removal(context, fetched, &unwritten);
    count_confirmation(context, fetched, is_in_place, &pods);
    let assessment = assess(&input);
    let confirmations = Confirmations::new(&input, &assessment.ready, assessment.is_stalled);
    report_to_clients(context, fetched, plan, &confirmations, &unwritten);
    let written = write(context, fetched, content(&input, &assessment)).await;
    context.events.write::<McpServer>(metadata, &events).await;
    let again = *written.as_ref().unwrap_or(&RECHECK);
    let lags_in = pods.iter().filter_map(Pod::lags_in).min().map(|left| left + Duration::from_millis(100));
    let again = [lags_in, unsure, settles, corrects].into_iter().flatten().fold(again, Duration::min);
    (again, owners.err().or(written.err()))
}

/// The clients whose Secrets cannot be read, and why. What was known of their keys stays.
fn unreadable(context: &Context, fetched: &Fetched) -> Vec<String> {
    let clients = fetched.input.clients.iter().map(|client| client.client.object().namespaced_name());
    let why = clients.filter_map(|name| {
        let memory = context.of_clients.known(&name)?;
        let error = lock(&memory).unreadable.clone()?;
        Some(format!("the key of client {name} stays as it was known, because it cannot be read: {error}"))
    });
    let mut all: Vec<String> = why.collect();
    all.sort_unstable();
    all
}

/// Counts how long the pods took, once all that take calls serve what is published.
fn count_confirmation(context: &Context, fetched: &Fetched, is_in_place: bool, pods: &[Pod]) {
    let counted: Vec<&Pod> = pods.iter().filter(|pod| pod.counts()).collect();
    if is_in_place && !counted.is_empty() && counted.iter().all(|pod| pod.behind_for.is_none()) {
        let since = lock(&context.of_servers.of(&fetched.name)).unconfirmed_since.take();
        since.into_iter().for_each(|since| context.supervisor.metrics().confirmed(since.elapsed()));
    }
}

/// Why the pods are looked at after the documents were written, of which they were told already.
pub fn occasion(outcome: &Outcome) -> Occasion {
    match outcome.is_policy_in_place && outcome.are_credentials_in_place {
        true => Occasion::Routine,
        false => Occasion::InDoubt,
    }
}

/// The clients whose entries in the cluster are not those that were planned, because a document could not be written. What somebody
/// else wrote into the policy counts, too.
fn unwritten(context: &Context, fetched: &Fetched, plan: &ServerPlan, outcome: &Outcome) -> BTreeSet<ClientId> {
    let (Some(documents), published) = (&plan.documents, &fetched.input.published) else { return BTreeSet::new() };
    let mut clients = BTreeSet::new();
    // While pods mount the documents by either name, that of some of them may be written.
    let has_both_names = fetched.names.written.len() > 1;
    if !outcome.is_policy_in_place {
        let live = published_policy(context, &fetched.name);
        let live = live.as_ref().map_or(&[][..], |policy| &policy.clients);
        clients.extend(changed(live, documents.policy.clients(), |client| &client.id));
        clients.extend(documents.policy.clients().iter().filter(|_| has_both_names).map(|client| client.id.clone()));
    }
    if !outcome.are_credentials_in_place {
        let live = published.credentials.as_ref().map_or(&[][..], |credentials| &credentials.clients);
        clients.extend(changed(live, documents.credentials.clients(), |client| &client.id));
        clients
            .extend(documents.credentials.clients().iter().filter(|_| has_both_names).map(|client| client.id.clone()));
    }
    clients
}

/// Whether one of the entries that are not as they were planned is in the cluster: what it grants may have been taken away.
fn holds_removal(context: &Context, fetched: &Fetched, unwritten: &BTreeSet<ClientId>) -> bool {
    if unwritten.is_empty() {
        return false;
    }
    let live = published_policy(context, &fetched.name);
    let published = &fetched.input.published;
    let policy = live.iter().chain(&published.policy).flat_map(|policy| policy.clients.iter().map(|client| &client.id));
    let keys = published.credentials.iter().flat_map(|published| published.clients.iter().map(|client| &client.id));
    policy.chain(keys).any(|client| unwritten.contains(client))
}

/// Writes the status if it changed and may be written now. Returns how long until it may be written.
async fn write(context: &Context, fetched: &Fetched, status: McpServerStatus) -> Result<Duration, Error> {
    let memory = context.of_servers.of(&fetched.name);
    let live = fetched.server.status.as_ref();
    if live.is_some_and(|live| status::is_written(live, &status, |status| &mut status.conditions)) {
        lock(&memory).status = Some(status);
        return Ok(RECHECK);
    }
    let (status_at, published_at) = {
        let memory = lock(&memory);
        (memory.status_at, memory.publications.last())
    };
    let is_waiting = status.conditions.iter().any(|it| it.reason == Reason::Publishing.as_str());
    let not_before = [status_at.map(|at| at + PACE), published_at.filter(|_| is_waiting).map(|at| at + CONFIRMATION)];
    let now = Instant::now();
    if let Some(at) = not_before.into_iter().flatten().max().filter(|at| *at > now) {
        return Ok(at - now);
    }
    let before = {
        let mut memory = lock(&memory);
        memory.status_at = Some(now);
        memory.status.replace(status.clone()).or_else(|| live.cloned())
    };
    let before = before.map(|status| status.conditions).unwrap_or_default();
    let metadata = &fetched.input.server.metadata;
    let store = (&*context.servers, Context::server_changed as fn(&Context, &_));
    let written = status::write::<McpServer, _>(context, store, metadata, &status, &before, &status.conditions).await;
    if written.is_err() {
        lock(&memory).status = None;
    }
    written.map(|()| RECHECK)
}
