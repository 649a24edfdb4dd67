//! One client's reconcile, in five steps: fetch, validate, build, apply, status.

mod apply;
mod fetch;
mod status;

use std::time::Duration;

use portcullis_crds::NamespacedName;
use tracing::debug;

use super::{
    context::{Context, ReconcileKey},
    queue::{Lane, WorkItem},
};
use crate::{cluster::Error, validate::CheckedClient};
use apply::Applied;
use status::RECHECK;

/// Reconciles one client. In the lane of removals nothing is written that could hang: the servers are told what was taken away, and
/// another reconcile does the rest. Returns how long it may be left alone if nothing happens to it.
///
/// # Errors
/// Returns an error if the API server refuses. What is known was passed on to the client's servers even so.
pub async fn reconcile(
    context: &Context,
    name: &NamespacedName,
    work: &WorkItem<ReconcileKey>,
) -> Result<Duration, Error> {
    tokio::select! {
        result = take_steps(context, name, work.lane) => result,
        // What is revoked waits for no Secret that is being written: what was being sent replaces nothing that was written later.
        () = work.given_up() => {
            debug!(client = %name, "given up for a removal");
            Ok(Duration::ZERO)
        }
    }
}

async fn take_steps(context: &Context, name: &NamespacedName, lane: Lane) -> Result<Duration, Error> {
    let Some(client) = fetch::client(context, name) else {
        context.of_clients.forget(name);
        return Ok(RECHECK);
    };
    if lane == Lane::Removals {
        apply::take_away_known(context, &client);
        apply::take_away(context, &fetch::fetch(context, client).await);
        return Ok(Duration::ZERO);
    }
    let checked = CheckedClient::new(client.object.clone());
    let fetched = fetch::fetch(context, client.clone()).await;
    // A credential is random: it is built only if it is written.
    let applied = apply::apply(context, fetched).await;
    if status::is_premature(context, &client, &applied) {
        return first_error(applied).map_or(Ok(RECHECK), Err);
    }
    let again = status::report(context, &client, checked.findings(), &applied).await?;
    first_error(applied).map_or(Ok(again), Err)
}

fn first_error(applied: Vec<Applied>) -> Option<Error> {
    if applied.is_empty() {
        return Some(Error::InvalidSpec);
    }
    applied.into_iter().find_map(|credential| credential.result.err())
}

#[cfg(test)]
mod tests;
