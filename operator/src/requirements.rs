//! What the operator needs of a cluster: both CustomResourceDefinitions, no older than this program, and every right of
//! [`crate::rbac`]. It is checked at the start, from time to time, and when the API server refuses something.
//!
//! What is missing is said in the log and on `/readyz`, and if it stays away the process ends, so that whoever installs or upgrades the
//! operator sees it. A right that is taken away while it runs does not end it: a revocation that needs no such right must not wait for
//! a restart. An API server that does not answer is no finding.

mod definitions;
mod findings;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use portcullis_crds::manifest;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{error, info, warn};

use self::{definitions::problem, findings::Findings};
use crate::{
    backoff::{Backoff, spread},
    cluster::{
        Cluster, Error,
        access::{Answer, Right},
        fence::Fence,
    },
    metrics::Task,
    supervise::{Progress, Supervisor},
    sync::lock,
};

/// How long something may be missing before the process ends. With the time that the start and one check take it is below 10 s.
const GRACE: Duration = Duration::from_secs(6);
/// The pause between checks while something is missing whose absence ends the process.
const AGAIN: Duration = Duration::from_secs(1);
/// The pause between two looks at the definitions, and at rights that are missing.
const LOOK: Duration = Duration::from_secs(5);
/// The pause between checks of the rights while none is missing.
const RIGHTS_EVERY: Duration = Duration::from_secs(60);
/// The shortest and the longest pause before the rights are checked because the API server refused something: a quota may refuse again
/// and again.
const REFUSED: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(300)];
/// The longest pause between checks while nothing is known yet.
const UNKNOWN: Duration = Duration::from_secs(30);
/// The longest that reading the definitions may take.
const READ: Duration = Duration::from_secs(5);
/// The longest that asking for all rights may take.
const ASK: Duration = Duration::from_secs(15);
/// How many requests of a check are made at the same time.
const AT_ONCE: usize = 8;

/// Why an operator ends although the definitions are right again.
const STALE: &str =
    "its definitions were missing or older for a while, and what it read meanwhile may lack fields, so it starts anew";

/// Something that the operator needs is missing, and stayed away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operator cannot work in this cluster: {0}")]
pub struct Lacking(String);

/// How far the check has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Unchecked,
    /// Nothing that keeps the operator from its work is missing, as far as it is known.
    Usable,
    /// Definitions are missing or too old.
    Unusable,
    GaveUp(Lacking),
}

/// Whether the definitions are those that the operator needs. It is shared with the fence of whatever writes.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<State>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(State::Unchecked))
    }
}

impl Gate {
    /// Admits what `fence` admits while the definitions are right. Objects that are read by an older definition lack fields, and what
    /// is made of them could grant access.
    pub fn fence(&self, fence: Fence) -> Fence {
        let state = self.0.clone();
        Fence::new(move || matches!(*state.borrow(), State::Usable).then(|| fence.remaining()).flatten())
    }
}

/// Checks what the operator needs.
pub struct Requirements {
    cluster: Cluster,
    rights: Vec<Right>,
    definitions: Vec<(String, Value)>,
    progress: Progress,
    state: watch::Sender<State>,
    /// It outlives a panic of the task.
    history: Mutex<History>,
}

/// What was found so far.
struct History {
    /// Whether there was a check that found nothing missing.
    was_met: bool,
    /// Whether the operator may have begun its work, and so has read objects.
    has_begun: bool,
    /// Since when something is missing that ends the process.
    since: Option<Instant>,
    said: Option<String>,
    /// What the last check of the rights found, and when the next one is due.
    rights: Denied,
    rights_due: Instant,
    is_unanswered_said: bool,
    is_unaskable_said: bool,
    unanswered: Backoff,
    refused: Backoff,
}

/// The rights that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Denied {
    rights: Vec<Right>,
    /// An authorizer failed, so that they may be there.
    is_unsure: bool,
}

