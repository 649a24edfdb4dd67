//! Builds the server from its parts, serves, and stops in order.

mod descriptors;
mod memory;
mod reports;
mod shutdown;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, sync::watch};
use tracing_subscriber::util::TryInitError;

pub use self::shutdown::AuditLogEnd;
use self::{
    descriptors::{Descriptors, TooFew},
    reports::{Log, Reloads, record},
    shutdown::{Port, Shutdown, asked},
};
use crate::{
    audit::{self, Audit, Sink, record::Record},
    backend::{self, AddressPolicy, credentials},
    cli::Arguments,
    config::{self, SETTLED_AFTER, Store, StoreSettings},
    guard::{Answers, Checks, Guard, Turns},
    health::Health,
    limiter::{self, Clock, InFlight, MemoryStore},
    mcp::Mcp,
    metrics::Metrics,
    net::{self, Bounds, Connections},
    stop::StopSignals,
    supervise::{self, Part},
    transport::{AdminPort, Endpoints, MainPort},
};

/// How long the start waits for documents that are still being written.
const LONGEST_FIRST_LOOK: Duration = Duration::from_secs(2);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot start a thread: {0}")]
    Runtime(io::Error),
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot open the audit log on {0}: {1}")]
    AuditLog(Sink, io::Error),
    #[error("cannot start the program log: {0}")]
    Log(#[from] TryInitError),
    #[error("cannot use TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    #[error("cannot serve: {0}")]
    Descriptors(#[from] TooFew),
    #[error("stopped, because {0} failed")]
    Failed(Part),
}

/// Serves until a signal or the end of standard input stops it. Returns whether every audit record was written.
///
/// # Errors
/// Returns an error if the server cannot start, or a part of it failed and could not be started again.
pub async fn run(arguments: Arguments) -> Result<AuditLogEnd, RunError> {
    let descriptors = Descriptors::raise()?;
    let instance = format!("{}-{:08x}", arguments.instance, random());
    let sink = arguments.audit_log.open().map_err(|error| RunError::AuditLog(arguments.audit_log.clone(), error))?;
    let audit = Audit::start(sink, audit::Options::new(instance)).map_err(RunError::Runtime)?;
    let log = Log::start(&audit, arguments.log_level)?;
    let metrics = Metrics::default();
    let addresses =
        if arguments.allow_loopback_backends { AddressPolicy::ServicesAndLoopback } else { AddressPolicy::Services };
    let secrets = credentials::Secrets::new(arguments.secrets.clone());
    let backends = backend::Factory::new(addresses, descriptors.backends)?.with_secrets(secrets.clone());
    let store = Arc::new(Store::new(StoreSettings {
        directory: arguments.config.clone(),
        metrics: metrics.clone(),
        backends: backends.clone(),
        limit_stores: limiter::Stores::default(),
        settled_after: SETTLED_AFTER,
    }));
    let reloads = Arc::new(Reloads { audit: audit.clone(), metrics: metrics.clone(), log });
    load(&store, &reloads).await;
    let (main, admin) = ports(&arguments, &store, (&audit, metrics, backends));

    let main_port = listen(arguments.listen)?;
    let admin_port = listen(arguments.admin)?;
    let signals = StopSignals::listen(arguments.stop_with_stdin).map_err(RunError::Signals)?;
    let started = Record::ServerStarted {
        version: env!("CARGO_PKG_VERSION"),
        listen: main_port.local_addr().map_err(|error| RunError::Listen(arguments.listen, error))?,
        admin: admin_port.local_addr().map_err(|error| RunError::Listen(arguments.admin, error))?,
    };
    record(&audit, &started);

    let directory = arguments.config.clone();
    let reloading = supervise::keep(Part::Reloads, move || {
        let reloads = reloads.clone();
        config::watch(store.clone(), directory.clone(), move |reload| reloads.report(reload))
    });
    let reading = supervise::keep(Part::Secrets, move || credentials::watch(secrets.clone()));
    let reloading = tokio::spawn(async move {
        tokio::select! {
            part = reloading => part,
            part = reading => part,
        }
    });
    let detached = main.endpoints.detached.clone();
    let (stop_main, main_stopped) = watch::channel(None);
    let (stop_admin, admin_stopped) = watch::channel(None);
    let (connections, stopping) = (admin.connections.clone(), admin.stopping.clone());
    let bounds = Bounds::default();
    let fitting = memory::connections().unwrap_or(usize::MAX);
    let connections_at_most = bounds.connections.min(descriptors.main).min(fitting);
    if connections_at_most < bounds.connections {
        let by = if fitting < descriptors.main { "memory" } else { "open files" };
        tracing::warn!(connections = connections_at_most, "the limit of {by} bounds connections");
    }
    let bounds = bounds.with_connections(connections_at_most);
    let serving = net::serve(main_port, main, bounds, connections.clone(), asked(main_stopped));
    let main = Port::new(connections, stop_main, serving);
    let connections = Connections::default();
    let bounds = Bounds::admin().with_connections(descriptors.admin);
    let serving = net::serve(admin_port, admin, bounds, connections.clone(), asked(admin_stopped));
    let admin = Port::new(connections, stop_admin, serving);
    let settle = Duration::from_secs(arguments.drain);
    let (end, failed) = Shutdown { signals, main, detached, admin, stopping, audit, reloading, settle }.run().await;
    ended(end, failed)
}

/// A record that was lost cannot be had again, and is missing for ever: it is what the process says last, whatever else happened.
fn ended(end: AuditLogEnd, failed: Option<Part>) -> Result<AuditLogEnd, RunError> {
    match (end, failed) {
        (AuditLogEnd::Complete, Some(part)) => Err(RunError::Failed(part)),
        (end, _) => Ok(end),
    }
}

/// Loads the documents for the first time. Those that do not state their revision are waited for, because the server would have
/// nothing to serve before.
async fn load(store: &Store, reloads: &Reloads) {
    let until = Instant::now() + LONGEST_FIRST_LOOK;
    loop {
        let reload = store.reload();
        let is_unsettled = reload.is_unsettled;
        reloads.report(reload);
        if !is_unsettled || Instant::now() >= until {
            return;
        }
        tokio::time::sleep(SETTLED_AFTER).await;
    }
}

/// The handlers of the two ports.
fn ports(
    arguments: &Arguments,
    store: &Arc<Store>,
    (audit, metrics, backends): (&Audit, Metrics, backend::Factory),
) -> (Arc<MainPort>, Arc<AdminPort>) {
    let (store, audit) = (store.clone(), audit.clone());
    let health = Arc::new(Health { store: store.clone(), audit: audit.clone(), started: Instant::now() });
    let guard = Guard {
        store: store.clone(),
        checks: Checks::default(),
        readings: Turns::default(),
        audit: audit.clone(),
        allowance: MemoryStore::default(),
        in_flight: InFlight::default(),
        answers: Answers::default(),
        clock: Clock::start(),
        metrics: metrics.clone(),
    };
    let answers = guard.answers.budget.clone();
    let endpoints = Endpoints::new(Mcp::new(guard), metrics.clone());
    let admin = AdminPort {
        store,
        health: health.clone(),
        metrics,
        audit,
        connections: Connections::default(),
        backends,
        bodies: endpoints.bodies.clone(),
        answers,
        stopping: Arc::new(AtomicBool::new(false)),
        pod_uid: arguments.pod_uid.clone(),
    };
    (Arc::new(MainPort { endpoints, health }), Arc::new(admin))
}

fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    net::listen(address).map_err(|error| RunError::Listen(address, error))
}

/// A number that distinguishes instances of the same name.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // If there is no randomness, the name alone has to suffice.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_lost_is_said_although_a_part_failed() {
        use AuditLogEnd::{Complete, RecordsLost};
        let text = |end, failed| ended(end, failed).map_err(|error| error.to_string());
        let failed = RunError::Failed(Part::Reloads).to_string();
        for (end, part, expected) in [
            (Complete, None, Ok(Complete)),
            (RecordsLost, None, Ok(RecordsLost)),
            (Complete, Some(Part::Reloads), Err(failed)),
            (RecordsLost, Some(Part::Reloads), Ok(RecordsLost)),
        ] {
            assert_eq!(text(end, part), expected);
        }
    }
}
