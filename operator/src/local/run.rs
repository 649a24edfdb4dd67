//! What is served now, and how each reading of the folder changes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use portcullis_crds::{
    NamespacedName,
    contract::{CREDENTIALS_FILE, POLICY_FILE},
};
use tokio::sync::mpsc;

use super::{
    backends::Backends,
    cluster_state::LocalClusterState,
    console::{print, warn},
    error::Error,
    options::Options,
    overview::overview,
    policy_changes::policy_changes,
    problems::Problems,
    process::Event,
    secrets::LocalSecrets,
    servers::Servers,
    state::{self, State},
    summary::{ClientSummary, Summary, SummaryFile},
    volume,
    watch::Watch,
};
use crate::{
    manifests::{self, Files, Folder, Problem, Review, Sources},
    validate::ServerPlan,
};

/// A removal, and a file that does not end with a line break, wait this much longer than another edit: many editors empty or remove a
/// file before they write it, and the half that is written first may lack a restriction.
const REMOVAL: Duration = Duration::from_millis(250);
/// How long a removal waits for other files that change meanwhile; then those are held back.
const AT_MOST: Duration = Duration::from_millis(500);

/// How often the files of the keys are looked at.
const POLL_KEYS: Duration = Duration::from_millis(500);

/// One run of `local`.
pub(super) struct LocalRun {
    sources: Sources,
    state: State,
    backends: Backends,
    secrets: LocalSecrets,
    servers: Servers,
    cluster: LocalClusterState,
    folder: Folder,
    problems: Problems,
    /// The files that did not end with a line break when they were last read.
    unfinished: BTreeSet<String>,
    /// The clients that have a credential.
    clients: Vec<ClientSummary>,
    summary: SummaryFile,
}

impl LocalRun {
    /// # Errors
    /// Returns an error if the server's program does not exist, or if the state folder cannot be used.
    pub fn new(options: Options, sources: Sources, events: mpsc::UnboundedSender<Event>) -> Result<Self, Error> {
        let binary = options.find_server_binary()?;
        let state = State::open(options.state_dir.unwrap_or_else(|| state::default_root(sources.paths())))?;
        Ok(Self {
            sources,
            backends: Backends::new(options.backends),
            secrets: LocalSecrets::new(options.secrets),
            servers: Servers::new(binary, options.listen, events),
            cluster: LocalClusterState::load(&state),
            folder: Folder::default(),
            problems: Problems::default(),
            unfinished: BTreeSet::new(),
            clients: Vec::new(),
            summary: SummaryFile::new(state.summary()),
            state,
        })
    }

    /// Reads the folder for the first time. Problems are printed, and everything that is valid is served.
    ///
    /// # Errors
    /// Returns an error if nothing can be served, or not with these arguments.
    pub fn start(&mut self) -> Result<(), Error> {
        let (folder, problems) = self.folder.update(&self.sources.read()?);
        if let Err(error) = self.backends.check(&folder) {
            problems.iter().for_each(|problem| warn(&problem.to_string()));
            return Err(error);
        }
        self.apply(folder, problems, true)?;
        if self.servers.is_empty() {
            return Err(Error::NothingToServe { sources: self.sources.clone() });
        }
        self.cluster.forget_left_over(&self.state, &self.folder)
    }

    /// Applies what changed in the folder.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read or the state folder cannot be written. What runs continues to run.
    pub async fn reread(&mut self, watch: &mut Watch) -> Result<(), Error> {
        let until = Instant::now() + AT_MOST;
        loop {
            let mut files = self.sources.reread()?;
            watch.hold_back(&mut files);
            let (folder, problems) = self.folder.update(&files);
            let unfinished = unfinished(&files);
            if self.folder.ids().any(|id| !folder.names(id)) || !unfinished.is_subset(&self.unfinished) {
                tokio::time::sleep(REMOVAL).await;
            }
            if watch.is_settled() {
                self.unfinished = unfinished;
                return self.apply(folder, problems, false);
            }
            if Instant::now() < until {
                watch.settle().await;
            } else {
                watch.give_up_waiting();
            }
        }
    }

    /// Waits until keys are due to be created or deleted although no manifest changed: somebody took one out of its file.
    pub async fn keys_due(&self) {
        while !self.cluster.is_due() {
            tokio::time::sleep(POLL_KEYS).await;
        }
    }

