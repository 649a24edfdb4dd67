//! One client's reconcile, in five steps: fetch, validate, build, apply, status.

mod apply;
mod fetch;
mod status;

use std::time::Duration;

use portcullis_crds::NamespacedName;

use super::context::Context;
use crate::{cluster::Error, validate::CheckedClient};
use status::RECHECK;

/// Reconciles one client. Returns how long it may be left alone if nothing happens to it.
///
/// # Errors
/// Returns an error if the API server refuses. The client's servers were told what is known even so.
pub async fn reconcile(context: &Context, name: &NamespacedName) -> Result<Duration, Error> {
    let Some(mut fetched) = fetch::fetch(context, name).await else {
        context.of_clients.forget(name);
        return Ok(RECHECK);
    };
    let checked = CheckedClient::new(fetched.client.object.clone());
    let (client, servers) = (fetched.client.clone(), fetched.servers.take());
    // The key is random: it is built only where it is written.
    let key = apply::apply(context, fetched).await;
    if status::is_premature(context, &client, &key) {
        return key.map(|_| RECHECK);
    }
    let again = status::report(context, &client, servers, checked.findings(), &key).await?;
    key.map(|_| again)
}
