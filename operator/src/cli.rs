//! The command line. Results go to stdout; findings and errors go to stderr.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{build::Settings, crds, local, rbac, render, run};

/// The exit code of `run` if another operator runs against the cluster.
const ANOTHER_RUNS: u8 = 3;

const EXIT_CODES: &str = "\
Exit codes:
  0  stopped
  1  could not start, or could not go on
  2  the command line is wrong
  3  another operator runs against the cluster, or took over";

/// Turns McpServer and McpClient resources into guarded MCP servers.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reconcile the McpServers and McpClients of a cluster: that of the kubeconfig, or that of this pod. One runs at a time
    #[command(after_help = EXIT_CODES)]
    Run(Run),
    /// Print the service account of `run` and its permissions, for `kubectl apply --server-side -f -`
    Rbac,
    /// Print the two CustomResourceDefinitions, for `kubectl apply --server-side -f -`
    Crds(crds::Options),
    /// Check the manifests in a folder; the exit code is 1 if there is a finding
    Validate(Folder),
    /// Print all objects that the operator creates for the manifests in a folder
    Render(Render),
    /// Serve the manifests in a folder on this machine, without a cluster
    Local(local::Options),
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    settings: Image,
    /// The address that serves /livez, /readyz and /metrics; port 0 selects a free port
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The namespace of the Lease `portcullis-operator`, by which one operator runs at a time. Without it
    /// portcullis-system, which is created if the cluster lacks it
    #[arg(long, value_name = "NAME", env = "PORTCULLIS_LEASE_NAMESPACE")]
    lease_namespace: Option<String>,
}

#[derive(Args)]
struct Folder {
    /// The folder. Its files *.yaml, *.yml and *.json are read; folders in it are not
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Args)]
struct Render {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    settings: Image,
}

#[derive(Args)]
struct Image {
    /// The image of the pods
    #[arg(long, value_name = "IMAGE", env = "PORTCULLIS_SERVER_IMAGE", default_value = concat!("portcullis-server:", env!("CARGO_PKG_VERSION")))]
    server_image: String,
    /// When kubelet pulls the image: Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
}

impl From<Image> for Settings {
    fn from(image: Image) -> Self {
        Self { server_image: image.server_image, image_pull_policy: image.image_pull_policy }
    }
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(text) => print(&text),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            match error.downcast_ref::<run::Error>().is_some_and(run::Error::is_refused) {
                true => ANOTHER_RUNS.into(),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// The text that the command prints.
fn execute(command: Command) -> Result<String, Box<dyn std::error::Error>> {
    Ok(match command {
        Command::Run(Run { settings, listen, lease_namespace }) => {
            run::run(run::Options { settings: settings.into(), listen, namespace: lease_namespace })?;
            String::new()
        }
        Command::Rbac => rbac::manifests(),
        Command::Crds(options) => crds::crds(options)?,
        Command::Validate(Folder { folder }) => render::validate(&folder)?,
        Command::Render(Render { folder, settings }) => render::render(&folder.folder, &settings.into())?,
        Command::Local(options) => {
            runtime()?.block_on(local::run(options))?;
            String::new()
        }
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Prints a text. It is not a failure if the reader stops reading, as `head` does.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
