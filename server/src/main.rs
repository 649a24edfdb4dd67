//! Reads the command line and runs the server.

use std::process::ExitCode;

use clap::Parser;
use portcullis_server::{cli::Arguments, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run::run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portcullis-server: {error}");
            ExitCode::FAILURE
        }
    }
}
