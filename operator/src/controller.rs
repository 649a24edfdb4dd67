//! `run`: keeps a cluster in the state that its McpServers and McpClients declare.
//!
//! Watches fill stores and name what changed; the queue gives each name to one reconcile at a time; and a reconcile reads as
//! its five steps in [`server`] and [`client`]. There is no leader election yet: run one replica.

mod client;
mod collect;
mod conditions;
mod context;
mod failures;
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
    sync::lock,
};
use context::{Context, ReconcileKey};
use failures::{Failure, Failures, Urgency};
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
            ReconcileKey::Client(name) => {
                (client::reconcile(context, name, item.lane).await, context.clients.get(name).is_some())
            }
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
            let text = error.to_string();
            Some((failures.failed(key, context.failure(item, &text, false)).pause, item.lane))
        }
        Ok((Err(error), _)) => {
            let retry = failures.failed(key, context.failure(item, &error.to_string(), error.is_permanent()));
            let pause = retry.pause;
            match retry.is_news {
                true => warn!(object = %key, %error, retry_in = ?pause, "could not be reconciled"),
                false => debug!(object = %key, %error, retry_in = ?pause, "could still not be reconciled"),
            }
            Some((pause, item.lane))
        }
        Err(_) => {
            let pause = failures.failed(key, context.failure(item, "timeout", false)).pause;
            warn!(object = %key, retry_in = ?pause, "took longer than {RECONCILE:?}");
            Some((pause, item.lane))
        }
    }
}

impl Context {
    /// A failure of an object's reconcile. What holds back a removal is tried often, and so is a client: its Secrets are not watched.
    fn failure<'a>(&self, item: &WorkItem<ReconcileKey>, text: &'a str, is_permanent: bool) -> Failure<'a> {
        let (generation, holds_removal) = match &item.key {
            ReconcileKey::Client(name) => {
                (self.clients.get(name).and_then(|client| client.object.metadata.generation), true)
            }
            ReconcileKey::Server(name) => {
                let memory = self.of_servers.known(name);
                let generation = self.servers.get(name).and_then(|server| server.object.metadata.generation);
                (generation, memory.is_none_or(|memory| lock(&memory).holds_removal))
            }
        };
        let urgency = match (is_permanent, holds_removal || item.lane == Lane::Removals) {
            (false, _) => Urgency::Passing,
            (true, true) => Urgency::Removal,
            (true, false) => Urgency::Refused,
        };
        Failure { text, generation, urgency }
    }
}
