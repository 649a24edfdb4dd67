//! What guarding costs: calls of a `static` tool through `portcullis-server` (API key, permissions, limits in memory, audit on,
//! none dropped) beside a bare axum handler and a bare rmcp server that guard nothing. Same request bytes, same answer
//! size, 32 connections, in turn within one run, so that the ratios hold on a machine whose figures don't.
//!
//! usage: cargo bench --package portcullis-tests --bench guarded
#![allow(clippy::print_stdout, reason = "its output is the figures")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run says why by failing")]

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
      description: Says a text.
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

/// Who is measured.
struct Peer {
    name: &'static str,
    address: SocketAddr,
    pid: Pid,
    rounds: Vec<Round>,
    /// CPU per call, in microseconds, of each round.
    cpu: Vec<f64>,
    /// Resident memory before the first call, in bytes.
    idle: u64,
}

/// Ends a peer with the bench.
struct Ended(Child);

impl Drop for Ended {
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
    let request = call(KEY, "echo", json!({"text": "hello, this is a call of an ordinary size"}))
        .with("MCP-Protocol-Version", "2025-11-25");
    let answer = send(server.listen, &request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let length = answer.body.len();

    let (_axum, axum) = peers::start("axum", length);
    let (_rmcp, rmcp) = peers::start("rmcp", length);
    let guarded = Peer::new("portcullis", server.listen, server.pid());
    let mut peers = [guarded, axum, rmcp];
    for peer in &mut peers {
        let answer = send(peer.address, &request).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, length), "{}: {}", peer.name, answer.text());
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
