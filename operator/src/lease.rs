//! One operator writes at a time: it holds a Lease (coordination.k8s.io/v1), and renews it for as long as it runs.
//!
//! A second one is refused as soon as it is clear that the holder lives. A holder that is known to be gone is succeeded at once, so that
//! an operator that was killed or replaced is back without a pause; any other one once its term is over. Who cannot renew does not
//! write from the end of its term on ([`Term::fence`]) and goes on trying, because nobody else can be helped by its end. Who was
//! succeeded by another one ends.

mod holder;
mod liveness;
mod record;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::{api::coordination::v1::Lease as LeaseObject, jiff::Timestamp};
use portcullis_crds::NamespacedName;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

pub use holder::Holder;

use crate::{
    cluster::{Cluster, Error, ObjectRef, fence::Fence},
    metrics::Task,
    supervise::{Progress, Supervisor},
    sync::lock,
};
use liveness::{Liveness, liveness};
use record::Record;

/// The name of the Lease.
pub const NAME: &str = "portcullis-operator";
/// The namespace of the Lease, if the operator does not run in a pod and none is named.
pub const NAMESPACE: &str = "portcullis-system";
/// The same in a cluster that lacks that one. Every cluster has it.
const OTHER_NAMESPACE: &str = "default";

/// How long a holder that does not renew stays the holder.
const TERM: Duration = Duration::from_secs(15);
/// How often it renews.
const RENEW: Duration = Duration::from_secs(5);
/// How long before the end of its term it begins no write: one that was sent may take a while.
const MARGIN: Duration = Duration::from_secs(2);
/// The pause after a request that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a Lease of somebody else is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The longest that one request may take.
const REQUEST: Duration = Duration::from_secs(3);
/// How often the log repeats that the Lease cannot be had.
const REMIND: Duration = Duration::from_secs(60);

/// Another operator holds the Lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("another operator runs against this cluster: {0}; run one at a time")]
    Held(String),
    #[error("another operator took over: {0}; this one stops")]
    Lost(String),
}

/// Until when this process may write. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Term(Arc<Mutex<Option<Instant>>>);

impl Term {
    /// Admits writes during the term.
    pub fn fence(&self) -> Fence {
        let term = self.clone();
        Fence::new(move || {
            let left = lock(&term.0).as_ref()?.checked_duration_since(Instant::now());
            left.filter(|left| !left.is_zero())
        })
    }

    fn begin(&self, requested: Instant) {
        *lock(&self.0) = Some(requested + TERM - MARGIN);
    }

    /// Admits no write any more.
    fn end(&self) {
        *lock(&self.0) = None;
    }
}

/// The Lease, and who this process is.
pub struct Lease {
    cluster: Cluster,
    object: Mutex<ObjectRef>,
    /// Whether the namespace was neither named nor is that of the pod.
    is_elsewhere: bool,
    holder: Holder,
    term: Term,
    /// The version of the Lease that this process wrote or saw last.
    version: Mutex<Option<String>>,
    progress: Progress,
    lost: watch::Sender<Option<Refused>>,
}

impl Lease {
    /// `cluster` must admit every write; `term` is when others may.
    pub fn new(
        cluster: Cluster,
        namespace: Option<String>,
        holder: Holder,
        term: Term,
        supervisor: &Supervisor,
    ) -> Self {
        let of_pod = || holder.pod.as_ref().map(|pod| pod.namespace.clone());
        let known = namespace.or_else(of_pod);
        let is_elsewhere = known.is_none();
        let name = NamespacedName { namespace: known.unwrap_or_else(|| NAMESPACE.to_owned()), name: NAME.to_owned() };
        let progress = supervisor.progress(Task::Lease);
        progress.is_unready("not held yet");
        Self {
            cluster,
            object: Mutex::new(ObjectRef::of::<LeaseObject>(name)),
            is_elsewhere,
            holder,
            term,
            version: Mutex::default(),
            progress,
            lost: watch::Sender::new(None),
        }
    }

