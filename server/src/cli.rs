//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::audit::Sink;

/// The exit code of a server that stopped and lost an audit record.
pub const RECORDS_LOST: u8 = 3;

/// The exit code of a server of which a part failed and could not be started again.
pub const PART_FAILED: u8 = 4;

/// Where probes are answered if nothing else is said.
const ADMIN: &str = "127.0.0.1:9090";

const EXIT_CODES: &str = "\
Exit codes:
  0  stopped, and every audit record was written
  1  could not start
  2  the command line is wrong
  3  stopped, and at least one audit record was lost, also if a part failed
  4  a part of the server failed and could not be started again";

const HEALTH: &str = "\
Exit codes:
  0  the server is alive
  1  the server does not answer, or not as it should
  2  the command line is wrong";

/// What the process does.
#[derive(Clone, Debug)]
pub enum Command {
    Serve(Box<Arguments>),
    Health(Health),
    Bridge(Bridge),
}

impl Command {
    /// Reads the command line of this process. If it is wrong, or asks for help, the process ends.
    pub fn parse() -> Self {
        Self::try_parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn try_parse_from<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        // A derived subcommand would leave the arguments of the server required beside it.
        let health = Health::augment_args(clap::Command::new("health"));
        let bridge = Bridge::augment_args(clap::Command::new("bridge"));
        let command = Arguments::command().subcommand(health).subcommand(bridge);
        let command =
            command.disable_help_subcommand(true).subcommand_negates_reqs(true).args_conflicts_with_subcommands(true);
        let matches = command.try_get_matches_from(words)?;
        match matches.subcommand() {
            Some(("bridge", matches)) => Bridge::from_arg_matches(matches).map(Self::Bridge),
            Some((_, matches)) => Health::from_arg_matches(matches).map(Self::Health),
            None => Arguments::from_arg_matches(&matches).map(|arguments| Self::Serve(Box::new(arguments))),
        }
    }
}

/// Ask the server in this container whether it is alive, and print a line about its answer: for HEALTHCHECK
///
/// Asks for /livez at the address of `--admin`, as a liveness probe of Kubernetes does. A server that waits for its documents, or
/// whose backends are down, is alive: a restart would not help it. There is an answer within 3 s. Kubernetes asks by itself and
/// needs no command.
#[derive(Args, Clone, Debug)]
#[command(after_help = HEALTH)]
pub struct Health {
    /// The address that the server was given as `--admin`; of one that stands for all addresses, loopback is asked
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_ADMIN", default_value = ADMIN)]
    pub admin: SocketAddr,
}

/// Run an MCP server that speaks stdio, and connect its processes with a Unix socket: for the container beside a server
///
/// Each connection to the socket starts a process of COMMAND. Its input and output are the connection; either one ends with the other,
/// and with it all that the process has started. What it writes to standard error is printed, up to 64 KiB in 10 s.
#[derive(Args, Clone, Debug)]
pub struct Bridge {
    /// The path of the socket
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// How many processes may run at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub max: u16,
    /// Stop when standard input ends, so that the bridge does not outlive its parent
    #[arg(long)]
    pub stop_with_stdin: bool,
    /// The command, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Serves MCP to agents, and guards every call by the policy.
#[derive(Parser, Clone, Debug)]
#[command(name = "portcullis-server", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The directory of policy.yaml and credentials.yaml; changes take effect at once
    #[arg(long, value_name = "DIR")]
    pub config: PathBuf,
    /// The directory with the values of the Secrets that the policy names: the files NAME/KEY; changes take effect at once
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// The address that serves MCP and /health; port 0 selects a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The address that serves probes, metrics and revisions; port 0 selects a free port
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_ADMIN", default_value = ADMIN)]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The address that is asked, that of the server that is started, or the kind of the error.
    fn parsed(words: &str) -> Result<(&'static str, String), clap::error::ErrorKind> {
        let words = ["portcullis-server"].into_iter().chain(words.split_whitespace());
        Command::try_parse_from(words).map_err(|error| error.kind()).map(|command| match command {
            Command::Serve(arguments) => ("serve", arguments.admin.to_string()),
            Command::Health(health) => ("health", health.admin.to_string()),
            Command::Bridge(bridge) => ("bridge", format!("{} {:?}", bridge.max, bridge.command)),
        })
    }

    #[test]
    fn health_is_a_command_of_its_own_and_the_server_has_none() {
        use clap::error::ErrorKind::{
            ArgumentConflict, DisplayHelp, InvalidSubcommand, MissingRequiredArgument, UnknownArgument, ValueValidation,
        };
        for (words, expected) in [
            ("--config /c", Ok(("serve", "127.0.0.1:9090"))),
            ("--config /c --admin [::]:9090", Ok(("serve", "[::]:9090"))),
            ("health", Ok(("health", "127.0.0.1:9090"))),
            ("health --admin [::]:9191", Ok(("health", "[::]:9191"))),
            ("health --help", Err(DisplayHelp)),
            ("", Err(MissingRequiredArgument)),
            ("health --config /c", Err(UnknownArgument)),
            ("--config /c health", Err(ArgumentConflict)),
            ("help", Err(InvalidSubcommand)),
            ("bridge --socket /s -- a --b", Ok(("bridge", r#"16 ["a", "--b"]"#))),
            ("bridge --socket /s --max 2 -- a", Ok(("bridge", r#"2 ["a"]"#))),
            ("bridge --socket /s --max 0 -- a", Err(ValueValidation)),
            ("bridge --socket /s", Err(MissingRequiredArgument)),
            ("bridge --socket /s a", Err(UnknownArgument)),
        ] {
            assert_eq!(parsed(words), expected.map(|(command, admin)| (command, admin.to_owned())), "{words}");
        }
    }
}
