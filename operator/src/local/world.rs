//! What runs now, and how a reading of the folder changes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use portcullis_crds::{
    NamespacedName,
    contract::{BackendKind, CREDENTIALS_FILE, POLICY_FILE, ServerHalf},
};
use tokio::sync::mpsc;

use super::{
    Error,
    cluster_state::LocalClusterState,
    io::{say, warn},
    policies,
    ports::{self, Ports},
    process::{Event, Process, Program},
    state::State,
    summary::{ClientSummary, ServerSummary, Summary, SummaryFile},
    volume,
    watch::Watch,
};
use crate::{
    credentials::KINDS,
    manifests::{self, Files, Folder, Problem, Review, Severity},
    validate::{Documents, ServerPlan},
};

/// A removal waits this much longer than another edit: many an editor writes a file by emptying or removing it first.
const REMOVAL: Duration = Duration::from_millis(250);
/// How long a removal may wait for files that change meanwhile; then those are held back.
const AT_MOST: Duration = Duration::from_millis(500);

pub(super) struct World {
    path: PathBuf,
    state: State,
    backends: BTreeMap<String, String>,
    binary: PathBuf,
    events: mpsc::UnboundedSender<Event>,
    ports: Ports,
    cluster: LocalClusterState,
    folder: Folder,
    problems: BTreeSet<Problem>,
    running: BTreeMap<NamespacedName, Running>,
    stopping: Vec<tokio::task::JoinHandle<()>>,
    /// Who has a key to a server, for the summary.
    clients: Vec<ClientSummary>,
    summary: SummaryFile,
}

struct Running {
    process: Process,
    /// Where it listens, once it does.
    at: Option<ServerSummary>,
    /// Whether it listened or failed to, once.
    is_known: bool,
}

impl World {
    pub fn new(
        path: PathBuf,
        state: State,
        backends: BTreeMap<String, String>,
        listen: SocketAddr,
        binary: PathBuf,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let cluster = LocalClusterState::load(&state);
        let summary = SummaryFile::new(state.summary());
        Self {
            path,
            state,
            backends,
            binary,
            events,
            ports: Ports::new(listen),
            cluster,
            folder: Folder::default(),
            problems: BTreeSet::new(),
            running: BTreeMap::new(),
            stopping: Vec::new(),
            clients: Vec::new(),
            summary,
        }
    }

    /// The first reading. What is wrong is told, and the rest is served.
    ///
    /// # Errors
    /// Where nothing can be served, or not as it was asked for.
    pub fn begin(&mut self) -> Result<(), Error> {
        let (folder, problems) = self.folder.update(&self.read()?);
        self.known_backends(&folder, &problems)?;
        self.apply(folder, problems, true)?;
        if self.running.is_empty() {
            return Err(Error::NothingToServe { folder: self.path.clone() });
        }
        self.cluster.forget_left_over(&self.state, &self.folder)
    }

    /// Takes what changed in the folder.
    ///
    /// # Errors
    /// Where the folder can't be read, or the state folder not written; what runs runs on.
    pub async fn reread(&mut self, watch: &mut Watch) -> Result<(), Error> {
        let until = Instant::now() + AT_MOST;
        loop {
            let mut files = self.read()?;
            watch.hold_back(&mut files);
            let (folder, problems) = self.folder.update(&files);
            let removes = self.folder.ids().any(|id| !folder.names(id));
            if removes {
                tokio::time::sleep(REMOVAL).await;
            }
            if watch.is_settled() {
                return self.apply(folder, problems, false);
            }
            if Instant::now() < until {
                watch.settle().await;
            } else {
                watch.give_up_waiting();
            }
        }
    }

    fn read(&self) -> Result<Files, Error> {
        manifests::read(&self.path).map_err(Error::io(self.path.display().to_string()))
    }

