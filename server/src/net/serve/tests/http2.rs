//! HTTP/2: its answers, and answers that its peer does not take.

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;

use super::*;

/// How long a peer that is served may stall: many times what a busy machine takes for a round trip.
const STALL: Duration = Duration::from_secs(2);
/// Longer than this, a thread without a processor may make a peer seem to stall.
const DISTURBED: Duration = Duration::from_millis(200);

/// Makes an attempt again if it failed while this thread had no processor for a while: what the server then took for a peer that
/// stalls was the machine.
pub(super) async fn undisturbed<F: Future<Output = ()> + Send + 'static>(attempt: impl Fn() -> F) {
    let began = Instant::now();
    loop {
        let pause = Arc::new(Mutex::new(Duration::ZERO));
        let longest = pause.clone();
        let pulse = tokio::spawn(async move {
            loop {
                let slept = Instant::now();
                tokio::time::sleep(Duration::from_millis(5)).await;
                let mut longest = longest.lock();
                *longest = longest.max(slept.elapsed());
            }
        });
        let result = tokio::spawn(attempt()).await;
        pulse.abort();
        let Err(failed) = result else { return };
        if *pause.lock() < DISTURBED || began.elapsed() > PATIENCE {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

/// A server at which only a peer that stalls is too slow.
async fn server_that_waits_for_heads() -> Server {
    server(|bounds| bounds.headers_within = PATIENCE).await
}

#[tokio::test]
async fn http_2_is_served_and_may_idle_between_requests() {
    undisturbed(serve_and_idle).await;
}

async fn serve_and_idle() {
    let server = server(|_| {}).await;
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
    assert_eq!(answer.headers()["content-length"], "67108864");
    let whole = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(whole.len() == 64 << 20 && whole.iter().all(|byte| *byte == b'x'), "{} bytes", whole.len());
    let request = Request::get("http://x/peer").header("x-long", "a".repeat(20_000)).body(Full::default()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 431);
    server.stop.send(PATIENCE).unwrap();
    assert!(server.task.await.unwrap());
}

/// How many streams a new connection may have at once: what the server's settings say (RFC 9113, sections 3.4 and 6.5).
async fn streams_of(connection: &mut TcpStream) -> Option<u32> {
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    connection.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "the first frame has the settings");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    connection.read_exact(&mut settings).await.unwrap();
    let streams = settings.chunks(6).find(|setting| setting[..2] == [0, 3])?;
    Some(u32::from_be_bytes(streams[2..].try_into().unwrap()))
}

#[tokio::test]
async fn a_peer_with_many_connections_has_few_streams_on_each_further_one() {
    let server = server(|bounds| {
        (bounds.streams, bounds.streams_of_further, bounds.wide_connections) = (7, 2, 2);
        bounds.idle = PATIENCE;
    })
    .await;
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

#[tokio::test]
async fn while_connections_drain_a_peer_is_told_to_go_away_and_its_requests_are_finished() {
    let server = server(|bounds| bounds.idle = PATIENCE).await;
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

#[tokio::test]
async fn a_peer_that_reads_nothing_at_all_is_cut_off() {
    let server = server_that_waits_for_heads().await;
    let mut stream = server.connect().await;
    // Windows that are open (RFC 9113, sections 3.4, 6.5 and 6.9), and a request of `/large`.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff".to_vec();
    bytes.extend(b"\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x41\x01x\x04\x06/large");
    let began = Instant::now();
    stream.write_all(&bytes).await.unwrap();
    server.until_connections(1).await;
    server.until_connections(0).await;
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(server.given_up.count(), 1);
}

#[tokio::test]
async fn the_last_byte_of_an_answer_must_be_taken_too() {
    let server = server(|_| {}).await;
    let mut client = pinging(&server, (12 << 10) - 1).await;
    let unread = client.send_request(Request::get("http://x/small").body(Full::default()).unwrap()).await.unwrap();
    wait_until("the answer is given up", || server.given_up.count() == 1).await;
    drop(unread);
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_served() {
    undisturbed(take_slowly).await;
}

async fn take_slowly() {
    let server = server(|bounds| bounds.write_stall = STALL).await;
    let mut client = pinging(&server, 20_000).await;
    let mut body = client.send_request(large()).await.unwrap().into_body();
    let began = Instant::now();
    // The time is what is tested: it is longer than a peer may stall.
    while began.elapsed() < 2 * STALL {
        body.frame().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(server.connections.count(), 1);
}

#[tokio::test]
async fn every_answer_is_served_however_large_those_before_it_are() {
    undisturbed(take_three).await;
}

async fn take_three() {
    let server = server(|bounds| bounds.write_stall = STALL).await;
    let mut client = pinging(&server, 100_000).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.send_request(large()).await.unwrap().into_body().collect());
    }
    for answer in futures::future::join_all(answers).await {
        assert_eq!(answer.unwrap().to_bytes().len(), 64 << 20);
    }
}

#[tokio::test]
async fn an_answer_that_is_taken_below_the_least_rate_is_given_up() {
    let server = server(|bounds| (bounds.least_rate, bounds.headers_within) = (1 << 30, PATIENCE)).await;
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
    let (client, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(50))
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(server.connect().await))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn large() -> Request<Full<Bytes>> {
    Request::get("http://x/large").body(Full::default()).unwrap()
}
