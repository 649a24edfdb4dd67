//! Step four: makes each built object what it should be, and deletes what is no longer built.
//!
//! A failure holds up the creation of the objects that need the one that failed, and nothing else: what exists is put back, because a
//! privilege may have been added to it. That does no harm to the pods that run: they are replaced by ones that are ready.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use tracing::info;

use super::{
    corrections::Child,
    documents::{self, Ends},
    fetch::{Fetched, LiveObjects, child_name},
    names,
    object_write::{self, ObjectWrite, Written},
};
use crate::{
    build::{BuiltKind, BuiltObject, CONFIG_MAP, DEPLOYMENT, SECRET},
    cluster::{Error, apply::prune, events::EventDraft, store::Stored},
    controller::{
        context::{Context, ReconcileKey},
        queue::WorkItem,
    },
    sync::lock,
    validate::ServerPlan,
};

/// What became of the built objects.
#[derive(Default)]
pub struct Outcome {
    /// The first write that failed.
    pub problem: Option<Error>,
    /// Whether each document is in the cluster as it was planned.
    pub is_policy_in_place: bool,
    pub are_credentials_in_place: bool,
    pub events: Vec<EventDraft>,
}

impl Outcome {
    /// What became of the documents, while all else is still being written. The events are reported with that.
    pub fn of_documents(&self) -> Self {
        let Self { problem, is_policy_in_place, are_credentials_in_place, .. } = self;
        Self {
            problem: problem.clone(),
            is_policy_in_place: *is_policy_in_place,
            are_credentials_in_place: *are_credentials_in_place,
            events: Vec::new(),
        }
    }
}

/// What is not a document, and is written after the documents.
pub struct LeftOver {
    built: Vec<BuiltObject>,
    live: LiveObjects,
}

/// One server's objects, while they are being written.
pub struct Applying {
    context: Arc<Context>,
    fetched: Arc<Fetched>,
    plan: Arc<ServerPlan>,
    /// The kinds of which an object is not in place.
    missing: BTreeSet<&'static str>,
    pub outcome: Outcome,
}

/// Writes the documents, each only if it differs. While the server is being deleted nothing is created. Returns `None` if it has to
/// be planned again.
pub async fn documents(
    context: &Arc<Context>,
    fetched: &Arc<Fetched>,
    mut live: LiveObjects,
    plan: &Arc<ServerPlan>,
    built: Vec<BuiltObject>,
    work: &WorkItem<ReconcileKey>,
) -> Option<(Applying, LeftOver)> {
    let mut applying = Applying {
        context: Arc::clone(context),
        fetched: Arc::clone(fetched),
        plan: Arc::clone(plan),
        missing: BTreeSet::new(),
        outcome: Outcome::default(),
    };
    if plan.credentials().is_none() {
        return Some((applying, LeftOver { built, live }));
    }
    let writes =
        built.iter().filter(|object| object.kind.is_document).map(|object| applying.write_of(object, &mut live));
    // Those that pods may read come first: a quota may have no room for others.
    let is_read = |write: &ObjectWrite| names::is_read(fetched, write.object.name());
    let (read, prepared): (Vec<_>, Vec<_>) = writes.collect::<Vec<_>>().into_iter().partition(is_read);
    let needed: Vec<Child> = read.iter().map(|write| object_write::child(&write.object)).collect();
    let Ends { mut ended, mut is_outdated } = documents::write(read, work).await;
    let is_there = |child: &Child| {
        ended.iter().any(|(written, end)| written == child && matches!(end, Ok(Written::InPlace { .. })))
    };
    let is_in_place = |kind: &BuiltKind| {
        let mut needed = needed.iter().filter(|child| child.0 == kind.object.kind).peekable();
        needed.peek().is_some() && needed.all(is_there)
    };
    applying.outcome.is_policy_in_place = is_in_place(&CONFIG_MAP);
    applying.outcome.are_credentials_in_place = is_in_place(&SECRET);
    lock(&context.of_servers.of(&fetched.name)).is_secret_stuck = !applying.outcome.are_credentials_in_place;
    let are_in_place = applying.outcome.is_policy_in_place && applying.outcome.are_credentials_in_place;
    if !prepared.is_empty() && !is_outdated && (are_in_place || fetched.names.is_move()) {
        let further = documents::write(prepared, work).await;
        is_outdated = further.is_outdated;
        let are_prepared = further.ended.iter().all(|(_, end)| matches!(end, Ok(Written::InPlace { .. })));
        if fetched.names.is_move_prepared() && are_prepared && !is_outdated {
            // Now the pods can be replaced.
            context.queue.add(ReconcileKey::Server(fetched.name.clone()));
        }
        ended.extend(further.ended);
    }
    ended.into_iter().for_each(|((kind, _), end)| applying.ended(kind, end));
    (!is_outdated).then_some((applying, LeftOver { built, live }))
}

