//! One server's reconcile, in five steps: fetch, validate, build, apply, status.

mod report;
mod status;
mod write;

use std::time::Duration;

use tokio::time::Instant;

use super::{
    context::{Context, ReconcileKey},
    fetch::{self, Fetched},
    memory::lock,
};
use crate::{
    build,
    cluster::Error,
    validate::{self, NamespacedName},
};

/// Secrets are not watched, so each server is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Keys of new clients are mostly made within this time; a new server waits no longer for them.
const KEYS: Duration = Duration::from_millis(500);

/// Reconciles one server. Gives how long it may be left alone.
///
/// # Errors
/// The first write that failed; everything else was done nevertheless.
pub async fn reconcile(context: &Context, name: &NamespacedName) -> Result<Duration, Error> {
    let Some((fetched, credentials)) = fetch::server(context, name).await? else {
        forget(context, name);
        return Ok(LOOK_AGAIN);
    };
    if is_too_early(context, &fetched) {
        return Ok(KEYS / 10);
    }
    let plan = validate::server(&fetched.input);
    let objects = build::objects(&fetched.input.server, &plan, &context.settings);
    let outcome = write::apply(context, &fetched, credentials, &plan, objects).await;
    if fetched.server.is_terminating() {
        report::follow(context, &fetched, &outcome);
        leave(context, name);
        return outcome.problem.map_or(Ok(LOOK_AGAIN), Err);
    }
    let again = report::report(context, &fetched, &plan, &outcome).await?;
    outcome.problem.map_or(Ok(again), Err)
}

/// Whether the keys of clients that were applied together with a new server are still being made: a first policy with all of
/// them spares its pods a second one.
fn is_too_early(context: &Context, fetched: &Fetched) -> bool {
    let memory = context.of_servers.of(&fetched.name);
    let since = *lock(&memory).since.get_or_insert_with(Instant::now);
    fetched.input.published.policy.is_none()
        && since.elapsed() < KEYS
        && fetched.input.clients.iter().any(|client| client.keys.is_none())
}

/// The server is going: its clients say so, though its pods are told of revocations for as long as they run.
fn leave(context: &Context, name: &NamespacedName) {
    let memory = context.of_servers.of(name);
    if !std::mem::replace(&mut lock(&memory).is_ending, true) {
        for client in context.index.clients(name) {
            context.queue.add(ReconcileKey::Client(client));
        }
    }
}

/// The server is gone: nobody is asked any more, and its clients say so. Its objects are collected by their owner.
fn forget(context: &Context, name: &NamespacedName) {
    context.prober.forget(name);
    if context.of_servers.forget(name).is_some() {
        for client in context.index.clients(name) {
            context.queue.add(ReconcileKey::Client(client));
        }
    }
}
