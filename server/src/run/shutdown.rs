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

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use portcullis_crds::contract::LONGEST_TIMEOUT;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::reports::record;
use crate::{
    audit::{Audit, record::Record},
    net::Connections,
    stop::{StopReason, StopSignals},
    supervise::Part,
    transport::DetachedCalls,
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
    /// Whether all requests were finished.
    pub serving: Shared<BoxFuture<'static, bool>>,
}

impl Port {
    /// Runs what serves the port.
    pub fn new(
        connections: Connections,
        stop: watch::Sender<Option<Duration>>,
        serving: impl Future<Output = bool> + Send + 'static,
    ) -> Self {
        let serving = tokio::spawn(serving).map(|finished| finished.unwrap_or(false)).boxed().shared();
        Self { connections, stop, serving }
    }
}

/// What a stop needs.
pub struct Shutdown {
    pub signals: StopSignals,
    pub main: Port,
    /// The calls of the main port whose connections are gone.
    pub detached: DetachedCalls,
    pub admin: Port,
    /// Set when the server is no longer ready.
    pub stopping: Arc<AtomicBool>,
    pub audit: Audit,
    /// Returns if the reload of the documents cannot be started again.
    pub reloading: JoinHandle<Part>,
    /// How long new calls are still served after SIGTERM, until load balancers have removed this server.
    pub settle: Duration,
}

impl Shutdown {
    /// Waits for a reason to stop, and stops. A further signal ends whatever is waited for. Also returns the part that failed, if that
    /// was the reason.
    pub async fn run(self) -> (AuditLogEnd, Option<Part>) {
        let Self { mut signals, main, detached, admin, stopping, audit, mut reloading, settle } = self;
        let reason = tokio::select! {
            reason = signals.next() => Ok(reason),
            part = &mut reloading => Err(part.unwrap_or(Part::Reloads)),
            () = audit.failed() => Err(Part::AuditLog),
            _ = main.serving.clone() => Err(Part::MainPort),
            _ = admin.serving.clone() => Err(Part::AdminPort),
        };
        if let Err(part) = reason {
            last_words(format!("{part} failed, and cannot be started again; the server stops"));
        }
        record(&audit, &Record::ServerStopping);
        stopping.store(true, Relaxed);
        main.connections.drain();
        admin.connections.drain();
        let (settle, within) = match reason {
            Ok(StopReason::Terminated) => (settle, LONGEST_TIMEOUT.to_std() + BEYOND_TIMEOUT),
            // What is in force may be out of date: nothing is served for longer than calls need.
            Ok(StopReason::Interrupted) | Err(_) => (Duration::ZERO, INTERRUPTED),
        };
        let is_hurried = settle > Duration::ZERO && tokio::time::timeout(settle, signals.next()).await.is_ok();
        let Port { connections, stop, mut serving } = main;
        let within = if is_hurried { Duration::ZERO } else { within };
        let mut until = Instant::now() + within;
        stop.send_replace(Some(within));
        let finished = tokio::select! {
            finished = &mut serving => finished,
            _ = signals.next() => {
                until = Instant::now();
                connections.abort();
                serving.await
            }
        };
        // What served the port is gone; the connections go on by themselves, and their calls have ends to record.
        let finished = finished && (reason != Err(Part::MainPort) || connections.end(within).await);
        let finished = detached.end(timeout_at(until, signals.next())).await && finished;
        // Until here a revocation still counts for calls that are made meanwhile.
        reloading.abort();
        if !finished {
            tracing::warn!("calls that were still running were cut off");
        }
        admin.stop.send_replace(Some(if is_hurried { Duration::ZERO } else { ADMIN }));
        let _ = admin.serving.await;
        if !audit.stop(FLUSH) {
            last_words("the last audit records could not be written".to_owned());
            return (AuditLogEnd::RecordsLost, reason.err());
        }
        let end = if audit.dropped() > 0 { AuditLogEnd::RecordsLost } else { AuditLogEnd::Complete };
        (end, reason.err())
    }
}

/// Waits until a port is asked to stop.
pub async fn asked(mut stopped: watch::Receiver<Option<Duration>>) -> Duration {
    // A sender that was dropped means that nothing is to be waited for.
    stopped.wait_for(Option::is_some).await.ok().and_then(|within| *within).unwrap_or_default()
}

fn last_words(text: String) {
    let (written, done) = mpsc::channel::<()>();
    thread::spawn(move || {
        eprintln!("portcullis-server: {text}");
        drop(written);
    });
    // The end of the channel is the answer.
    let _ = done.recv_timeout(LAST_WORDS);
}

#[cfg(test)]
mod tests {
    use std::{future::pending, io};

    use super::*;
    use crate::audit::Options;

    /// Takes everything, or panics.
    struct Sink(bool);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(!self.0, "planned by a test");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn port(fails: bool) -> Port {
        let (stop, stopped) = watch::channel(None);
        Port::new(Connections::default(), stop, async move {
            assert!(!fails, "planned by a test");
            asked(stopped).await;
            true
        })
    }

    #[tokio::test]
    async fn a_part_that_cannot_be_started_again_stops_the_server_and_is_named() {
        let complete = |part| (AuditLogEnd::Complete, Some(part));
        for (part, end) in [
            (Part::Reloads, complete(Part::Reloads)),
            (Part::MainPort, complete(Part::MainPort)),
            (Part::AdminPort, complete(Part::AdminPort)),
            (Part::AuditLog, (AuditLogEnd::RecordsLost, Some(Part::AuditLog))),
        ] {
            let audit = Audit::start(Box::new(Sink(part == Part::AuditLog)), Options::new("pod-1")).unwrap();
            record(&audit, &Record::ServerStopping);
            let stopping = Arc::new(AtomicBool::new(false));
            let reloading = tokio::spawn(async move { if part == Part::Reloads { part } else { pending().await } });
            let shutdown = Shutdown {
                signals: StopSignals::listen(false).unwrap(),
                main: port(part == Part::MainPort),
                detached: DetachedCalls::default(),
                admin: port(part == Part::AdminPort),
                stopping: stopping.clone(),
                audit,
                reloading,
                settle: Duration::from_secs(3600),
            };
            assert_eq!(shutdown.run().await, end, "{part}");
            assert!(stopping.load(Relaxed));
        }
    }
}
