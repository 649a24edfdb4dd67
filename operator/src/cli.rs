//! The command line. Results go to stdout; findings and errors go to stderr.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use k8s_openapi::jiff::Timestamp;
use portcullis_crds::name::ObjectName;

use crate::{
    build::{CLUSTER_DOMAIN, Settings},
    call, crds, local,
    manifests::Sources,
    rbac,
    render::{self, Output},
    run,
};

/// The exit code of `run` if another operator runs against the cluster.
const ANOTHER_RUNS: u8 = 3;

/// The exit code of `run` if the cluster lacks something that it needs.
const LACKING: u8 = 4;

const EXIT_CODES: &str = "\
Exit codes:
  0  stopped
  1  could not start, or could not go on
  2  the command line is wrong
  3  another operator runs against the cluster, or took over
  4  a CustomResourceDefinition is missing or older than the operator, or its account lacks a right";

const VALIDATE: &str = "\
A finding is printed to stderr as `FILE: KIND NAMESPACE/NAME: FIELD: SENTENCE`, after `warning: ` if it is one, and with \
`FILE:LINE:COLUMN` if the file cannot be read as YAML.

Examples:
  portcullis-operator validate manifests/
  portcullis-operator validate --strict server.yaml clients/
  kubectl kustomize overlays/prod | portcullis-operator validate -
  helm template release chart/ | portcullis-operator validate -

Exit codes:
  0  the manifests are accepted; there may be warnings
  1  there is a finding, or with --strict a warning, or something cannot be read
  2  the command line is wrong";

const RENDER: &str = "\
Examples:
  portcullis-operator render manifests/
  kubectl kustomize overlays/prod | portcullis-operator render -";

const LOCAL: &str = "\
Examples:
  portcullis-operator local manifests/
  portcullis-operator local server.yaml clients/ --backend crm-api=http://127.0.0.1:8080";

const HEALTH: &str = "\
Exit codes:
  0  the operator is alive
  1  the operator does not answer, or not as it should
  2  the command line is wrong";

/// Where `run` serves its pages if nothing else is said.
const LISTEN: &str = "[::]:8080";

const CALL: &str = "\
Examples:
  portcullis-operator call http://crm.sales.svc:3000/mcp search_contacts --arguments '{\"query\": \"Ada\"}' --key-file key
  portcullis-operator call http://crm.sales.svc:3000/mcp search_contacts --refused-with 401

Exit codes:
  0  the tool answered with a result, or the call was refused as expected
  1  the answer is another one, or there is none
  2  the command line is wrong";

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
    /// Ask the operator in this container whether it is alive, and print a line about its answer: for HEALTHCHECK
    ///
    /// Asks for /livez at the address of `--listen`, as a liveness probe of Kubernetes does. An operator that waits for the Lease or
    /// the API server is alive: a restart would not help it. There is an answer within 3 s. Kubernetes asks by itself and needs no
    /// command.
    #[command(after_help = HEALTH)]
    Health(Health),
    /// Print the service account of `run` and its permissions, for `kubectl apply --server-side -f -`
    Rbac(rbac::Options),
    /// Print the two CustomResourceDefinitions, for `kubectl apply --server-side -f -`, or apply them
    Crds(crds::Options),
    /// Check manifests as the API server and the operator do, and print every finding
    #[command(after_help = VALIDATE)]
    Validate(Validate),
    /// Print all objects that the operator creates for manifests
    #[command(after_help = RENDER)]
    Render(Render),
    /// Serve manifests on this machine, without a cluster
    #[command(after_help = LOCAL)]
    Local(local::Options),
    /// Call one tool of a server as an agent does, and print the answer
    #[command(after_help = CALL)]
    Call(call::Options),
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    settings: BuildOptions,
    /// The address that serves /livez, /readyz and /metrics; port 0 selects a free port
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_LISTEN", default_value = LISTEN)]
    listen: SocketAddr,
    /// The namespace of the Lease `portcullis-operator`, by which one operator runs at a time. Without it
    /// portcullis-system, which is created if the cluster lacks it
    #[arg(long, value_name = "NAME", env = "PORTCULLIS_LEASE_NAMESPACE")]
    lease_namespace: Option<String>,
    /// The level of the program log: error, warn, info or debug
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", default_value = "info")]
    log_level: tracing::Level,
}

