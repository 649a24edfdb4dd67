//! A small REST CRM, the backend of the example and of the tests. It has the same contacts, deals and revenue after every start;
//! notes are kept in memory only. It does not authenticate callers: that is left to Portcullis.

mod api;
mod crm;
mod generate;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::crm::Crm;

/// Serves the example CRM.
#[derive(Parser)]
#[command(name = "crm-api", version)]
struct Cli {
    /// The address to listen on; with port 0 the system chooses a free port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the process that starts this one reads the address from here")]
async fn main() -> std::io::Result<()> {
    let cli = Cli::parse();
    // The kernel does not end the first process of a container on a signal that it does not handle.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // `[::]` is also every address of IPv4; a kernel without IPv6 has only those.
    let addresses = [cli.listen, (Ipv4Addr::UNSPECIFIED, cli.listen.port()).into()];
    let is_any = cli.listen.ip() == Ipv6Addr::UNSPECIFIED;
    let listener = TcpListener::bind(&addresses[..if is_any { 2 } else { 1 }]).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = api::router(Arc::new(Crm::new()));
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