    /// Each `--backend` must be somebody's.
    fn known_backends(&self, folder: &Folder, problems: &[Problem]) -> Result<(), Error> {
        let backends = folder.servers().flat_map(|(_, server)| &server.spec.backends);
        let known: BTreeSet<_> = backends.filter(|it| it.http.is_some()).map(|it| it.name.as_str()).collect();
        match self.backends.keys().find(|name| !known.contains(name.as_str())) {
            Some(name) => {
                problems.iter().for_each(|problem| warn(&problem.to_string()));
                let known =
                    if known.is_empty() { "none".to_owned() } else { known.into_iter().collect::<Vec<_>>().join(", ") };
                Err(Error::NoBackend { name: name.clone(), known })
            }
            None => Ok(()),
        }
    }

    fn apply(&mut self, folder: Folder, problems: Vec<Problem>, is_first: bool) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.folder, folder);
        let mut written = self.cluster.update(&self.state, (!is_first).then_some(&before), &self.folder);
        let backends = &self.backends;
        let review = manifests::review(&self.folder, &self.cluster, |half| here(half, backends));
        self.tell(&before, problems.into_iter().chain(review.problems.iter().cloned()).collect());
        self.stop_what_is_gone(&review);
        for (server, (_, plan)) in &review.servers {
            // One that can't be written keeps no other from its edit.
            written = written.and(self.serve(server, plan, is_first));
        }
        self.clients = self.clients(&review);
        written.and(self.summarise())
    }

    /// Says what is newly wrong, and when all is well again.
    fn tell(&mut self, before: &Folder, problems: BTreeSet<Problem>) {
        for problem in problems.difference(&self.problems) {
            let was_there = before.ids().any(|id| match &problem.object {
                Some(object) => id == object,
                None => before.file(id) == problem.file,
            });
            let is_kept = problem.severity == Severity::Refused && was_there;
            let kept = if is_kept { "  (the last good state stays)" } else { "" };
            warn(&format!("{problem}{kept}"));
        }
        if problems.is_empty() && !self.problems.is_empty() {
            say("All findings are mended.");
        }
        self.problems = problems;
    }

    fn stop_what_is_gone(&mut self, review: &Review) {
        let gone: Vec<_> =
            self.running.keys().filter(|server| !review.servers.contains_key(*server)).cloned().collect();
        for server in gone {
            say(&format!("{server}: stopped, for its McpServer is gone"));
            self.ports.free(&server);
            self.cluster.in_force.remove(&server);
            if let Some(running) = self.running.remove(&server) {
                self.stopping.push(tokio::spawn(running.process.stop()));
            }
        }
        self.stopping.retain(|task| !task.is_finished());
    }

    /// Publishes a server's documents, and starts it if it isn't running.
    fn serve(&mut self, server: &NamespacedName, plan: &ServerPlan, is_first: bool) -> Result<(), Error> {
        let Some(documents) = &plan.documents else { return Ok(()) };
        volume::write(&self.state.volume(server), &files(documents))?;
        let before = self.cluster.in_force.insert(server.clone(), documents.clone());
        if self.running.contains_key(server) {
            let words = before.and_then(|before| policies::difference(&before.policy, &documents.policy));
            if let Some(words) = words {
                say(&format!("{server}: {words}"));
            }
            return Ok(());
        }
        let port = |source| Error::Port { address: "a port up to 65535".into(), source };
        let listen = self.ports.take(server).map_err(port)?;
        if is_first {
            ports::check(listen).map_err(|source| Error::Port { address: listen.to_string(), source })?;
        }
        let program = Program {
            server: server.clone(),
            binary: self.binary.clone(),
            config: self.state.volume(server),
            log: self.state.log(server),
            listen,
        };
        // A port that was free to take may still be another's that is about to end.
        let process = Process::start(program, std::mem::take(&mut self.stopping), self.events.clone());
        self.running.insert(server.clone(), Running { process, at: None, is_known: false });
        Ok(())
    }

    fn clients(&self, review: &Review) -> Vec<ClientSummary> {
        let client = |name: &NamespacedName| {
            let files = self.cluster.client_keys.files(name);
            let files: BTreeMap<_, _> = files.map(|(kind, file)| (format!("{}File", kind.field), file)).collect();
            let NamespacedName { namespace, name } = name.clone();
            (!files.is_empty()).then_some(ClientSummary { name, namespace, files })
        };
        review.secrets.keys().filter_map(client).collect()
    }

    /// Takes what a process did.
    pub fn happened(&mut self, event: Event) {
        match event {
            Event::Listening { server, listen, admin } => {
                let at = ServerSummary::new(&server, listen, admin);
                if let Some(running) = self.running.get_mut(&server) {
                    if self.summary.is_written() {
                        say(&format!("{server}: listens at {}", at.url));
                    }
                    (running.at, running.is_known) = (Some(at), true);
                }
            }
            Event::Ended { server, why, pause } => {
                if let Some(running) = self.running.get_mut(&server) {
                    running.is_known = true;
                    warn(&format!("{server}: its process ended ({why}); it is started again in {pause:?}"));
                }
            }
        }
        if let Err(error) = self.summarise() {
            warn(&error.to_string());
        }
    }

    /// Writes the summary, once each server listened or failed to; the first time it is told too.
    fn summarise(&mut self) -> Result<(), Error> {
        let listening: Vec<_> = self.running.values().filter_map(|running| running.at.clone()).collect();
        if !self.running.values().all(|running| running.is_known) || listening.is_empty() {
            return Ok(());
        }
        let is_first = !self.summary.is_written();
        let summary = Summary { servers: listening, clients: self.clients.clone() };
        if is_first {
            say(&self.overview(&summary));
        }
        self.summary.write(summary)
    }

    fn overview(&self, summary: &Summary) -> String {
        let mut text = format!("Serving {}\n", self.path.display());
        for server in &summary.servers {
            let name = NamespacedName { namespace: server.namespace.clone(), name: server.name.clone() };
            let policy = self.cluster.in_force.get(&name).map(|documents| &documents.policy);
            let (tools, clients) =
                policy.map_or((0, 0), |policy| (policy.server().spec.tools.len(), policy.clients().len()));
            let _ = write!(
                text,
                "\n  {name}  {}  ({tools} tools, {clients} clients)\n  health: {}/health\n",
                server.url, server.admin
            );
        }
        let name = |client: &ClientSummary| format!("{}/{}", client.namespace, client.name);
        let width = summary.clients.iter().map(|client| name(client).len()).max().unwrap_or(0);
        for kind in KINDS {
            let file = |client: &ClientSummary| client.files.get(&format!("{}File", kind.field)).cloned();
            let files: Vec<_> = summary.clients.iter().filter_map(|it| Some((name(it), file(it)?))).collect();
            if !files.is_empty() {
                let _ = write!(text, "\n{}:\n", kind.usage);
            }
            for (name, file) in files {
                let _ = writeln!(text, "  {name:width$}  {}", file.display());
            }
        }
        let _ =
            write!(text, "\nLogs are in {}. Edits apply at once; Ctrl-C stops all.", self.state.servers().display());
        text
    }

    /// Ends all processes.
    pub async fn end(&mut self) {
        let running = std::mem::take(&mut self.running);
        let stopping = running.into_values().map(|running| tokio::spawn(running.process.stop()));
        for task in stopping.chain(std::mem::take(&mut self.stopping)).collect::<Vec<_>>() {
            let _ = task.await;
        }
        self.summary.remove();
    }
}

/// A server as it is on this machine: one process, and backends where `--backend` says.
fn here(half: &mut ServerHalf, backends: &BTreeMap<String, String>) {
    half.server.replicas = 1;
    for backend in &mut half.spec.backends {
        if let (BackendKind::Http(http), Some(url)) = (&mut backend.kind, backends.get(backend.name.as_str())) {
            http.url.clone_from(url);
        }
    }
}

/// The files of a server's volume.
fn files(documents: &Documents) -> BTreeMap<&'static str, &str> {
    BTreeMap::from([(POLICY_FILE, documents.policy.text()), (CREDENTIALS_FILE, documents.credentials.text())])
}
