//! A small REST CRM, so that the example and the tests have a backend with data worth guarding. It promises the same
//! contacts, deals and revenue at every start; notes are kept in memory only. It guards nothing: that is Portcullis' part.

mod api;
mod crm;
mod generate;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::crm::Crm;

/// Serves the example CRM.
#[derive(Parser)]
#[command(name = "crm-api", version)]
struct Cli {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "whoever starts this reads the address from here")]
async fn main() -> std::io::Result<()> {
    let cli = Cli::parse();
    // Handlers of our own: the first process of a container is not ended by a signal that it does not handle.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(cli.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = api::router(Arc::new(Crm::new()));
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