impl Requirements {
    pub fn new(cluster: Cluster, rights: Vec<Right>, gate: Gate, supervisor: &Supervisor) -> Self {
        let definitions = manifest::all().into_iter().map(|(_, definition)| {
            let name = definition.metadata.name.clone().unwrap_or_default();
            (name, serde_json::to_value(definition).expect("a definition must have a JSON form"))
        });
        let definitions = definitions.collect();
        let progress = supervisor.progress(Task::Requirements);
        progress.is_unready("not checked yet");
        let history = Mutex::new(History {
            was_met: false,
            has_begun: false,
            since: None,
            said: None,
            rights: Denied::default(),
            rights_due: Instant::now(),
            is_unanswered_said: false,
            is_unaskable_said: false,
            unanswered: Backoff::new(AGAIN, UNKNOWN),
            refused: Backoff::new(REFUSED[0], REFUSED[1]),
        });
        Self { cluster, rights, definitions, progress, state: gate.0, history }
    }

    /// Checks for ever, or until something was missing for too long.
    pub async fn keep(self: Arc<Self>) {
        let mut refusals_count_from = Instant::now() + REFUSED[0];
        loop {
            self.progress.within((READ + ASK + UNKNOWN) * 2);
            let pause = match self.check().await {
                Ok(findings) if findings.is_empty() => self.met(),
                Ok(findings) => self.found(&findings),
                Err(error) => self.unknown(&error),
            };
            if matches!(*self.state.borrow(), State::GaveUp(_)) {
                self.progress.waits();
                return std::future::pending().await;
            }
            let refused = async {
                sleep_until(refusals_count_from).await;
                self.cluster.refused().await;
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = refused => {
                    let mut history = lock(&self.history);
                    history.rights_due = Instant::now();
                    refusals_count_from = Instant::now() + history.refused.next_pause();
                }
            }
        }
    }

    /// Returns once the operator may begin its work: no definition is known to be missing or too old.
    pub async fn usable(&self) {
        self.reached(|state| matches!(state, State::Usable)).await;
    }

    /// Returns what was missing for too long.
    pub async fn gave_up(&self) -> Lacking {
        match self.reached(|state| matches!(state, State::GaveUp(_))).await {
            State::GaveUp(lacking) => lacking,
            _ => std::future::pending().await,
        }
    }

    async fn reached(&self, is_wanted: impl Fn(&State) -> bool) -> State {
        let mut state = self.state.subscribe();
        match state.wait_for(is_wanted).await {
            Ok(state) => state.clone(),
            // The sender is part of this value.
            Err(_) => std::future::pending().await,
        }
    }

    fn met(&self) -> Duration {
        let mut history = lock(&self.history);
        if !self.open(&mut history) {
            return AGAIN;
        }
        if history.said.take().is_some() {
            info!("nothing that the operator needs is missing any longer");
        }
        history.was_met = true;
        history.since = None;
        history.is_unanswered_said = false;
        history.unanswered.reset();
        self.progress.is_ready();
        spread(LOOK)
    }

    /// The definitions are right: the work begins, or goes on. Returns whether it does: what was read while they were not may lack fields,
    /// whatever else is missing.
    fn open(&self, history: &mut History) -> bool {
        let is_stale = history.has_begun && matches!(*self.state.borrow(), State::Unusable);
        history.has_begun = true;
        self.state.send_replace(match is_stale {
            true => State::GaveUp(Lacking(STALE.to_owned())),
            false => State::Usable,
        });
        !is_stale
    }

    fn found(&self, findings: &Findings) -> Duration {
        let mut history = lock(&self.history);
        let sentence = findings.sentence();
        self.progress.is_lacking(sentence.clone());
        let is_usable = findings.definitions.is_empty();
        let ends = !is_usable || !history.was_met && !history.rights.is_unsure;
        if history.said.as_ref() != Some(&sentence) {
            let then =
                if ends { "the operator ends unless it appears" } else { "the operator goes on as well as it can" };
            error!("something that the operator needs is missing, and {then}: {sentence}");
            history.said = Some(sentence.clone());
            history.refused.reset();
        }
        if ends && history.since.get_or_insert_with(Instant::now).elapsed() >= GRACE {
            self.state.send_replace(State::GaveUp(Lacking(sentence)));
            return AGAIN;
        }
        if !is_usable {
            self.state.send_replace(State::Unusable);
        }
        // Without a right the work begins nevertheless.
        if is_usable && !self.open(&mut history) || ends {
            return AGAIN;
        }
        history.since = None;
        spread(LOOK)
    }

