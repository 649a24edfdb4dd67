//! The load: a number of connections, each with one call in flight, for a time. It has one thread, so that it takes at most one
//! core from the server that it measures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portcullis_tests::http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The result of one round of load.
pub struct Round {
    pub calls: usize,
    took: Duration,
    /// The duration of each call in microseconds, sorted.
    latencies: Vec<u32>,
}

impl Round {
    pub fn per_second(&self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64()
    }

    /// The duration in milliseconds below which this part of the calls stayed.
    pub fn quantile(&self, part: f64) -> f64 {
        let at = (self.latencies.len() as f64 * part) as usize;
        f64::from(self.latencies[at.min(self.latencies.len() - 1)]) / 1000.0
    }
}

/// Makes calls for this time. A response that is not a 200 ends the bench, because it would be cheaper than what is measured.
pub fn run(address: SocketAddr, request: &Request, connections: usize, duration: Duration) -> Round {
    let bytes = request.bytes();
    let load = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let mut callers = JoinSet::new();
            let began = Instant::now();
            for _ in 0..connections {
                callers.spawn(caller(address, bytes.clone(), began + duration));
            }
            let mut latencies: Vec<u32> = callers.join_all().await.into_iter().flatten().collect();
            let took = began.elapsed();
            latencies.sort_unstable();
            Round { calls: latencies.len(), took, latencies }
        })
    };
    std::thread::spawn(load).join().unwrap()
}

async fn caller(address: SocketAddr, request: Vec<u8>, until: Instant) -> Vec<u32> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies = Vec::with_capacity(1 << 14);
    let mut buffer = vec![0; 16 * 1024];
    let mut sent = Instant::now();
    while sent < until {
        stream.write_all(&request).await.unwrap();
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(read > 0, "the connection was closed");
            filled += read;
            if is_complete(&buffer[..filled]) {
                break;
            }
        }
        let received = Instant::now();
        latencies.push(u32::try_from((received - sent).as_micros()).unwrap_or(u32::MAX));
        sent = received;
    }
    latencies
}

fn is_complete(response: &[u8]) -> bool {
    let Some(head) = response.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    assert!(response.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(response));
    let head_text = &response[..head];
    let name = b"content-length: ";
    let at = head_text.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name)).unwrap() + name.len();
    let length: usize = head_text[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    response.len() >= head + 4 + length
}
