//! The cost of guarding: calls of a `static` tool through `portcullis-server` (API key, permissions, limits in memory, audit log,
//! no record dropped), compared with an axum handler and an rmcp server that guard nothing. All get the same request bytes,
//! return responses of the same size, and are measured in turn in one run with 32 connections, so that the ratios are comparable
//! between machines even if the figures are not.
//!
//! usage: cargo bench --package portcullis-tests --bench guarded
#![allow(clippy::print_stdout, reason = "the figures are its output")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run fails by a panic")]

mod load;
mod peers;

use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;

use portcullis_tests::Usage;
use portcullis_tests::http::{Request, send};
use portcullis_tests::server::{ClientKey, TestServer, call, credentials, policy};
use rustix::process::Pid;
use serde_json::json;

use load::Round;

const KEY: &str = "portcullis_bench-0123456789-0123456789-012345678";
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);

const POLICY: &str = r#"
contract: 1
server: {namespace: bench, name: bench}
spec:
  backends: [{name: fixed, static: {}}]
  tools:
    - name: echo
      description: Returns a text.
      backend: fixed
      static: {text: "you said {text}"}
      inputSchema: {type: object, required: [text], additionalProperties: false, properties: {text: {type: string, maxLength: 200}}}
  limits:
    global: {requests: 1000000, per: 1s, maxShare: 100}
    perClient: {requests: 1000000, per: 1s}
    expensiveTools: {requests: 1000000, per: 1s}
clients:
  - {id: bench, uid: uid-bench, tools: [echo], maxRecordsPerQuery: 10, limits: [{requests: 1000000, per: 1s}]}
"#;

/// A server that is measured.
struct Peer {
    name: &'static str,
    address: SocketAddr,
    pid: Pid,
    rounds: Vec<Round>,
    /// CPU time per call in microseconds, of each round.
    cpu: Vec<f64>,
    /// Resident memory before the first call, in bytes.
    idle: u64,
}

/// A peer's process, which ends with the value.
struct PeerProcess(Child);

impl Drop for PeerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["axum", length] => peers::axum(length.parse().unwrap()),
        ["rmcp", length] => peers::rmcp(length.parse().unwrap()),
        _ => tokio::runtime::Runtime::new().unwrap().block_on(compare()),
    }
}

async fn compare() {
    let key = ClientKey { client: "bench", uid: "uid-bench", key: KEY };
    let mut server = TestServer::start(&policy(POLICY).unwrap(), &credentials(&[key]).unwrap()).await.unwrap();
    server.log.discard();
    let request = call(KEY, "echo", json!({"text": "hello, this is a call of ordinary size"}))
        .with("MCP-Protocol-Version", "2025-11-25");
    let response = send(server.listen, &request).await.unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    let length = response.body.len();

    let (_axum_process, axum) = peers::start("axum", length);
    let (_rmcp_process, rmcp) = peers::start("rmcp", length);
    let guarded = Peer::new("portcullis", server.listen, server.pid());
    let mut peers = [guarded, axum, rmcp];
    for peer in &mut peers {
        let response = send(peer.address, &request).await.unwrap();
        assert_eq!((response.status, response.body.len()), (200, length), "{}: {}", peer.name, response.text());
        load::run(peer.address, &request, CONNECTIONS, Duration::from_millis(500));
    }
    for round in 0..ROUNDS {
        for turn in 0..peers.len() {
            let peer = &mut peers[(round + turn) % 3];
            peer.measure(&request);
        }
    }
    report(&peers);
    let metrics = server.admin("/metrics").await.unwrap().text();
    let dropped = metrics.lines().find(|line| line.contains("dropped") && !line.starts_with('#'));
    println!("audit records dropped: {}", dropped.unwrap_or("(no such metric)"));
    assert!(server.is_running());
}

impl Peer {
    fn new(name: &'static str, address: SocketAddr, pid: Pid) -> Self {
        Self { name, address, pid, rounds: Vec::new(), cpu: Vec::new(), idle: Usage::of(pid).unwrap().resident }
    }

    fn measure(&mut self, request: &Request) {
        let before = Usage::of(self.pid).unwrap();
        let round = load::run(self.address, request, CONNECTIONS, ROUND);
        let Usage { cpu, .. } = Usage::of(self.pid).unwrap();
        self.cpu.push((cpu - before.cpu).as_secs_f64() * 1e6 / round.calls as f64);
        self.rounds.push(round);
    }
}

fn report(peers: &[Peer]) {
    println!(
        "{:<12}{:>12}{:>10}{:>10}{:>12}{:>12}{:>12}",
        "", "calls/s", "p50 ms", "p99 ms", "CPU us/call", "RSS idle MB", "RSS MB"
    );
    for peer in peers {
        let of = |value: fn(&Round) -> f64| median(peer.rounds.iter().map(value).collect());
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "{:<12}{:>12.0}{:>10.2}{:>10.2}{:>12.1}{:>12.1}{:>12.1}",
            peer.name,
            of(Round::per_second),
            of(|round| round.quantile(0.5)),
            of(|round| round.quantile(0.99)),
            median(peer.cpu.clone()),
            megabytes(peer.idle),
            megabytes(Usage::of(peer.pid).unwrap().resident),
        );
    }
    for other in &peers[1..] {
        let pairs = peers[0].rounds.iter().zip(&other.rounds);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours.per_second() / theirs.per_second()).collect();
        let (least, most) =
            ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), &ratio| (least.min(ratio), most.max(ratio)));
        println!("{} / {}: {:.2} ({least:.2} to {most:.2})", peers[0].name, other.name, median(ratios));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
