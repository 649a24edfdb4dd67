//! One server's reconcile, in five steps: fetch, validate, build, apply, status.

mod apply;
mod changes;
mod confirmation;
mod corrections;
mod documents;
mod fetch;
mod grants;
mod names;
mod object_write;
mod pods;
mod publication;
mod reports;
mod rest;
mod standing;
mod status;

use std::{sync::Arc, time::Duration};

use portcullis_crds::NamespacedName;
use tokio::time::Instant;
use tracing::debug;

use super::{
    context::{Context, ReconcileKey},
    queue::{Lane, WorkItem},
};
use crate::{
    build::{self, DEPLOYMENT, PodSettings},
    cluster::Error,
    sync::lock,
    validate::{self, ServerPlan},
};
pub use changes::Changes;
pub use confirmation::Confirmation;
pub use corrections::{Child, Corrections};
pub use documents::DocumentGate;
use fetch::Fetched;
pub use grants::may_serve;
use rest::Remaining;
pub use rest::Rest;
pub use standing::Strangers;
use status::RECHECK;

/// How long the first publication of a server waits for the keys of clients that were applied together with it.
const FIRST_KEYS: Duration = Duration::from_millis(500);

/// The longest that a removal which failed waits until its failure is in the status.
const FAILURE_REPORT: Duration = Duration::from_secs(2);

/// Reconciles one server, once no changes are being collected. In the lane of removals only its documents are written; the rest is
/// left to another reconcile, or begun if none does it in time. Returns how long it may be left alone if nothing happens to it.
///
/// # Errors
/// Returns the first error of a write; everything that does not depend on that write was done, or was begun.
pub async fn reconcile(
    context: &Arc<Context>,
    name: &NamespacedName,
    work: &WorkItem<ReconcileKey>,
) -> Result<Duration, Error> {
    let memory = context.of_servers.known(name);
    // A removal waits for no change that is being collected: it takes up all of them.
    if let Some(memory) = &memory {
        let publications = &mut lock(memory).publications;
        match work.lane {
            Lane::Removals => publications.taken_up(),
            Lane::Others => {
                if let Some(wait) = publications.wait() {
                    return Ok(wait);
                }
            }
        }
    }
    let result = tokio::select! {
        result = take_steps(context, name, work) => result,
        // A removal waits for no other write of its own server. What was begun goes on: each document by itself, and the rest.
        () = work.given_up() => {
            debug!(server = %name, "given up for a removal");
            Ok(Duration::ZERO)
        }
    };
    if let (Err(_), Some(memory)) = (&result, memory) {
        lock(&memory).publications.failed();
    }
    result
}

/// Reconciles one server now.
async fn take_steps(
    context: &Arc<Context>,
    name: &NamespacedName,
    work: &WorkItem<ReconcileKey>,
) -> Result<Duration, Error> {
    let mut turn = None;
    let (fetched, plan, applying, left_over) = loop {
        // The plan of a removal is carried out as far as an earlier write allows, even if another removal waits.
        work.can_be_given_up(work.lane != Lane::Removals);
        let Some((fetched, live)) = fetch::fetch(context, name).await else {
            forget(context, name);
            return Ok(RECHECK);
        };
        if is_too_early(context, &fetched) {
            return Ok(FIRST_KEYS / 10);
        }
        let plan = Arc::new(validate::server(&fetched.input));
        let pods = pod_settings(context, &fetched, &plan);
        let (server, names) = (&fetched.input.server, &fetched.names);
        let objects = build::objects(context.kinds, server, &plan, pods.as_ref(), names, &context.settings);
        let fetched = Arc::new(fetched);
        let Some((applying, left_over)) = apply::documents(context, &fetched, live, &plan, objects, work).await else {
            continue;
        };
        if work.lane != Lane::Removals && turn.is_none() {
            match rest::turn(context, name) {
                Ok(free) => turn = Some(free),
                Err(taken) => {
                    turn = Some(taken.await);
                    continue;
                }
            }
        }
        break (fetched, plan, applying, left_over);
    };
    pods::follow(context, &fetched, status::occasion(&applying.outcome));
    if fetched.server.is_terminating() {
        // Its pods take up revocations for as long as they run, and get no privileges.
        reports::report_end(context, name);
    }
    let remaining = Remaining { context: Arc::clone(context), fetched, plan, applying, left_over };
    match turn {
        Some(turn) => rest::begin(remaining, turn, work.room()).await,
        None => end_removal(remaining, work).await,
    }
}

/// Leaves the rest to another reconcile, which has time. While a removal cannot be written it is tried again and none follows: then
/// the rest is done beside it.
async fn end_removal(remaining: Remaining, work: &WorkItem<ReconcileKey>) -> Result<Duration, Error> {
    let (context, fetched, plan) =
        (Arc::clone(&remaining.context), Arc::clone(&remaining.fetched), Arc::clone(&remaining.plan));
    let documents = remaining.applying.outcome.of_documents();
    let turn = match documents.problem {
        Some(_) => rest::take(&context, &fetched.name),
        None => rest::owe(&context, &fetched.name),
    };
    if let Some(turn) = turn {
        drop(rest::begin(remaining, turn, work.room_of_rest()));
    }
    let is_said = documents.problem.as_ref().is_some_and(|problem| !problem.is_conflict());
    if is_said && !fetched.server.is_terminating() {
        // However long the rest takes. The next removal does not wait for it.
        work.can_be_given_up(true);
        let report = status::report(&context, &fetched, &plan, &documents);
        let _ = tokio::time::timeout(FAILURE_REPORT, report).await;
    }
    documents.problem.map_or(Ok(Duration::ZERO), Err)
}

/// What the pods are to have while the spec has errors, so that all else of the Deployment is put back whatever is changed in it: what
/// they have of the last valid spec, or if that is from before this run, what the Deployment has.
fn pod_settings(context: &Context, fetched: &Fetched, plan: &ServerPlan) -> Option<PodSettings> {
    let memory = context.of_servers.of(&fetched.name);
    let known = &mut lock(&memory).pod_settings;
    if let Some(spec) = build::valid_spec(&fetched.input.server, plan) {
        *known = Some(PodSettings::of_spec(spec));
    } else if known.is_none() {
        let live = context.owned.get(&DEPLOYMENT.object, &fetched.name);
        // One that is somebody else's does not mean that the server was ever valid.
        let uid = fetched.input.server.uid();
        let live = live.filter(|live| plan.documents.is_some() || live.owner_uid() == Some(uid));
        *known = live.map(|live| PodSettings::of_deployment(&live.value()));
    }
    known.clone()
}

/// Whether keys of clients that were applied together with a new server are still being created: a first policy with all of
/// them spares its pods a second one.
fn is_too_early(context: &Context, fetched: &Fetched) -> bool {
    let memory = context.of_servers.of(&fetched.name);
    let first_seen = *lock(&memory).first_seen.get_or_insert_with(Instant::now);
    fetched.input.published.policy.is_none()
        && first_seen.elapsed() < FIRST_KEYS
        && fetched.input.clients.iter().any(|client| client.credentials.is_none())
}

/// The server no longer exists. Its objects are garbage collected.
fn forget(context: &Context, name: &NamespacedName) {
    context.prober.forget(name);
    if context.of_servers.forget(name).is_some() {
        for client in context.index.clients(name) {
            context.queue.add(ReconcileKey::Client(client));
        }
    }
}

#[cfg(test)]
mod tests;
