//! `run`: keeps a cluster in the state that its McpServers and McpClients declare.
//!
//! Watches fill stores and name what changed; the queue gives each name to one reconcile at a time; and a reconcile reads as
//! its five steps in [`server`] and [`client`]. There is no leader election yet: run one replica.

mod client;
mod collect;
mod conditions;
mod context;
mod index;
mod memory;
mod polling;
mod queue;
mod routing;
mod server;
mod status;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use tracing::{debug, error, info, warn};

use crate::{
    build::{KINDS, Settings},
    cluster::{
        backoff::spread,
        client::{Cluster, ConnectError},
        fence::Fence,
        scope::Scopes,
    },
};
use context::{Context, ReconcileKey};
use memory::Failures;
use queue::{Lane, WorkItem};

/// The longest that one reconcile may take: longer than any one call of the API.
const RECONCILE: Duration = Duration::from_secs(60);
/// From this pause on, the next reconcile of an object is moved a little so that not all come at once.
const SPREAD_FROM: Duration = Duration::from_secs(300);
/// How often the log reports that not everything could be listed yet.
const SYNC: Duration = Duration::from_secs(10);

/// Why the operator ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What it no longer sees it would no longer revoke.
    #[error("a watch ended: {0}")]
    WatchEnded(String),
}

/// Runs until `stop` completes. Whatever fails meanwhile is tried again.
///
/// # Errors
/// Returns an error if no client of the API can be made, or a watch ends.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let context = Context::new(Cluster::connect(Fence::open()).await?, settings, KINDS, Scopes::all());
    let mut watches = context.watch();
    tokio::select! {
        () = stop => {
            info!("stopping");
            Ok(())
        }
        () = work(&context) => Ok(()),
        Some(ended) = watches.join_next() => {
            Err(Error::WatchEnded(ended.err().map(|error| error.to_string()).unwrap_or_default()))
        }
    }
}

/// Reconciles what is due, for ever.
async fn work(context: &Arc<Context>) {
    while tokio::time::timeout(SYNC, context.synced()).await.is_err() {
        warn!("not everything could be listed yet: nothing is published before");
    }
    info!("everything was seen; reconciling");
    let failures: Arc<Failures<ReconcileKey>> = Arc::default();
    let mut tasks = JoinSet::new();
    loop {
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "a reconcile panicked; its object is left alone for a while");
            }
        }
        let item = context.queue.next().await;
        let (context, failures) = (Arc::clone(context), Arc::clone(&failures));
        tasks.spawn(async move {
            if let Some((pause, lane)) = reconcile(&context, &item, &failures).await {
                context.queue.add_at(item.key.clone(), Instant::now() + pause, lane);
            }
        });
    }
}

/// Reconciles one object. Returns how long it may be left alone if nothing happens to it, and the lane in which it goes on; `None`
/// if it no longer exists.
async fn reconcile(
    context: &Context,
    item: &WorkItem<ReconcileKey>,
    failures: &Failures<ReconcileKey>,
) -> Option<(Duration, Lane)> {
    let key = &item.key;
    let work = async {
        match key {
            ReconcileKey::Client(name) => (client::reconcile(context, name).await, context.clients.get(name).is_some()),
            ReconcileKey::Server(name) => {
                (server::reconcile(context, name, item).await, context.servers.get(name).is_some())
            }
        }
    };
    match tokio::time::timeout(RECONCILE, work).await {
        Ok((Ok(again), exists)) => {
            failures.succeeded(key);
            exists.then(|| (if again >= SPREAD_FROM { spread(again) } else { again }, Lane::Others))
        }
        Ok((Err(error), _)) if error.is_conflict() => {
            debug!(object = %key, %error, "changed by another party at the same time; reconciling again");
            Some((failures.pause(key), item.lane))
        }
        Ok((Err(error), _)) => {
            let pause = failures.pause(key);
            warn!(object = %key, %error, retry_in = ?pause, "could not be reconciled");
            Some((pause, item.lane))
        }
        Err(_) => {
            let pause = failures.pause(key);
            warn!(object = %key, retry_in = ?pause, "took longer than {RECONCILE:?}");
            Some((pause, item.lane))
        }
    }
}
