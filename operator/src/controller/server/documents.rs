//! The writes of a server's documents.
//!
//! Each is a task of its own. So neither document waits for the other one, and a reconcile can be given up for a removal while a
//! write hangs. A document has one write at a time: a later one waits until the earlier one ended, or gives it up if it takes
//! access away; then it is planned again, and waits for no other document. What was given up has no effect after the later one:
//! that is always sent, and each replaces only the version that it was made for.

use std::{
    mem, panic,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};
use tracing::debug;

use super::{
    corrections::Child,
    object_write::{self, ObjectWrite, Written},
    pods, publication,
};
use crate::{
    cluster::Error,
    controller::{
        context::ReconcileKey,
        queue::{Lane, Room, WorkItem},
    },
    probe::Occasion,
    sync::lock,
};

/// How long both documents are waited for before the pods are told of the one that was written, and before another removal may
/// begin.
const BOTH: Duration = Duration::from_millis(200);
/// How long a removal waits for an earlier write of its document. After each that was given up the next one gets twice as long, so
/// that removals which come one after another do not keep a slow API server from taking any of them.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often that is doubled: to longer than a call can take.
const MAX_DOUBLINGS: u32 = 4;

/// Lets one write of a document at a time through.
#[derive(Debug, Default)]
pub struct DocumentGate {
    gate: Arc<AsyncMutex<()>>,
    current: Mutex<Current>,
}

/// The write that passed the gate last.
#[derive(Debug, Default)]
struct Current {
    begun: Option<Instant>,
    /// `None` once it was given up.
    task: Option<AbortHandle>,
    /// How many were given up one after another.
    given_up: u32,
}

impl DocumentGate {
    fn enter(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.gate).try_lock_owned().ok()
    }

    fn began(&self, task: AbortHandle) {
        let mut current = lock(&self.current);
        current.begun = Some(Instant::now());
        current.task = Some(task);
    }

    fn ended(&self) {
        lock(&self.current).given_up = 0;
    }

    /// Waits until the current write ended. A removal gives it up after a while.
    async fn wait(&self, lane: Lane) {
        let mut free = pin!(Arc::clone(&self.gate).lock_owned());
        if lane == Lane::Removals {
            let patience_ends = {
                let current = lock(&self.current);
                let patience = PATIENCE * 2_u32.pow(current.given_up.min(MAX_DOUBLINGS));
                current.begun.map_or_else(Instant::now, |begun| begun + patience)
            };
            if timeout_at(patience_ends, &mut free).await.is_ok() {
                return;
            }
            let mut current = lock(&self.current);
            if let Some(task) = current.task.take() {
                current.given_up += 1;
                task.abort();
            }
        }
        drop(free.await);
    }
}

/// How the writes of the documents ended.
pub struct Ends {
    pub ended: Vec<(Child, Result<Written, Error>)>,
    /// Whether an earlier write of a document had to be waited for: what was planned may rest on what it replaced. What was begun
    /// goes on.
    pub is_outdated: bool,
}

/// Writes the documents, and tells the pods of what was written, also of what an earlier reconcile began to write.
pub async fn write(writes: Vec<ObjectWrite>, work: &WorkItem<ReconcileKey>) -> Ends {
    let mut ends = Ends { ended: Vec::new(), is_outdated: false };
    let Some(any) = writes.first() else { return ends };
    let (context, fetched) = (Arc::clone(&any.context), Arc::clone(&any.fetched));
    let memory = context.of_servers.of(&fetched.name);
    let mut going_on: FuturesUnordered<_> = writes.into_iter().map(|write| write_one(write, work)).collect();
    let mut both = pin!(sleep(BOTH));
    let mut is_late = false;
    loop {
        tokio::select! {
            Some(end) = going_on.next() => match end {
                Some(end) => ends.ended.push(end),
                None => ends.is_outdated = true,
            },
            () = &mut both, if !is_late => {
                is_late = true;
                work.can_be_given_up(true);
            }
        }
        let is_over = ends.is_outdated || going_on.is_empty();
        // A document that is written late is told of by itself, however long the other one takes.
        if (is_late || is_over) && mem::take(&mut lock(&memory).is_untold) {
            pods::follow(&context, &fetched, Occasion::Published);
        }
        if is_over {
            return ends;
        }
    }
}

/// Returns how the write ended; `None` if an earlier one had to be waited for, or it was given up.
async fn write_one(write: ObjectWrite, work: &WorkItem<ReconcileKey>) -> Option<(Child, Result<Written, Error>)> {
    let (kind, child) = (write.object.kind, object_write::child(&write.object));
    let memory = write.context.of_servers.of(&write.fetched.name);
    let gate = Arc::clone(lock(&memory).gates.entry(write.object.name().to_owned()).or_default());
    let Some(entered) = gate.enter() else {
        gate.wait(work.lane).await;
        return None;
    };
    if publication::is_outdated(&write.context, &write.fetched, kind) {
        return None;
    }
    let task = tokio::spawn(write_alone(write, Arc::clone(&gate), entered, work.room()));
    gate.began(task.abort_handle());
    match task.await {
        Ok(end) => Some((child, end)),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // It was given up.
            Err(_) => None,
        },
    }
}

/// Writes one document. What came of it is remembered, whether or not the reconcile that began it still goes on.
async fn write_alone(
    write: ObjectWrite,
    gate: Arc<DocumentGate>,
    _entered: OwnedMutexGuard<()>,
    _room: Arc<Room<ReconcileKey>>,
) -> Result<Written, Error> {
    let (context, fetched, plan) = (Arc::clone(&write.context), Arc::clone(&write.fetched), Arc::clone(&write.plan));
    let (kind, name) = (write.object.kind, write.name());
    let end = write.run().await;
    gate.ended();
    match &end {
        Ok(Written::InPlace { is_new }) => publication::remember(&context, &fetched, &plan, kind, *is_new),
        Ok(Written::Absent | Written::PutBackLater) => {}
        Err(error) => debug!(server = %fetched.name, kind = kind.object.kind, name = name.name, %error, "not written"),
    }
    end
}

#[cfg(test)]
mod tests;