    /// Makes the servers and their clients those of the folder. A server that fails does not hold up the others.
    fn apply(&mut self, folder: Folder, problems: Vec<Problem>, is_first: bool) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.folder, folder);
        let mut result = self.cluster.update(&self.state, (!is_first).then_some(&before), &self.folder);
        let review = manifests::review(&self.folder, &self.cluster, |half| self.backends.adapt(half));
        let mut problems: BTreeSet<_> = problems.into_iter().chain(review.problems.iter().cloned()).collect();
        problems.extend(self.secrets.problems(&self.folder));
        self.problems.update(problems, &before);
        for server in self.servers.stop_unless(|server| review.servers.contains_key(server)) {
            print(&format!("{server}: stopped, because its McpServer was removed"));
            self.cluster.in_force.remove(&server);
        }
        for (server, (_, plan)) in &review.servers {
            result = result.and(self.serve(server, plan, is_first));
        }
        self.clients = self.clients(&review);
        result.and(self.summarise())
    }

    /// Writes a server's documents, and starts the server if it is not running.
    fn serve(&mut self, server: &NamespacedName, plan: &ServerPlan, is_first: bool) -> Result<(), Error> {
        let Some(documents) = &plan.documents else { return Ok(()) };
        let (policy, credentials) = (documents.policy.text(), documents.credentials.text());
        let files = BTreeMap::from([(POLICY_FILE, policy), (CREDENTIALS_FILE, credentials)]);
        volume::write(&self.state.volume(server), &files)?;
        let before = self.cluster.in_force.insert(server.clone(), documents.clone());
        if !self.servers.is_running(server) {
            self.secrets.mount(&self.state.secrets(server))?;
            return self.servers.start(server, &self.state, is_first);
        }
        if let Some(changes) = before.and_then(|before| policy_changes(&before.policy, &documents.policy)) {
            print(&format!("{server}: {changes}"));
        }
        Ok(())
    }

    fn clients(&self, review: &Review) -> Vec<ClientSummary> {
        let client = |name: &NamespacedName| {
            let summary = ClientSummary::new(name, self.cluster.client_keys.files(name));
            (!summary.files.is_empty()).then_some(summary)
        };
        review.secrets.keys().filter_map(client).collect()
    }

    /// Takes what a server's process did.
    pub fn process_event(&mut self, event: Event) {
        match event {
            Event::Listening { server, listen, admin } => {
                if let Some(address) = self.servers.set_address(&server, listen, admin)
                    && self.summary.is_written()
                {
                    print(&format!("{server}: listens at {}", address.url));
                }
            }
            Event::Ended { server, why, pause } => {
                if self.servers.set_ended(&server) {
                    warn(&format!("{server}: its process ended ({why}); it is restarted in {pause:?}"));
                }
            }
        }
        if let Err(error) = self.summarise() {
            warn(&error.to_string());
        }
    }

    /// Writes the summary as soon as each server has listened or failed to; the first one is also printed.
    fn summarise(&mut self) -> Result<(), Error> {
        let Some(servers) = self.servers.addresses() else { return Ok(()) };
        let summary = Summary { servers, clients: self.clients.clone() };
        if !self.summary.is_written() {
            let overview = overview(&summary, &self.cluster.in_force);
            let (sources, logs) = (&self.sources, self.state.servers());
            let end = format!("Logs are in {}. Edits take effect at once; Ctrl-C stops everything.", logs.display());
            print(&format!("Serving {sources}\n{overview}\n{end}"));
        }
        self.summary.write(summary)
    }

    /// Stops all servers.
    pub async fn stop(&mut self) {
        self.servers.stop().await;
        self.summary.remove();
    }
}

/// The files that may be written in part only.
fn unfinished(files: &Files) -> BTreeSet<String> {
    let is_unfinished = |bytes: &[u8]| !bytes.ends_with(b"\n");
    files
        .iter()
        .filter(|(_, content)| content.as_deref().is_ok_and(is_unfinished))
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_empty_or_ends_within_a_line_may_be_unfinished() {
        let file = |name: &str, content: Result<&str, &str>| {
            (name.to_owned(), content.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned))
        };
        let files =
            Files::from([file("a", Ok("a: 1\n")), file("b", Ok("")), file("c", Ok("a: 1\nb")), file("d", Err("no"))]);
        assert_eq!(unfinished(&files), ["b", "c"].map(str::to_owned).into());
    }
}
