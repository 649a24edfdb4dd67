//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

/// Serves MCP to agents, and guards every call by the policy.
#[derive(Parser, Clone, Debug)]
#[command(name = "portcullis-server", version)]
pub struct Arguments {
    /// The directory of policy.yaml and credentials.yaml; changes in it are obeyed at once
    #[arg(long, value_name = "DIR")]
    pub config: PathBuf,
    /// Where MCP and /health are served; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Where probes, metrics and revisions are served; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// Let backends be on this machine, as they are in development
    #[arg(long)]
    pub allow_loopback_backends: bool,
    /// Stop when standard input ends, so that a parent that dies leaves nothing behind
    #[arg(long)]
    pub stop_with_stdin: bool,
    /// The UID of this pod, as /policy says it
    #[arg(long, value_name = "UID", env = "POD_UID")]
    pub pod_uid: Option<String>,
    /// The name of this instance in audit records; a random part is added
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "portcullis")]
    pub instance: String,
    /// After SIGTERM, how long calls are still accepted, so that load balancers can look away
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub drain: u64,
    /// The least severe program logs: error, warn, info or debug. Overrides the policy's logLevel
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL")]
    pub log_level: Option<tracing::Level>,
}
