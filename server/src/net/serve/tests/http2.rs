//! HTTP/2: its answers, and answers that its peer does not take.

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::TokioTimer;

use super::*;

#[tokio::test(start_paused = true)]
async fn http_2_is_served_and_may_idle_between_requests() {
    let server = server(|_| {});
    let stream = TokioIo::new(server.connect().await);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    // The pause is what is tested: it is longer than a head may take.
    for pause in [0, 600] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let request = Request::post("http://x/echo").body(Full::new(Bytes::from("two"))).unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "two");
    }
    let answer = client.send_request(large()).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "4194304");
    let whole = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(whole.len() == 4 << 20 && whole.iter().all(|byte| *byte == b'x'), "{} bytes", whole.len());
    let request = Request::get("http://x/peer").header("x-long", "a".repeat(20_000)).body(Full::default()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 431);
    server.stop.send(PATIENCE).unwrap();
    assert!(server.task.await.unwrap());
}

/// How many streams a new connection may have at once: what the server's settings say (RFC 9113, sections 3.4 and 6.5).
async fn streams_of(connection: &mut DuplexStream) -> Option<u32> {
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    connection.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "the first frame has the settings");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    connection.read_exact(&mut settings).await.unwrap();
    let streams = settings.chunks(6).find(|setting| setting[..2] == [0, 3])?;
    Some(u32::from_be_bytes(streams[2..].try_into().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_peer_with_many_connections_has_few_streams_on_each_further_one() {
    let server = server(|bounds| {
        (bounds.streams, bounds.streams_of_further, bounds.wide_connections) = (7, 2, 2);
    });
    let (mut open, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut connection = server.connect().await;
        streams.push(streams_of(&mut connection).await);
        open.push(connection);
    }
    assert_eq!(streams, [Some(7), Some(7), Some(2), Some(2)]);
    open.drain(1..);
    server.until_connections(1).await;
    assert_eq!(streams_of(&mut server.connect().await).await, Some(7), "those that were closed do not count");
}

#[tokio::test(start_paused = true)]
async fn while_connections_drain_a_peer_is_told_to_go_away_and_its_requests_are_finished() {
    let server = server(|_| {});
    let stream = TokioIo::new(server.connect().await);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://x/held").body(Full::<Bytes>::default()).unwrap();
    let held = tokio::spawn(client.send_request(request));
    server.held.until_started().await;
    server.connections.drain();
    server.held.release();
    let answer = held.await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "released");
    connection.await.unwrap().unwrap();
    server.until_connections(0).await;
    // A connection that is opened meanwhile serves what it was opened for.
    let stream = TokioIo::new(server.connect().await);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = client.send_request(Request::get("http://x/peer").body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), "127.0.0.1");
    connection.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_at_all_is_cut_off() {
    let server = server(|_| {});
    let mut stream = server.connect().await;
    // Windows that are open (RFC 9113, sections 3.4, 6.5 and 6.9), and a request of `/large`.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff".to_vec();
    bytes.extend(b"\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x41\x01x\x04\x06/large");
    let began = Instant::now();
    stream.write_all(&bytes).await.unwrap();
    server.until_connections(1).await;
    server.until_connections(0).await;
    assert!(between(400, 500, began), "{:?}", began.elapsed());
    wait_until("the answer is given up", || server.given_up.count() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_byte_of_an_answer_must_be_taken_too() {
    let server = server(|_| {});
    let mut client = pinging(&server, (12 << 10) - 1).await;
    let unread = client.send_request(Request::get("http://x/small").body(Full::default()).unwrap()).await.unwrap();
    wait_until("the answer is given up", || server.given_up.count() == 1).await;
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_taken_slowly_is_served() {
    let server = server(|_| {});
    let mut client = pinging(&server, 20_000).await;
    let mut body = client.send_request(large()).await.unwrap().into_body();
    let began = Instant::now();
    // The time is what is tested: it is longer than a peer may stall.
    while began.elapsed() < Duration::from_secs(2) {
        body.frame().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(server.connections.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_served_however_large_those_before_it_are() {
    let server = server(|_| {});
    let mut client = pinging_on(slow(server.connect().await), 100_000).await;
    let began = Instant::now();
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.send_request(large()).await.unwrap().into_body().collect());
    }
    for answer in futures::future::join_all(answers).await {
        assert_eq!(answer.unwrap().to_bytes().len(), 4 << 20);
    }
    assert!(began.elapsed() > Duration::from_secs(1), "longer than a peer may stall: {:?}", began.elapsed());
}

/// A connection on which an answer takes time: 64 KiB at most arrive in 10 ms.
fn slow(stream: DuplexStream) -> DuplexStream {
    let (ours, theirs) = duplex(64 << 10);
    let ((mut from_server, mut to_server), (mut from_client, mut to_client)) =
        (tokio::io::split(stream), tokio::io::split(theirs));
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    tokio::spawn(async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut piece).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
            to_client.write_all(&piece[..read]).await.unwrap();
        }
    });
    ours
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_taken_below_the_least_rate_is_given_up() {
    let server = server(|bounds| bounds.least_rate = 1 << 30);
    let mut client = pinging(&server, 20_000).await;
    let mut body = client.send_request(large()).await.unwrap().into_body();
    // Each piece is progress, so that only the rate can end it.
    while let Some(Ok(_)) = body.frame().await {
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!((server.given_up.count(), server.connections.count()), (1, 1));
}

/// A client of HTTP/2 that pings all the time, with this window for each stream.
pub(super) async fn pinging(server: &Server, window: u32) -> http2::SendRequest<Full<Bytes>> {
    pinging_on(server.connect().await, window).await
}

async fn pinging_on(stream: DuplexStream, window: u32) -> http2::SendRequest<Full<Bytes>> {
    let (client, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(50))
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn large() -> Request<Full<Bytes>> {
    Request::get("http://x/large").body(Full::default()).unwrap()
}
