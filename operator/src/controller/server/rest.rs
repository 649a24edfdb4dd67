//! The rest of a reconcile, after its documents: all other objects, and the status.
//!
//! It is a task of its own, one at a time for each server. So a removal neither waits for it nor ends it: however many removals come
//! one after another, the rest is done beside them.

use std::{mem, panic, sync::Arc};

use portcullis_crds::NamespacedName;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::{Duration, Instant, timeout},
};

use super::{
    apply::{Applying, LeftOver},
    fetch::Fetched,
    status,
};
use crate::{
    cluster::Error,
    controller::{
        RECONCILE,
        context::{Context, ReconcileKey},
        queue::{Lane, Room},
    },
    sync::lock,
    validate::ServerPlan,
};

/// For how long removals leave the rest to another reconcile. If they leave it no time, it is begun with the plan of a removal.
const OWED: Duration = Duration::from_secs(1);

/// Whether the rest of a server's reconcile is being done, or has to be.
#[derive(Debug, Default)]
pub struct Rest {
    one: Arc<AsyncMutex<()>>,
    /// Since when only removals were done.
    owed_since: Option<Instant>,
    /// Whether another reconcile has to follow the one that does it.
    is_due_again: bool,
}

/// The right to do it.
pub type Turn = OwnedMutexGuard<()>;

/// Takes the turn; if it is another one's, returns what to wait for.
pub fn turn(context: &Context, name: &NamespacedName) -> Result<Turn, impl Future<Output = Turn> + use<>> {
    let memory = context.of_servers.of(name);
    let one = Arc::clone(&lock(&memory).rest.one);
    Arc::clone(&one).try_lock_owned().map_err(|_| one.lock_owned())
}

/// Takes note that a removal left the rest to the reconcile that follows. Returns the turn if that was so for too long.
pub fn owe(context: &Context, name: &NamespacedName) -> Option<Turn> {
    let memory = context.of_servers.of(name);
    let since = *lock(&memory).rest.owed_since.get_or_insert_with(Instant::now);
    (since.elapsed() >= OWED).then(|| turn(context, name).ok()).flatten()
}

/// Returns the turn to a removal that is tried again, so that no other reconcile follows. If it is another one's, one follows that.
pub fn take(context: &Context, name: &NamespacedName) -> Option<Turn> {
    let memory = context.of_servers.of(name);
    lock(&memory).rest.is_due_again = true;
    turn(context, name).ok()
}

/// What has to be done.
pub struct Remaining {
    pub context: Arc<Context>,
    pub fetched: Arc<Fetched>,
    pub plan: Arc<ServerPlan>,
    pub applying: Applying,
    pub left_over: LeftOver,
}

/// Begins the rest, which goes on even if what is returned is dropped. Another reconcile follows then: nobody learns of the end.
pub fn begin(
    remaining: Remaining,
    turn: Turn,
    room: Arc<Room<ReconcileKey>>,
) -> impl Future<Output = Result<Duration, Error>> {
    let (context, name) = (Arc::clone(&remaining.context), remaining.fetched.name.clone());
    let memory = context.of_servers.of(&name);
    {
        let rest = &mut lock(&memory).rest;
        (rest.owed_since, rest.is_due_again) = (None, false);
    }
    let task = tokio::spawn(async move {
        let late = Error::Timeout { doing: "writing the objects".into(), after: RECONCILE };
        let end = timeout(RECONCILE, remaining.done()).await.unwrap_or(Err(late));
        drop((turn, room));
        if lock(&memory).rest.is_due_again {
            context.queue.add(ReconcileKey::Server(name));
        }
        end
    });
    async {
        match task.await {
            Ok(end) => end,
            Err(error) => panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Remaining {
    async fn done(self) -> Result<Duration, Error> {
        let Self { context, mut fetched, plan, applying, left_over } = self;
        let mut outcome = applying.rest(left_over).await;
        // That may have taken long.
        if let Some(fetched) = Arc::get_mut(&mut fetched) {
            fetched.pods = context.pods.of_server(&fetched.name);
        }
        let name = &fetched.name;
        // Another server may have taken the name.
        if context.servers.get(name).is_none_or(|now| now.object.uid() != fetched.input.server.uid()) {
            return Ok(Duration::ZERO);
        }
        if fetched.server.is_terminating() {
            // Its status says nothing any more.
            return outcome.problem.map_or(Ok(status::RECHECK), Err);
        }
        let memory = context.of_servers.of(name);
        outcome.events = mem::take(&mut lock(&memory).events);
        let (again, unreported) = status::report(&context, &fetched, &plan, &outcome).await;
        let Some(problem) = outcome.problem.or(unreported) else { return Ok(again) };
        if again < status::RECHECK {
            // A status that is to be written, or a pod that will lag, does not wait for the next attempt.
            context.queue.add_at(ReconcileKey::Server(name.clone()), Instant::now() + again, Lane::Others);
        }
        Err(problem)
    }
}

#[cfg(test)]
mod tests;
