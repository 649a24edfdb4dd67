//! Reads the command line and runs the server.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use portcullis_server::{
    bridge,
    cli::{Bridge, Command, Health, PART_FAILED, RECORDS_LOST},
    run::{self, AuditLogEnd},
};
use rustix::thread::disable_transparent_huge_pages;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Command::parse() {
        Command::Serve(arguments) => *arguments,
        Command::Health(health) => return ask(health),
        Command::Bridge(bridge) => return connect(bridge),
    };
    // A huge page stays in memory as a whole for the sake of any byte in it, and the memory of a pod is limited. Where the system does
    // not know the setting, nothing depends on it.
    let _ = disable_transparent_huge_pages(true);
    let ended = Runtime::new().map_err(run::RunError::Runtime).and_then(|runtime| {
        let ended = runtime.block_on(run::run(arguments));
        // Not waited for: a read of the documents may hang in their file system.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(AuditLogEnd::Complete) => ExitCode::SUCCESS,
        Ok(AuditLogEnd::RecordsLost) => RECORDS_LOST.into(),
        // It was said when it failed.
        Err(run::RunError::Failed(_)) => PART_FAILED.into(),
        Err(error) => {
            eprintln!("portcullis-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the processes of a server that speaks stdio.
fn connect(arguments: Bridge) -> ExitCode {
    // One thread: it only copies bytes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let ended = runtime.block_on(bridge::run(arguments)).map_err(|error| error.to_string());
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "portcullis-server bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether the server in this container is alive.
fn ask(Health { admin }: Health) -> ExitCode {
    match portcullis_healthcheck::ask(admin, "/livez") {
        Ok(line) => {
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