impl Applying {
    /// Writes all else, each object only if it differs, and deletes what is no longer built.
    pub async fn rest(mut self, LeftOver { built, mut live }: LeftOver) -> Outcome {
        for object in built.iter().filter(|object| !object.kind.is_document) {
            let is_in_place = self.put(object, &mut live).await;
            if is_in_place && object.kind.object.kind == DEPLOYMENT.object.kind && self.fetched.names.is_move() {
                names::moved(&self.context, &self.fetched);
            }
        }
        if !self.fetched.server.is_terminating() {
            self.delete_unused().await;
        }
        // It is unknown what an invalid spec no longer wants.
        if self.plan.findings.is_empty() && !self.fetched.server.is_terminating() {
            self.prune(&built).await;
        }
        self.outcome
    }

    fn write_of(&self, object: &BuiltObject, live: &mut LiveObjects) -> ObjectWrite {
        let (context, fetched, plan) = (Arc::clone(&self.context), Arc::clone(&self.fetched), Arc::clone(&self.plan));
        let mut write = ObjectWrite { context, fetched, plan, object: object.clone(), read: None };
        write.read = live.take(&object.kind.object, &write.name());
        write
    }

    /// Makes one object what it should be. It is created once all that it needs is in place; one that exists is put back whatever is
    /// missing. While the server is being deleted nothing is created, and what was orphaned is left alone. Returns whether it is in place.
    async fn put(&mut self, object: &BuiltObject, live: &mut LiveObjects) -> bool {
        let kind = object.kind;
        let name = child_name(&self.fetched.name, object.name().to_owned());
        let found = self.context.owned.get(&kind.object, &name);
        let is_due = match &found {
            _ if !self.context.owned.is_served(&kind.object) => false,
            Some(found) if self.fetched.server.is_terminating() => {
                found.owner_uid() == Some(self.fetched.input.server.uid())
            }
            Some(_) => true,
            None => kind.needs.iter().all(|needed| !self.missing.contains(needed)),
        };
        if !is_due {
            self.missing.insert(kind.object.kind);
            return false;
        }
        let end = self.write_of(object, live).run().await;
        let is_in_place = matches!(end, Ok(Written::InPlace { .. }));
        self.ended(kind.object.kind, end);
        is_in_place
    }

    fn ended(&mut self, kind: &'static str, end: Result<Written, Error>) {
        let written = end.unwrap_or_else(|error| {
            self.failed(error);
            Written::Absent
        });
        match written {
            Written::InPlace { .. } | Written::PutBackLater => {}
            Written::Absent => drop(self.missing.insert(kind)),
        }
    }

    fn failed(&mut self, error: Error) {
        if error.is_conflict() {
            info!(server = %self.fetched.name, %error, "changed by another party at the same time; reconciling again");
        }
        self.outcome.problem.get_or_insert(error);
    }

    /// Deletes the documents of the name that no pod mounts any longer.
    async fn delete_unused(&mut self) {
        let fetched = Arc::clone(&self.fetched);
        for (kind, live) in &fetched.unused {
            match prune(&self.context.cluster, &kind.object, live).await {
                Ok(true) => {
                    let name = child_name(&fetched.name, name_of(live));
                    info!(server = %fetched.name, kind = kind.object.kind, name = %name.name, "deleted");
                    let memory = self.context.of_servers.of(&fetched.name);
                    lock(&memory).forget_document(&(kind.object.kind, name.name.clone()));
                    self.context.look(&kind.object, &name).await;
                }
                Ok(false) => {}
                Err(error) if error.is_gone() => {}
                Err(error) => self.failed(error),
            }
        }
    }

    /// Deletes the server's objects that are no longer built.
    async fn prune(&mut self, built: &[BuiltObject]) {
        let memory = self.context.of_servers.of(&self.fetched.name);
        let is_built = |kind: &str, name: &str| built.iter().any(|it| it.kind.object.kind == kind && it.name() == name);
        lock(&memory).desired.retain(|(kind, name), _| is_built(kind, name));
        for kind in self.context.kinds.iter().filter(|kind| kind.is_pruned).map(|kind| &kind.object) {
            for object in self.context.owned.of_server(kind, &self.fetched.name) {
                let is_ours = object.owner_uid() == Some(self.fetched.input.server.uid());
                if !is_ours || is_built(kind.kind, object.name()) {
                    continue;
                }
                match prune(&self.context.cluster, kind, &object.value()).await {
                    Ok(true) => {
                        info!(server = %self.fetched.name, kind = kind.kind, name = object.name(), "deleted");
                        self.context.look(kind, &object.namespaced_name()).await;
                    }
                    Ok(false) => {}
                    Err(error) => self.failed(error),
                }
            }
        }
    }
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}
