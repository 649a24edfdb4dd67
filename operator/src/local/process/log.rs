//! The log of a server's process. The process writes it itself; here it is only read.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use serde::Deserialize;
use tokio::time::sleep;

use crate::mapping::Mapping;

/// How often the log of a starting process is polled for its addresses.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// The record in which a server logs its addresses.
#[derive(Deserialize)]
struct Started {
    event: String,
    listen: SocketAddr,
    admin: SocketAddr,
}

/// Waits until the process has logged where it listens: for MCP, and for its admin port.
pub(super) async fn addresses(log: &Path, from: u64) -> (SocketAddr, SocketAddr) {
    loop {
        let text = tail(log, from).unwrap_or_default();
        let started = text.lines().find_map(|line| {
            let started = serde_json::from_str::<Mapping<Started>>(line).ok()?.0;
            (started.event == "server_started").then_some((started.listen, started.admin))
        });
        match started {
            Some(addresses) => return addresses,
            None => sleep(POLL).await,
        }
    }
}

/// The last line of the log, which may explain why the process ended.
pub(super) fn last_line(log: &Path, from: u64) -> Option<String> {
    let text = tail(log, from).ok()?;
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    Some(line.chars().take(400).collect())
}

fn tail(log: &Path, from: u64) -> io::Result<String> {
    let mut file = fs::File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
