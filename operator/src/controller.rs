//! `run`: keeps a cluster in the state that its McpServers and McpClients declare.
//!
//! Watches fill stores and name what changed; the queue gives each name to one reconcile at a time; and a reconcile reads as
//! its five steps in [`server`] and [`client`]. It writes only while it holds the Lease of [`crate::lease`].

mod client;
mod collect;
mod conditions;
mod context;
mod failures;
mod health;
mod index;
mod memory;
mod panicked;
mod polling;
mod queue;
mod routing;
mod server;
mod status;
mod tasks;

use std::{
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

use crate::{
    backoff::spread,
    build::{KINDS, Settings},
    cluster::{
        client::{Cluster, ConnectError},
        fence::Fence,
        scope::Scopes,
    },
    endpoint,
    lease::{self, Holder, Lease, Refused, Term},
    metrics::{ReconcileResult, Task},
    rbac,
    requirements::{Gate, Lacking, Requirements},
    supervise::caught,
    sync::lock,
};
use context::{Context, ReconcileKey};
use failures::{Failure, Failures, Urgency};
use queue::{Lane, WorkItem};
use tasks::Tasks;

/// The longest that one reconcile may take: longer than any one call of the API.
const RECONCILE: Duration = Duration::from_secs(60);
/// From this pause on, the next reconcile of an object is moved a little so that not all come at once.
const SPREAD_FROM: Duration = Duration::from_secs(300);
/// How long the address of probes is not asked for after the start.
const LEASE_FIRST: Duration = Duration::from_secs(1);
/// How often the log reports that not everything could be listed yet.
const SYNC: Duration = Duration::from_secs(10);

/// How the operator runs.
pub struct Options {
    pub settings: Settings,
    /// The address of probes and metrics.
    pub listen: SocketAddr,
    /// The namespace of the Lease; by default [`crate::lease::NAMESPACE`].
    pub namespace: Option<String>,
}

/// Why the operator ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Lacking(#[from] Lacking),
    /// What it no longer sees it would no longer revoke.
    #[error("the operator cannot go on: {0}")]
    GaveUp(String),
}

/// Runs until `stop` completes. Whatever fails meanwhile is tried again.
///
/// # Errors
/// Returns an error if no client of the API can be made, another operator runs, the cluster lacks what is needed, or a task ends again
/// and again.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let Options { settings, listen, namespace } = options;
    let cluster = Cluster::connect(Fence::open()).await?;
    let (term, gate) = (Term::default(), Gate::default());
    let context = Context::new(cluster.with_fence(gate.fence(term.fence())), settings, KINDS, Scopes::all());
    let rights = rbac::rights(namespace.as_deref().unwrap_or(lease::NAMESPACE));
    let reader = cluster.clone();
    let holder = Holder::this_process(cluster.is_of_pod());
    let lease = Arc::new(Lease::new(cluster, namespace, holder, term, &context.supervisor));
    let mut tasks = Tasks::default();
    let pages = Arc::clone(&context);
    tasks.keep(&context.supervisor, Task::Endpoint, move |_| {
        let pages = Arc::clone(&pages);
        async move {
            // A second operator on the same machine is refused before it needs the address.
            sleep(LEASE_FIRST).await;
            let metrics = pages.supervisor.metrics().clone();
            endpoint::serve(listen, pages, metrics).await;
        }
    });
    let requirements = Arc::new(Requirements::new(reader, rights, gate, &context.supervisor));
    let checked = Arc::clone(&requirements);
    tasks.keep(&context.supervisor, Task::Requirements, move |_| Arc::clone(&checked).keep());
    let mut stop = pin!(stop);
    let begins = async {
        requirements.usable().await;
        lease.acquire().await
    };
    tokio::select! {
        () = &mut stop => return Ok(()),
        acquired = begins => acquired?,
        lacking = requirements.gave_up() => return Err(lacking.into()),
    }
    let kept = Arc::clone(&lease);
    tasks.keep(&context.supervisor, Task::Lease, move |_| Arc::clone(&kept).keep());
    context.watch(&mut tasks);
    drive(&context, &mut tasks);
    let result = tokio::select! {
        () = stop => {
            info!("stopping");
            Ok(())
        }
        why = tasks.gave_up() => Err(Error::GaveUp(why)),
        refused = lease.lost() => return Err(refused.into()),
        lacking = requirements.gave_up() => Err(lacking.into()),
    };
    drop(tasks);
    lease.release().await;
    result
}

/// Reconciles what is due, for as long as the tasks run.
fn drive(context: &Arc<Context>, tasks: &mut Tasks) {
    let failures: Arc<Failures<ReconcileKey>> = Arc::default();
    let driven = Arc::clone(context);
    tasks.keep(&context.supervisor, Task::Driver, move |is_again| {
        work(Arc::clone(&driven), Arc::clone(&failures), is_again)
    });
}

