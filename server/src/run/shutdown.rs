//! A stop, in order: tell load balancers and callers, let calls finish, write the log.
//!
//! It promises that no request is lost that a caller had reason to send, that every step has a bound, and that all of them fit into
//! the time that the operator gives a pod ([`LONGEST_TIMEOUT`] is the longest part of it).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use portcullis_crds::contract::LONGEST_TIMEOUT;
use tokio::{sync::watch, task::JoinHandle};

use super::reports::record;
use crate::{
    audit::{Audit, record::Record},
    net::Connections,
    stop::{StopReason, StopSignals},
};

/// How long requests in flight may take beyond the longest timeout of a tool: their bodies are still received, and their answers
/// still read.
const BEYOND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long calls in flight may take if somebody waits for the end.
const INTERRUPTED: Duration = Duration::from_secs(3);
/// How long the admin port may take to finish its answers.
const ADMIN: Duration = Duration::from_secs(2);
/// How long writing the last records may take.
const FLUSH: Duration = Duration::from_secs(5);
/// How long writing to standard error may take: it may be as stuck as the log.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What became of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum AuditLogEnd {
    Complete,
    /// At least one record of this process was lost.
    RecordsLost,
}

/// A port that is served.
pub struct Port {
    pub connections: Connections,
    /// How long its requests in flight may take, once it is to stop.
    pub stop: watch::Sender<Option<Duration>>,
    /// Returns whether all requests were finished.
    pub serving: JoinHandle<bool>,
}

/// What a stop needs.
pub struct Shutdown {
    pub signals: StopSignals,
    pub main: Port,
    pub admin: Port,
    /// Set when the server is no longer ready.
    pub stopping: Arc<AtomicBool>,
    pub audit: Audit,
    /// How long new calls are still served after SIGTERM, until load balancers have removed this server.
    pub settle: Duration,
}

impl Shutdown {
    /// Waits for a reason to stop, and stops. A further signal ends whatever is waited for.
    pub async fn run(self) -> AuditLogEnd {
        let Self { mut signals, main, admin, stopping, audit, settle } = self;
        let reason = signals.next().await;
        record(&audit, &Record::ServerStopping);
        stopping.store(true, Relaxed);
        main.connections.drain();
        admin.connections.drain();
        let (settle, within) = match reason {
            StopReason::Terminated => (settle, LONGEST_TIMEOUT.to_std() + BEYOND_TIMEOUT),
            StopReason::Interrupted => (Duration::ZERO, INTERRUPTED),
        };
        let is_hurried = settle > Duration::ZERO && tokio::time::timeout(settle, signals.next()).await.is_ok();
        let Port { connections, stop, mut serving } = main;
        stop.send_replace(Some(if is_hurried { Duration::ZERO } else { within }));
        let finished = tokio::select! {
            finished = &mut serving => finished,
            _ = signals.next() => {
                connections.abort();
                serving.await
            }
        };
        if !finished.unwrap_or(false) {
            tracing::warn!("calls that were still running were cut off");
        }
        admin.stop.send_replace(Some(if is_hurried { Duration::ZERO } else { ADMIN }));
        let _ = admin.serving.await;
        if !audit.stop(FLUSH) {
            last_words("the last audit records could not be written");
            return AuditLogEnd::RecordsLost;
        }
        if audit.dropped() > 0 { AuditLogEnd::RecordsLost } else { AuditLogEnd::Complete }
    }
}

/// Waits until a port is asked to stop.
pub async fn asked(mut stopped: watch::Receiver<Option<Duration>>) -> Duration {
    // A sender that was dropped means that nothing is to be waited for.
    stopped.wait_for(Option::is_some).await.ok().and_then(|within| *within).unwrap_or_default()
}

fn last_words(text: &'static str) {
    let (written, done) = mpsc::channel::<()>();
    thread::spawn(move || {
        eprintln!("portcullis-server: {text}");
        drop(written);
    });
    // The end of the channel is the answer.
    let _ = done.recv_timeout(LAST_WORDS);
}
