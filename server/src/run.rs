//! Puts the rooms together, serves, and ends well.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use portcullis_crds::contract::OnOverflow;
use tokio::{net::TcpListener, sync::watch};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::{
    audit::{
        self, Audit, ProgramLog,
        record::{Document, Record},
    },
    backend::{Dialling, HttpClient},
    cli::Arguments,
    config::{self, Change, Reload, Store, StoreSettings},
    guard::Guard,
    health::Health,
    limiter::{self, Clock, InFlight, MemoryStore},
    mcp::Mcp,
    metrics::{Metrics, ReloadOutcome},
    net::{self, Bounds, Connections},
    stop::{Cause, Reasons},
    transport::{AdminPort, Endpoints, MainPort},
};

/// How long calls in flight may take at the end. With `--drain` and the flush it fits the 30 s that Kubernetes gives a pod.
const DRAIN: Duration = Duration::from_secs(20);
/// How long the last records may take to be written.
const FLUSH: Duration = Duration::from_secs(5);

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot start a thread: {0}")]
    Runtime(io::Error),
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot write the audit log: {0}")]
    Audit(io::Error),
    #[error("cannot log: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

/// Serves until it is told to stop.
///
/// # Errors
/// Where it cannot begin.
pub async fn run(arguments: Arguments) -> Result<(), RunError> {
    let instance = format!("{}-{:08x}", arguments.instance, random());
    let sink = Audit::stdout().map_err(RunError::Audit)?;
    let audit = Audit::start(sink, audit::Options::new(instance)).map_err(RunError::Audit)?;
    let log = Log::start(&audit, arguments.log_level)?;
    let metrics = Metrics::default();
    let limit_stores = limiter::Stores::default();
    let settings = StoreSettings { directory: arguments.config.clone(), metrics: metrics.clone(), limit_stores };
    let store = Arc::new(Store::new(settings));
    let reloads = Reloads { audit: audit.clone(), metrics: metrics.clone(), log };
    reloads.tell(store.reload());
    let (main, admin) = rooms(&arguments, &store, &audit, metrics)?;

    let main_port = listen(arguments.listen).await?;
    let admin_port = listen(arguments.admin).await?;
    let mut reasons = Reasons::listen(arguments.stop_with_stdin).map_err(RunError::Signals)?;
    let started = Record::ServerStarted {
        version: env!("CARGO_PKG_VERSION"),
        listen: main_port.local_addr().map_err(|error| RunError::Listen(arguments.listen, error))?,
        admin: admin_port.local_addr().map_err(|error| RunError::Listen(arguments.admin, error))?,
    };
    record(&audit, &started);

    let watching = tokio::spawn(config::watch(store, arguments.config.clone(), move |reload| reloads.tell(reload)));
    let (stop_main, main_stopped) = watch::channel(false);
    let (stop_admin, admin_stopped) = watch::channel(false);
    let (connections, stopping) = (admin.connections.clone(), admin.stopping.clone());
    let bounds = Bounds { drain: DRAIN, ..Bounds::default() };
    let main = tokio::spawn(net::serve(main_port, main, bounds, connections, told(main_stopped)));
    let bounds = Bounds { drain: FLUSH, ..Bounds::admin() };
    let admin = tokio::spawn(net::serve(admin_port, admin, bounds, Connections::default(), told(admin_stopped)));

    let cause = reasons.next().await;
    record(&audit, &Record::ServerStopping);
    stopping.store(true, Relaxed);
    if cause == Cause::Terminated {
        // A second reason ends the wait.
        let _ = tokio::time::timeout(Duration::from_secs(arguments.drain), reasons.next()).await;
    }
    stop_main.send_replace(true);
    if !main.await.unwrap_or(false) {
        tracing::warn!("calls that were still running after the drain were cut off");
    }
    stop_admin.send_replace(true);
    let _ = admin.await;
    watching.abort();
    if !audit.stop(FLUSH) {
        eprintln!("portcullis-server: the last audit records could not be written");
    }
    Ok(())
}

/// What stands behind the two ports.
fn rooms(
    arguments: &Arguments,
    store: &Arc<Store>,
    audit: &Audit,
    metrics: Metrics,
) -> Result<(Arc<MainPort>, Arc<AdminPort>), RunError> {
    let dialling = if arguments.allow_loopback_backends { Dialling::ServicesAndLoopback } else { Dialling::Services };
    let http = HttpClient::new(dialling)?;
    let (store, audit) = (store.clone(), audit.clone());
    let health =
        Arc::new(Health { store: store.clone(), http: http.clone(), audit: audit.clone(), started: Instant::now() });
    let admin = AdminPort {
        store: store.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        audit: audit.clone(),
        connections: Connections::default(),
        stopping: Arc::new(AtomicBool::new(false)),
        pod_uid: arguments.pod_uid.clone(),
    };
    let guard = Guard {
        audit,
        allowance: MemoryStore::default(),
        in_flight: InFlight::default(),
        clock: Clock::start(),
        http,
        metrics: metrics.clone(),
    };
    let mcp = Mcp::new(guard);
    let endpoints = Endpoints::new(store, mcp, metrics);
    Ok((Arc::new(MainPort { endpoints, health }), Arc::new(admin)))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|error| RunError::Listen(address, error))
}

async fn told(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Records of the server itself are taken even while the log is blocked.
fn record(audit: &Audit, record: &Record<'_>) {
    let _ = audit.record(record, OnOverflow::Refuse);
}

/// Tells of reloads.
struct Reloads {
    audit: Audit,
    metrics: Metrics,
    log: Log,
}

impl Reloads {
    fn tell(&self, reload: Reload) {
        for (document, change) in [(Document::Policy, &reload.policy), (Document::Credentials, &reload.credentials)] {
            if let Some(refused) = &change.refused {
                self.metrics.reloaded(ReloadOutcome::Refused);
                record(&self.audit, &Record::PolicyRefused { document, field: &refused.field });
                tracing::error!(document = ?document, reason = %refused.message, "{}", refusal(change));
            }
        }
        let Some(snapshot) = reload.swapped else { return };
        self.metrics.reloaded(ReloadOutcome::Loaded);
        self.log.follow(&self.audit, snapshot.log_level.as_str());
        record(
            &self.audit,
            &Record::PolicyLoaded {
                revision: &snapshot.revision,
                credentials_revision: snapshot.credentials_revision.as_deref(),
                tools: snapshot.tools.by_name.len(),
                clients: snapshot.clients,
            },
        );
    }
}

fn refusal(change: &Change) -> &'static str {
    if change.is_loaded {
        "parts of a document were refused; the rest of it is in force"
    } else {
        "a document was refused; the last good one stays in force"
    }
}

/// The program log, whose level follows the policy where the environment does not say one.
struct Log {
    fixed: Option<tracing::Level>,
    handle: reload::Handle<ProgramLog, Registry>,
}

impl Log {
    fn start(audit: &Audit, fixed: Option<tracing::Level>) -> Result<Self, RunError> {
        let (layer, handle) = reload::Layer::new(audit.program_log(fixed.unwrap_or(tracing::Level::INFO)));
        tracing_subscriber::registry().with(layer.boxed()).try_init()?;
        Ok(Self { fixed, handle })
    }

    fn follow(&self, audit: &Audit, level: &str) {
        if self.fixed.is_none()
            && let Ok(level) = level.parse()
        {
            // It fails only where the subscriber is gone, and with it the log.
            let _ = self.handle.reload(audit.program_log(level));
        }
    }
}

/// Tells instances of one name apart.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the name alone has to do.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}