    /// Waits until this process holds the Lease.
    ///
    /// # Errors
    /// Returns an error once it is clear that another one holds it and lives.
    pub async fn acquire(&self) -> Result<(), Refused> {
        let mut seen: Option<(Record, Instant)> = None;
        let mut warned_at: Option<Instant> = None;
        loop {
            match self.look(&mut seen).await {
                Ok(Step::Held) => {
                    info!(lease = %self.object(), holder = self.holder.identity, "this operator holds the Lease");
                    return Ok(());
                }
                Ok(Step::Refused(who)) => return Err(Refused::Held(who)),
                Ok(Step::Again) => {}
                Ok(Step::Wait) => {
                    self.progress.is_unready("held by another operator");
                    sleep(LOOK).await;
                }
                Err(error) => {
                    self.progress.is_unready(&error.to_string());
                    if warned_at.is_none_or(|at| at.elapsed() >= REMIND) {
                        warned_at = Some(Instant::now());
                        warn!(%error, "the Lease cannot be had, and nothing is written without it{}", hint(&error));
                    }
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Looks at the Lease once, and takes it if that is possible. `seen` is what was first seen of its holder.
    async fn look(&self, seen: &mut Option<(Record, Instant)>) -> Result<Step, Error> {
        let Some(record) = self.read().await? else { return self.create().await };
        let first = match seen.take() {
            Some((first, at)) if first.holder == record.holder => (first, at),
            _ => (record.clone(), Instant::now()),
        };
        let is_renewed = first.0.renewed != record.renewed;
        let is_over = first.1.elapsed() >= record.term();
        // A request of this process may have been carried out without an answer.
        let is_own = record.holder.as_ref() == Some(&self.holder.identity);
        let step = match (&record.holder, self.liveness(&record).await) {
            _ if is_own => self.take(&record).await?,
            (None, _) | (_, Liveness::Gone) => self.take(&record).await?,
            _ if is_renewed => Step::Refused(self.described(&record)),
            (_, Liveness::Lives) if !record.is_over(Timestamp::now()) => Step::Refused(self.described(&record)),
            _ if is_over => self.take(&record).await?,
            _ => Step::Wait,
        };
        *seen = Some(first);
        Ok(step)
    }

    /// Renews the Lease, for ever, or until another one took it.
    pub async fn keep(self: Arc<Self>) {
        let mut pause = RENEW;
        let mut warned_at: Option<Instant> = None;
        loop {
            self.progress.within((REQUEST + RENEW) * 4);
            sleep(pause).await;
            #[cfg(test)]
            crate::supervise::faults::point(&format!("lease of {}", self.holder.identity));
            pause = match self.renew().await {
                Ok(Step::Held) => {
                    warned_at = None;
                    RENEW
                }
                Ok(Step::Refused(who)) => {
                    self.term.end();
                    self.progress.waits();
                    self.lost.send_replace(Some(Refused::Lost(who)));
                    return std::future::pending().await;
                }
                Ok(Step::Again | Step::Wait) => Duration::ZERO,
                Err(error) => {
                    self.progress.is_unready(&error.to_string());
                    if warned_at.is_none_or(|at| at.elapsed() >= REMIND) {
                        warned_at = Some(Instant::now());
                        warn!(%error, "the Lease cannot be renewed; nothing is written after its end{}", hint(&error));
                    }
                    AGAIN
                }
            };
        }
    }

    /// Renews once. What somebody else did to the Lease is looked at.
    async fn renew(&self) -> Result<Step, Error> {
        let requested = Instant::now();
        let version = lock(&self.version).clone();
        let patch = json!({
            "metadata": {"resourceVersion": version},
            "spec": {"holderIdentity": self.holder.identity, "renewTime": record::now()},
        });
        match self.written("renewing", patch, requested).await {
            Err(error) if error.is_conflict() => {}
            written => return written,
        }
        let Some(record) = self.read().await? else { return self.create().await };
        match &record.holder {
            Some(holder) if *holder == self.holder.identity => {
                lock(&self.version).clone_from(&record.version);
                Ok(Step::Again)
            }
            None => self.take(&record).await,
            Some(_) => match self.liveness(&record).await {
                // As after the cluster was restored from a backup.
                Liveness::Gone => self.take(&record).await,
                Liveness::Lives | Liveness::Unknown => Ok(Step::Refused(self.described(&record))),
            },
        }
    }

    /// Waits until another operator took the Lease.
    pub async fn lost(&self) -> Refused {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(refused)) => refused.clone(),
            // The sender is part of this value, and it is waited for a value.
            _ => std::future::pending().await,
        }
    }

    /// Gives the Lease back, so that the next operator need not wait. Ends the term.
    pub async fn release(&self) {
        self.term.end();
        let Some(version) = lock(&self.version).take() else { return };
        let patch = json!({
            "metadata": {"resourceVersion": version, "annotations": {record::ANNOTATION: null}},
            "spec": {"holderIdentity": null, "renewTime": record::now()},
        });
        let object = self.object();
        match timeout(REQUEST, self.cluster.merge("releasing", &object, patch)).await {
            Ok(Ok(_)) => debug!(lease = %object, "released"),
            Ok(Err(error)) => debug!(%error, "the Lease was not released; it ends by itself"),
            Err(_) => debug!("the Lease was not released in time; it ends by itself"),
        }
    }

    async fn create(&self) -> Result<Step, Error> {
        let (requested, object) = (Instant::now(), self.object());
        let value = json!({
            "apiVersion": object.resource.api_version, "kind": object.resource.kind,
            "metadata": {
                "name": object.name.name, "namespace": object.name.namespace, "annotations": self.annotations(),
            },
            "spec": self.spec(0),
        });
        match within(&object, self.cluster.create(&object, value)).await {
            Ok(created) => Ok(self.held(created.metadata.resource_version, requested)),
            Err(error) if error.is_missing_namespace() && self.is_elsewhere && object.name.namespace == NAMESPACE => {
                warn!("the namespace {NAMESPACE} does not exist; the Lease is in the namespace {OTHER_NAMESPACE}");
                lock(&self.object).name.namespace = OTHER_NAMESPACE.to_owned();
                Ok(Step::Again)
            }
            Err(error) if error.is_conflict() => Ok(Step::Again),
            Err(error) => Err(error),
        }
    }

    /// Takes the Lease from its last holder, unless it was changed meanwhile.
    async fn take(&self, record: &Record) -> Result<Step, Error> {
        let requested = Instant::now();
        let patch = json!({
            "metadata": {"resourceVersion": record.version, "annotations": self.annotations()},
            "spec": self.spec(record.transitions.saturating_add(1)),
        });
        match self.written("taking", patch, requested).await {
            Err(error) if error.is_conflict() => Ok(Step::Again),
            written => written,
        }
    }

    async fn written(&self, doing: &str, patch: Value, requested: Instant) -> Result<Step, Error> {
        let object = self.object();
        let written = within(&object, self.cluster.merge(doing, &object, patch)).await?;
        Ok(self.held(written.metadata.resource_version, requested))
    }

    fn held(&self, version: Option<String>, requested: Instant) -> Step {
        *lock(&self.version) = version;
        self.term.begin(requested);
        self.progress.is_ready();
        Step::Held
    }

    async fn read(&self) -> Result<Option<Record>, Error> {
        let object = self.object();
        Ok(within(&object, self.cluster.read(&object)).await?.map(|lease| Record::new(&lease)))
    }

    async fn liveness(&self, record: &Record) -> Liveness {
        let Some(holder) = record.facts.as_ref() else { return Liveness::Unknown };
        liveness(&self.cluster, holder, &self.holder).await
    }

    fn annotations(&self) -> Value {
        json!({record::ANNOTATION: json!(self.holder).to_string()})
    }

    fn spec(&self, transitions: i32) -> Value {
        let now = record::now();
        json!({
            "holderIdentity": self.holder.identity, "leaseDurationSeconds": TERM.as_secs(), "acquireTime": now,
            "renewTime": now, "leaseTransitions": transitions,
        })
    }

    fn object(&self) -> ObjectRef {
        lock(&self.object).clone()
    }

    /// Who holds the Lease, for people.
    fn described(&self, record: &Record) -> String {
        let who = match (&record.facts, &record.holder) {
            (Some(facts), _) => facts.to_string(),
            (None, Some(identity)) => identity.clone(),
            (None, None) => "nobody".to_owned(),
        };
        let since = record.acquired.as_deref().unwrap_or("an unknown time");
        format!("{who}, since {since} ({})", self.object())
    }
}

/// What became of an attempt.
#[derive(Debug)]
enum Step {
    Held,
    /// Another one holds it, and lives or may.
    Refused(String),
    /// Something changed meanwhile.
    Again,
    /// It is not known yet whether the holder lives.
    Wait,
}

async fn within<T>(object: &ObjectRef, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::Timeout { doing: format!("asking for {object}"), after: REQUEST };
    timeout(REQUEST, request).await.map_err(late)?
}

/// What a person can do about it.
fn hint(error: &Error) -> &'static str {
    match error.is_permanent() {
        true => {
            "; the account of the operator has the rights to it after `portcullis-operator rbac | kubectl apply --server-side -f -`"
        }
        false => "",
    }
}

#[cfg(test)]
mod tests;