/// Reconciles what is due, for ever. After a panic of the driver itself everything is.
async fn work(context: Arc<Context>, failures: Arc<Failures<ReconcileKey>>, is_again: bool) {
    while tokio::time::timeout(SYNC, context.synced()).await.is_err() {
        warn!("not everything could be listed yet: nothing is published before");
    }
    info!("everything was seen; reconciling");
    if is_again {
        context.keys().into_iter().for_each(|key| context.queue.add(key));
    }
    context.is_driven.store(true, Relaxed);
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let item = context.queue.next().await;
        #[cfg(test)]
        crate::supervise::faults::point(&format!("driver at {}", item.key));
        let (context, failures) = (Arc::clone(&context), Arc::clone(&failures));
        tasks.spawn(async move {
            if let Some((pause, lane)) = work_on(&context, &item, &failures).await {
                context.queue.add_at(item.key.clone(), Instant::now() + pause, lane);
            }
        });
    }
}

/// Reconciles one object. Returns how long it may be left alone if nothing happens to it, and the lane in which it goes on; `None`
/// if it no longer exists. A panic is a failure of this object only.
async fn work_on(
    context: &Arc<Context>,
    item: &WorkItem<ReconcileKey>,
    failures: &Failures<ReconcileKey>,
) -> Option<(Duration, Lane)> {
    let began = Instant::now();
    let (result, again) = match caught(reconcile(context, item, failures)).await {
        Ok(ended) => ended,
        Err(why) => {
            let retry = failures.failed(&item.key, context.failure(item, &why, false));
            panicked::report(context, &item.key, &why, retry).await;
            (ReconcileResult::Panicked, Some((retry.pause, item.lane)))
        }
    };
    context.supervisor.metrics().reconciled(item.key.kind(), result, began.elapsed());
    again
}

async fn reconcile(
    context: &Arc<Context>,
    item: &WorkItem<ReconcileKey>,
    failures: &Failures<ReconcileKey>,
) -> (ReconcileResult, Option<(Duration, Lane)>) {
    let key = &item.key;
    let work = async {
        #[cfg(test)]
        crate::supervise::faults::point(&format!("reconcile of {key}"));
        match key {
            ReconcileKey::Client(name) => client::reconcile(context, name, item).await,
            ReconcileKey::Server(name) => server::reconcile(context, name, item).await,
        }
    };
    let (result, pause) = match tokio::time::timeout(RECONCILE, work).await {
        Ok(Ok(again)) => {
            let exists = context.exists(key);
            // In the lane of removals only a part was done.
            if item.lane != Lane::Removals || !exists {
                failures.succeeded(key);
            }
            let pause = if again >= SPREAD_FROM { spread(again) } else { again };
            return (ReconcileResult::Success, exists.then_some((pause, Lane::Others)));
        }
        Ok(Err(error)) if error.is_conflict() => {
            debug!(server = key.server(), client = key.client(), %error, "changed by another party at the same time; reconciling again");
            let text = error.to_string();
            (ReconcileResult::Conflict, failures.failed(key, context.failure(item, &text, false)).pause)
        }
        Ok(Err(error)) => {
            let is_permanent = error.is_permanent();
            let retry = failures.failed(key, context.failure(item, &error.to_string(), is_permanent));
            let pause = retry.pause;
            match retry.is_news {
                true => {
                    warn!(server = key.server(), client = key.client(), %error, retryIn = ?pause, "could not be reconciled")
                }
                false => {
                    debug!(server = key.server(), client = key.client(), %error, retryIn = ?pause, "could still not be reconciled")
                }
            }
            (if is_permanent { ReconcileResult::Refused } else { ReconcileResult::Failed }, pause)
        }
        Err(_) => {
            let pause = failures.failed(key, context.failure(item, "timeout", false)).pause;
            warn!(server = key.server(), client = key.client(), retryIn = ?pause, "took longer than {RECONCILE:?}");
            (ReconcileResult::Timeout, pause)
        }
    };
    (result, Some((pause, item.lane)))
}

impl Context {
    /// A failure of an object's reconcile. What holds back a removal is tried often. That is no client's: it is reconciled once its
    /// Secrets differ from what was seen of them, which the poller finds out at a bounded rate for all clients together.
    fn failure<'a>(&self, item: &WorkItem<ReconcileKey>, text: &'a str, is_permanent: bool) -> Failure<'a> {
        let (generation, holds_removal) = match &item.key {
            ReconcileKey::Client(name) => {
                (self.clients.get(name).and_then(|client| client.object.metadata.generation), false)
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

#[cfg(test)]
mod tests;
