//! What the operator needs of a cluster: both CustomResourceDefinitions, no older than this program, and every right of
//! [`crate::rbac`]. It is checked at the start, from time to time, and when the API server refuses something.
//!
//! What is missing is said in the log and on `/readyz`, and if it stays away the process ends, so that whoever installs or upgrades the
//! operator sees it. A right that is taken away while it runs does not end it: a revocation that needs no such right must not wait for
//! a restart. An API server that does not answer is no finding.

mod definitions;
mod findings;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use portcullis_crds::manifest;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, error, info};

use self::{definitions::problem, findings::Findings};
use crate::{
    backoff::spread,
    cluster::{Cluster, Error, access::Right},
    metrics::Task,
    supervise::{Progress, Supervisor},
};

/// How long something may be missing before the process ends. With the time that the start and one check take it is below 10 s.
const GRACE: Duration = Duration::from_secs(6);
/// The pause between checks while something is missing, or nothing is known yet.
const AGAIN: Duration = Duration::from_secs(1);
/// The pause between checks while a right is missing that was taken away.
const TAKEN_AWAY: Duration = Duration::from_secs(5);
/// The pause between checks while nothing is missing.
const EVERY: Duration = Duration::from_secs(30);
/// The shortest pause before a check because the API server refused something: a quota may refuse again and again.
const REFUSED: Duration = Duration::from_secs(3);
/// The longest that one check may take.
const CHECK: Duration = Duration::from_secs(5);
/// How many requests of a check are made at the same time.
const AT_ONCE: usize = 8;

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

/// Checks what the operator needs.
pub struct Requirements {
    cluster: Cluster,
    rights: Vec<Right>,
    definitions: Vec<(String, Value)>,
    progress: Progress,
    state: watch::Sender<State>,
}

/// What was found so far.
#[derive(Default)]
struct History {
    /// Whether there was a check that found nothing missing.
    was_met: bool,
    /// Since when something is missing that ends the process.
    since: Option<Instant>,
    said: Option<String>,
}

impl Requirements {
    pub fn new(cluster: Cluster, rights: Vec<Right>, supervisor: &Supervisor) -> Self {
        let definitions = manifest::all().into_iter().map(|(_, definition)| {
            let name = definition.metadata.name.clone().unwrap_or_default();
            (name, serde_json::to_value(definition).expect("a definition must have a JSON form"))
        });
        let definitions = definitions.collect();
        let progress = supervisor.progress(Task::Requirements);
        progress.is_unready("not checked yet");
        Self { cluster, rights, definitions, progress, state: watch::Sender::new(State::Unchecked) }
    }

    /// Checks for ever, or until something was missing for too long.
    pub async fn keep(self: Arc<Self>) {
        let mut history = History::default();
        loop {
            self.progress.within((CHECK + EVERY) * 2);
            let pause = match self.check().await {
                Ok(findings) if findings.is_empty() => self.met(&mut history),
                Ok(findings) => self.found(&findings, &mut history),
                Err(error) => self.unknown(&error, &history),
            };
            if matches!(*self.state.borrow(), State::GaveUp(_)) {
                self.progress.waits();
                return std::future::pending().await;
            }
            let refused = async {
                sleep(REFUSED).await;
                self.cluster.refused().await;
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = refused => {}
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

    fn met(&self, history: &mut History) -> Duration {
        if history.said.is_some() {
            info!("nothing that the operator needs is missing any longer");
        }
        *history = History { was_met: true, ..History::default() };
        self.progress.is_ready();
        self.state.send_replace(State::Usable);
        spread(EVERY)
    }

    fn found(&self, findings: &Findings, history: &mut History) -> Duration {
        let sentence = findings.sentence();
        self.progress.is_lacking(sentence.clone());
        let is_usable = findings.definitions.is_empty();
        let ends = !is_usable || !history.was_met;
        if history.said.as_ref() != Some(&sentence) {
            let then =
                if ends { "the operator ends unless it appears" } else { "the operator goes on as well as it can" };
            error!("something that the operator needs is missing, and {then}: {sentence}");
            history.said = Some(sentence.clone());
        }
        if ends && history.since.get_or_insert_with(Instant::now).elapsed() >= GRACE {
            self.state.send_replace(State::GaveUp(Lacking(sentence)));
            return AGAIN;
        }
        self.state.send_replace(if is_usable { State::Usable } else { State::Unusable });
        if ends {
            return AGAIN;
        }
        history.since = None;
        TAKEN_AWAY
    }

    /// What was known stays. If nothing is known the work begins: it waits for the API server by itself.
    fn unknown(&self, error: &Error, history: &History) -> Duration {
        debug!(%error, "it is unknown whether something that the operator needs is missing");
        if history.said.is_none() {
            self.progress.is_unready(error.outline());
            self.state.send_if_modified(|state| {
                let is_unchecked = *state == State::Unchecked;
                if is_unchecked {
                    *state = State::Usable;
                }
                is_unchecked
            });
        }
        AGAIN
    }

    async fn check(&self) -> Result<Findings, Error> {
        let late = |_| Error::Timeout { doing: "checking what the operator needs".to_owned(), after: CHECK };
        timeout(CHECK, self.ask()).await.map_err(late)?
    }

    async fn ask(&self) -> Result<Findings, Error> {
        let requests: Vec<_> = self.rights.iter().map(|right| self.cluster.may(right)).collect();
        let answers: Vec<bool> = stream::iter(requests).buffered(AT_ONCE).try_collect().await?;
        let missing = self.rights.iter().zip(answers).filter(|(_, is_allowed)| !is_allowed);
        let rights: Vec<Right> = missing.map(|(right, _)| right.clone()).collect();
        let mut findings = Findings { rights, ..Findings::default() };
        for (name, ours) in &self.definitions {
            let theirs = match self.cluster.definition(name).await {
                // A right that is missing. Nothing is known of the definition.
                Err(error) if error.status_code() == Some(403) => continue,
                theirs => theirs?,
            };
            let theirs = theirs.map(serde_json::to_value).transpose()?;
            findings.definitions.extend(problem(ours, theirs.as_ref()).map(|problem| (name.clone(), problem)));
        }
        Ok(findings)
    }
}

#[cfg(test)]
mod tests;
