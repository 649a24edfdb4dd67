//! `run`: keeps a cluster as its McpServers and McpClients say.
//!
//! Watches fill stores and name what changed; the queue gives each name to one reconcile at a time, and a reconcile reads
//! as its five steps in [`server`] and [`client`]. One replica at a time: there is no leader election yet.

mod client;
mod context;
mod fetch;
mod index;
mod memory;
mod queue;
mod server;
mod status;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tracing::{debug, error, info, warn};

use crate::{
    build::Settings,
    cluster::{
        backoff::spread,
        client::{Cluster, ConnectError},
        fence::Fence,
        scope::Scopes,
    },
};
use context::{Context, ReconcileKey};
use memory::Failures;

/// How many objects are worked on at once.
const WORKERS: usize = 16;
/// The longest that one reconcile may take: longer than any one call of the API.
const RECONCILE: Duration = Duration::from_secs(60);
/// What comes as seldom as this need not come to the second.
const SELDOM: Duration = Duration::from_secs(300);
/// After this long without a first sight of everything, the log says what is missing.
const SYNC: Duration = Duration::from_secs(10);

/// Runs until `stop` is done. Whatever fails on the way is tried again.
///
/// # Errors
/// Where no client of the API can be made.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), ConnectError> {
    let context = Context::new(Cluster::connect(Fence::open()).await?, settings, Scopes::all());
    let watches = context.watch();
    tokio::select! {
        () = stop => info!("stopping"),
        () = work(&context) => {}
    }
    drop(watches);
    Ok(())
}

/// Takes what is due from the queue, for ever.
async fn work(context: &Arc<Context>) {
    while tokio::time::timeout(SYNC, context.synced()).await.is_err() {
        warn!("not everything could be listed yet: nothing is published until it was");
    }
    info!("everything was seen; reconciling");
    let permits = Arc::new(Semaphore::new(WORKERS));
    let failures: Arc<Failures<ReconcileKey>> = Arc::default();
    let mut tasks = JoinSet::new();
    loop {
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "a reconcile broke off; its object rests a while");
            }
        }
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let taken = context.queue.next().await;
        let (context, failures) = (Arc::clone(context), Arc::clone(&failures));
        tasks.spawn(async move {
            if let Some(pause) = reconcile(&context, &taken.key, &failures).await {
                context.queue.add_at(taken.key.clone(), Instant::now() + pause);
            }
            drop(permit);
        });
    }
}

/// One object. Gives how long it may be left alone if nothing happens to it; none where it is gone.
async fn reconcile(context: &Context, key: &ReconcileKey, failures: &Failures<ReconcileKey>) -> Option<Duration> {
    let work = async {
        match key {
            ReconcileKey::Client(name) => (client::reconcile(context, name).await, context.clients.get(name).is_some()),
            ReconcileKey::Server(name) => (server::reconcile(context, name).await, context.servers.get(name).is_some()),
        }
    };
    match tokio::time::timeout(RECONCILE, work).await {
        Ok((Ok(again), is_there)) => {
            failures.succeeded(key);
            is_there.then(|| if again >= SELDOM { spread(again) } else { again })
        }
        Ok((Err(error), _)) if error.is_conflict() => {
            debug!(object = %key, %error, "changed at the same moment; looking again");
            Some(failures.pause(key))
        }
        Ok((Err(error), _)) => {
            let pause = failures.pause(key);
            warn!(object = %key, %error, retry_in = ?pause, "could not be reconciled");
            Some(pause)
        }
        Err(_) => {
            let pause = failures.pause(key);
            warn!(object = %key, retry_in = ?pause, "took longer than {RECONCILE:?}");
            Some(pause)
        }
    }
}