#[derive(Args)]
struct Health {
    /// The address that the operator was given as `--listen`; of one that stands for all addresses, loopback is asked
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_LISTEN", default_value = LISTEN)]
    listen: SocketAddr,
}

#[derive(Args)]
struct Manifests {
    /// Files, folders and `-` for stdin. Of a folder the files *.yaml, *.yml and *.json are read, and no folders in it. Objects of
    /// other kinds are skipped
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

#[derive(Args)]
struct Validate {
    #[command(flatten)]
    manifests: Manifests,
    /// Exit with 1 also if there are only warnings
    #[arg(long)]
    strict: bool,
}

#[derive(Args)]
struct Render {
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    settings: BuildOptions,
}

#[derive(Args)]
struct BuildOptions {
    /// The image of the pods
    #[arg(long, value_name = "IMAGE", env = "PORTCULLIS_SERVER_IMAGE", default_value = concat!("portcullis-server:", env!("CARGO_PKG_VERSION")))]
    server_image: String,
    /// When kubelet pulls the image: Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
    /// A Secret with which kubelet pulls the image, in the namespace of each McpServer; can be repeated
    #[arg(long = "image-pull-secret", value_name = "NAME")]
    image_pull_secrets: Vec<ObjectName>,
    /// The domain of the cluster: callers may address a server as NAME.NAMESPACE.svc.DOMAIN
    #[arg(long, value_name = "DOMAIN", env = "PORTCULLIS_CLUSTER_DOMAIN", default_value = CLUSTER_DOMAIN)]
    cluster_domain: ObjectName,
}

impl From<BuildOptions> for Settings {
    fn from(options: BuildOptions) -> Self {
        let BuildOptions { server_image, image_pull_policy, image_pull_secrets, cluster_domain } = options;
        let image_pull_secrets = image_pull_secrets.into_iter().map(Into::into).collect();
        Self { server_image, image_pull_policy, image_pull_secrets, cluster_domain: cluster_domain.into() }
    }
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(Output { text, warnings }) => {
            let _ = io::stderr().write_all(warnings.as_bytes());
            print(&text)
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            match error.downcast_ref::<run::Error>() {
                Some(error) if error.is_refused() => ANOTHER_RUNS.into(),
                Some(error) if error.is_lacking() => LACKING.into(),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// What the command prints.
fn execute(command: Command) -> Result<Output, Box<dyn std::error::Error>> {
    let text = match command {
        Command::Run(Run { settings, listen, lease_namespace, log_level }) => {
            let options = run::Options { settings: settings.into(), listen, namespace: lease_namespace };
            run::run(options, log_level)?;
            String::new()
        }
        Command::Health(Health { listen }) => portcullis_healthcheck::ask(listen, "/livez")? + "\n",
        Command::Rbac(options) => rbac::rbac(options)?,
        Command::Crds(crds::Options { command: Some(crds::Command::Apply), .. }) => {
            runtime()?.block_on(crds::apply(io::stdout()))?;
            String::new()
        }
        Command::Crds(crds::Options { command: None, files }) => crds::crds(files)?,
        Command::Validate(Validate { manifests, strict }) => {
            return Ok(render::validate(&Sources::new(manifests.paths), strict, Timestamp::now())?);
        }
        Command::Render(Render { manifests, settings }) => {
            return Ok(render::render(&Sources::new(manifests.paths), &settings.into())?);
        }
        Command::Local(options) => {
            runtime()?.block_on(local::run(options))?;
            String::new()
        }
        Command::Call(options) => runtime()?.block_on(call::call(options))?,
    };
    Ok(Output { text, warnings: String::new() })
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