    /// What was known stays.
    fn unknown(&self, error: &Error) -> Duration {
        let mut history = lock(&self.history);
        history.since = None;
        if !history.is_unanswered_said {
            warn!(%error, "it is unknown whether something that the operator needs is missing");
            history.is_unanswered_said = true;
        }
        if history.was_met {
            return spread(LOOK);
        }
        if history.said.is_none() {
            self.progress.is_unready(error.outline());
        }
        history.unanswered.next_pause()
    }

    async fn check(&self) -> Result<Findings, Error> {
        let late = |after| move |_| Error::Timeout { doing: "checking what the operator needs".to_owned(), after };
        let mut findings = timeout(READ, self.read()).await.map_err(late(READ))??;
        if !findings.definitions.is_empty() {
            // At once: nothing may be written while the rights are asked for.
            self.state.send_replace(State::Unusable);
        }
        let unread = std::mem::take(&mut findings.rights);
        let is_due = lock(&self.history).rights_due <= Instant::now();
        if is_due {
            let asked = timeout(ASK, self.ask()).await.map_err(late(ASK)).and_then(|asked| asked);
            let mut history = lock(&self.history);
            match asked {
                Ok(denied) => {
                    let pause = if denied.rights.is_empty() { RIGHTS_EVERY } else { AGAIN };
                    history.rights_due = Instant::now() + spread(pause);
                    history.rights = denied;
                }
                Err(error) if error.status_code() == Some(403) => {
                    if !history.is_unaskable_said {
                        warn!(%error, "the operator's rights are not checked: it may not ask for them");
                        history.is_unaskable_said = true;
                    }
                    history.rights_due = Instant::now() + spread(RIGHTS_EVERY);
                    history.rights = Denied::default();
                }
                Err(error) => {
                    let pause = if history.was_met { RIGHTS_EVERY } else { Duration::ZERO };
                    history.rights_due = Instant::now() + spread(pause);
                    if findings.definitions.is_empty() {
                        self.open(&mut history);
                        return Err(error);
                    }
                }
            }
        }
        findings.rights = lock(&self.history).rights.rights.clone();
        for right in unread {
            if !findings.rights.contains(&right) {
                findings.rights.push(right);
            }
        }
        Ok(findings)
    }

    /// What is wrong with the definitions, and the rights that are missing to read them.
    async fn read(&self) -> Result<Findings, Error> {
        let mut findings = Findings::default();
        for (name, ours) in &self.definitions {
            let theirs = match self.cluster.definition(name).await {
                Err(error) if error.status_code() == Some(403) => {
                    findings.rights.extend(self.rights.iter().find(|right| right.name.as_ref() == Some(name)).cloned());
                    continue;
                }
                theirs => theirs?,
            };
            let theirs = theirs.map(serde_json::to_value).transpose()?;
            findings.definitions.extend(problem(ours, theirs.as_ref()).map(|problem| (name.clone(), problem)));
        }
        Ok(findings)
    }

    async fn ask(&self) -> Result<Denied, Error> {
        let requests: Vec<_> = self.rights.iter().map(|right| self.cluster.may(right)).collect();
        let answers: Vec<Answer> = stream::iter(requests).buffered(AT_ONCE).try_collect().await?;
        let missing = self.rights.iter().zip(&answers).filter(|(_, answer)| **answer != Answer::Allowed);
        let is_unsure = answers.contains(&Answer::Unsure);
        Ok(Denied { rights: missing.map(|(right, _)| right.clone()).collect(), is_unsure })
    }
}

#[cfg(test)]
mod tests;
