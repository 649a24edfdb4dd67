//! `local DIR`: the manifests of a cluster, served on this machine. Read and planned as everywhere; directories and processes
//! stand in for ConfigMaps, Secrets and pods.
//!
//! Promises: an edit applies within a second, without a restart; what can't be read keeps its last good state; no process
//! outlives this one, however it ends; two of these never share a state folder.

mod client_keys;
mod cluster_state;
mod identities;
mod io;
mod policies;
mod ports;
mod process;
mod state;
mod summary;
mod volume;
mod watch;
mod world;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use portcullis_crds::{check::HttpTarget, contract::HttpBackend};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

pub use io::Error;

use state::State;
use watch::Watch;
use world::World;

/// How long an edit that could not be carried out waits until it is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What `local` was asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The folder of manifests
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Where keys, logs and summary.json are kept [default: one for each DIR, below $XDG_STATE_HOME/portcullis]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where the first server listens; the others count up from it. Port 0 takes free ones
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Take this URL for an http backend, so that the manifests can stay those of the cluster; repeat for others
    #[arg(long = "backend", value_name = "NAME=URL", value_parser = backend)]
    pub backends: Vec<(String, String)>,
    /// The program that serves [default: portcullis-server beside this one]
    #[arg(long, value_name = "PATH")]
    pub server_binary: Option<PathBuf>,
}

fn backend(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, url)) => {
            let backend = HttpBackend { url: url.to_owned(), health_path: None };
            HttpTarget::new(&backend).map_err(|findings| {
                findings
                    .0
                    .into_iter()
                    .map(|finding| format!("the URL {}", finding.message))
                    .collect::<Vec<_>>()
                    .join("; ")
            })?;
            Ok((name.to_owned(), url.to_owned()))
        }
        None => Err("must be NAME=URL, such as crm-api=http://127.0.0.1:8080".into()),
    }
}

/// Serves a folder until SIGINT, SIGTERM or SIGHUP.
///
/// # Errors
/// Where it can't begin: the folder, the state folder, a port or the program is not to be had, or nothing in the folder
/// can be served.
pub async fn run(options: Options) -> Result<(), Error> {
    let binary = server_binary(options.server_binary.as_deref())?;
    let state = State::open(options.state_dir.unwrap_or_else(|| state::default_root(&options.folder)))?;
    let backends: BTreeMap<_, _> = options.backends.into_iter().collect();
    let (events, mut happened) = mpsc::unbounded_channel();
    let mut end = Signals::new()?;
    let mut watch = Watch::new(&options.folder)?;
    let mut world = World::new(options.folder, state, backends, options.listen, binary, events);
    world.begin()?;
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = end.next() => break,
            () = due(&mut watch, has_failed) => tokio::select! {
                () = end.next() => break,
                done = world.reread(&mut watch) => {
                    has_failed = done.is_err();
                    if let Err(error) = done {
                        io::warn(&format!("{error}; it is tried again"));
                    }
                }
            },
            Some(event) = happened.recv() => world.happened(event),
        }
    }
    io::say("Stopping.");
    tokio::select! {
        () = end.next() => {}
        () = world.end() => {}
    }
    Ok(())
}

/// Waits until the folder is to be read: when it changed, and a while after an edit that could not be carried out.
async fn due(watch: &mut Watch, has_failed: bool) {
    tokio::select! {
        () = watch.changed() => {}
        () = tokio::time::sleep(AGAIN), if has_failed => {}
    }
}

fn server_binary(asked: Option<&Path>) -> Result<PathBuf, Error> {
    let beside = || std::env::current_exe().ok()?.parent().map(|folder| folder.join("portcullis-server"));
    let binary = asked.map(Path::to_owned).or_else(beside).unwrap_or_else(|| "portcullis-server".into());
    if binary.is_file() { Ok(binary) } else { Err(Error::NoServer { binary }) }
}

/// What ends a program that a person or a supervisor runs.
struct Signals([tokio::signal::unix::Signal; 3]);

impl Signals {
    fn new() -> Result<Self, Error> {
        let signal = |kind| signal(kind).map_err(Error::io("listening for signals"));
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
