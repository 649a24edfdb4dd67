//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use crate::audit::Sink;

/// The exit code of a server that stopped and lost an audit record.
pub const RECORDS_LOST: u8 = 3;

/// The exit code of a server of which a part failed and could not be started again.
pub const PART_FAILED: u8 = 4;

const EXIT_CODES: &str = "\
Exit codes:
  0  stopped, and every audit record was written
  1  could not start
  2  the command line is wrong
  3  stopped, and at least one audit record was lost, also if a part failed
  4  a part of the server failed and could not be started again";

/// Serves MCP to agents, and guards every call by the policy.
#[derive(Parser, Clone, Debug)]
#[command(name = "portcullis-server", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The directory of policy.yaml and credentials.yaml; changes take effect at once
    #[arg(long, value_name = "DIR")]
    pub config: PathBuf,
    /// The address that serves MCP and /health; port 0 selects a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The address that serves probes, metrics and revisions; port 0 selects a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// Allow backends on loopback addresses, for development
    #[arg(long)]
    pub allow_loopback_backends: bool,
    /// Stop when standard input ends, so that the server does not outlive its parent
    #[arg(long)]
    pub stop_with_stdin: bool,
    /// The UID of this pod, reported by /policy
    #[arg(long, value_name = "UID", env = "POD_UID")]
    pub pod_uid: Option<String>,
    /// The name of this instance in audit records; a random part is added
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "portcullis")]
    pub instance: String,
    /// How long new calls are still served after SIGTERM, until load balancers have removed the server. A second signal ends it
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub drain: u64,
    /// Where the audit log and the program log are written: stdout, stderr, or a file that is appended to
    #[arg(long, value_name = "stdout|stderr|PATH", default_value = "stdout")]
    pub audit_log: Sink,
    /// The level of program logs: error, warn, info or debug. Overrides the policy's logLevel
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL")]
    pub log_level: Option<tracing::Level>,
}
