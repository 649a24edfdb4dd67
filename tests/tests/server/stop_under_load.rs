//! A stop under load, with real clients on hundreds of connections: no request is done without an answer, and a caller that gets no
//! answer sees the end of its connection before any byte of one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use portcullis_tests::PATIENCE;
use portcullis_tests::server::{LOOPBACK, TestServer, call};
use portcullis_tests::until;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::audit::assert_gapless;
use crate::fixtures::*;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Answered {
        is_last: bool,
    },
    /// The connection ended in order, before any byte of an answer.
    NotDone,
}

fn request() -> Vec<u8> {
    call(AGENT, "echo", json!({"text": "x"})).bytes()
}

async fn connect(source: IpAddr, address: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    // Whoever is not refused at once would be a second later, when the system tries again.
    timeout(Duration::from_millis(500), socket.connect(address)).await.ok()?.ok()
}

/// Sends a request. Fails if the connection is reset, or ends within an answer.
async fn ask(stream: &mut TcpStream) -> End {
    // The other side may have ended; what counts is what is read.
    let _ = stream.write_all(&request()).await;
    let mut answer = Vec::new();
    loop {
        let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("an answer or an end");
        match read.expect("not reset") {
            0 => {
                assert_eq!(String::from_utf8_lossy(&answer), "", "a part of an answer");
                return End::NotDone;
            }
            _ if is_complete(&answer) => {
                let head = String::from_utf8_lossy(&answer).to_lowercase();
                assert!(head.starts_with("http/1.1 200"), "{head}");
                return End::Answered { is_last: head.contains("connection: close") };
            }
            _ => {}
        }
    }
}

fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| body.len() >= length.parse().unwrap())
}

/// Asks again and again, on a new connection after each that ended, until it cannot connect any more.
async fn busy(source: IpAddr, address: SocketAddr, answered: Arc<AtomicUsize>) {
    while let Some(mut stream) = connect(source, address).await {
        while let End::Answered { is_last } = ask(&mut stream).await {
            answered.fetch_add(1, SeqCst);
            if is_last {
                break;
            }
        }
    }
}

/// Asks once, waits, and asks again at a moment around the stop.
async fn idle(mut stream: TcpStream, pause: Duration, answered: Arc<AtomicUsize>) {
    sleep(pause).await;
    if ask(&mut stream).await != End::NotDone {
        answered.fetch_add(1, SeqCst);
    }
}

async fn stop_under_load(drain: &str) {
    let policy = parsed(&document(NOWHERE));
    let mut server = TestServer::start_with(&policy, &keys(), &[LOOPBACK, "--drain", drain]).await.unwrap();
    let (address, answered) = (server.listen, Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    let drained = Duration::from_secs(drain.parse().unwrap());
    for n in 0..600_u32 {
        let source = IpAddr::from([127, 0, 0, u8::try_from(2 + n / 200).unwrap()]);
        let mut stream = connect(source, address).await.unwrap();
        assert_eq!(ask(&mut stream).await, End::Answered { is_last: false });
        answered.fetch_add(1, SeqCst);
        if n % 2 == 0 {
            // From the signal until the last connections are closed.
            let pause = Duration::from_millis(1_000) + drained + Duration::from_millis(u64::from(n) * 2);
            callers.spawn(idle(stream, pause, answered.clone()));
        } else {
            callers.spawn(async move {
                assert_eq!(stream.read(&mut [0]).await.expect("not reset"), 0);
            });
        }
    }
    for n in 0..8 {
        callers.spawn(busy([127, 0, 0, 10 + n].into(), address, answered.clone()));
    }
    until(PATIENCE, async || match answered.load(SeqCst) {
        0..1_000 => Err("too few calls"),
        _ => Ok(()),
    })
    .await;
    sleep(Duration::from_millis(700)).await;
    server.signal(Signal::TERM).unwrap();
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    assert!(server.ended(PATIENCE).await.unwrap().success());
    let recorded = server.log.events("tool_call_success").unwrap().len();
    assert_eq!(recorded, answered.load(SeqCst), "what was done was answered");
    assert_gapless(&server.log.records().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_done_without_an_answer_nor_refused_otherwise_than_by_a_clean_end() {
    stop_under_load("2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_if_nothing_drains_before() {
    stop_under_load("0").await;
}
