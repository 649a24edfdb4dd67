//! The processes of all servers: started, stopped, and where they listen.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use portcullis_crds::NamespacedName;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    error::Error,
    ports::{self, Ports},
    process::{Event, Process, Program},
    state::State,
    summary::ServerSummary,
};

pub(super) struct Servers {
    binary: PathBuf,
    events: mpsc::UnboundedSender<Event>,
    ports: Ports,
    running: BTreeMap<NamespacedName, Running>,
    stopping: Vec<JoinHandle<()>>,
}

struct Running {
    process: Process,
    /// Where it listens; `None` before it first does.
    address: Option<ServerSummary>,
    /// Whether it has listened, or ended without doing so.
    is_settled: bool,
}

impl Servers {
    pub fn new(binary: PathBuf, listen: SocketAddr, events: mpsc::UnboundedSender<Event>) -> Self {
        Self { binary, events, ports: Ports::new(listen), running: BTreeMap::new(), stopping: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub fn is_running(&self, server: &NamespacedName) -> bool {
        self.running.contains_key(server)
    }

    /// Starts a server on the next port. At the start of the program the port must be free; later it may still belong to a
    /// server that is stopping.
    ///
    /// # Errors
    /// Returns an error if there is no port for it.
    pub fn start(&mut self, server: &NamespacedName, state: &State, is_first: bool) -> Result<(), Error> {
        let no_port = |source| Error::Port { address: "a port up to 65535".into(), source };
        let listen = self.ports.take(server).map_err(no_port)?;
        if is_first {
            ports::check(listen).map_err(|source| Error::Port { address: listen.to_string(), source })?;
        }
        let program = Program {
            server: server.clone(),
            binary: self.binary.clone(),
            config: state.volume(server),
            secrets: state.secrets(server),
            log: state.log(server),
            listen,
        };
        let process = Process::start(program, std::mem::take(&mut self.stopping), self.events.clone());
        self.running.insert(server.clone(), Running { process, address: None, is_settled: false });
        Ok(())
    }

    /// Stops all servers but those that are kept, and returns their names.
    pub fn stop_unless(&mut self, is_kept: impl Fn(&NamespacedName) -> bool) -> Vec<NamespacedName> {
        let stopped: Vec<_> = self.running.keys().filter(|server| !is_kept(server)).cloned().collect();
        for server in &stopped {
            self.ports.free(server);
            if let Some(running) = self.running.remove(server) {
                self.stopping.push(tokio::spawn(running.process.stop()));
            }
        }
        self.stopping.retain(|task| !task.is_finished());
        stopped
    }

    /// Takes the addresses of a server that began to listen; `None` if it was stopped meanwhile.
    pub fn set_address(
        &mut self,
        server: &NamespacedName,
        listen: SocketAddr,
        admin: SocketAddr,
    ) -> Option<&ServerSummary> {
        let running = self.running.get_mut(server)?;
        running.is_settled = true;
        Some(running.address.insert(ServerSummary::new(server, listen, admin)))
    }

    /// Takes that a server's process ended by itself. Returns whether the server is to run.
    pub fn set_ended(&mut self, server: &NamespacedName) -> bool {
        match self.running.get_mut(server) {
            Some(running) => {
                running.is_settled = true;
                true
            }
            None => false,
        }
    }

    /// Where the servers listen; `None` until each of them has listened or ended, and one listens.
    pub fn addresses(&self) -> Option<Vec<ServerSummary>> {
        let is_settled = self.running.values().all(|running| running.is_settled);
        let addresses: Vec<_> = self.running.values().filter_map(|running| running.address.clone()).collect();
        (is_settled && !addresses.is_empty()).then_some(addresses)
    }

    /// Stops all, and waits until they have ended.
    pub async fn stop(&mut self) {
        self.stop_unless(|_| false);
        for task in std::mem::take(&mut self.stopping) {
            let _ = task.await;
        }
    }
}
