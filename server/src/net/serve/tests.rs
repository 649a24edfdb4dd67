use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::TokioTimer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;
use crate::{
    fingerprint::Fingerprint,
    net::{BodyBounds, BodyBudget, BodyRefusal, read_body},
};

/// Answers `/echo` with its body, which the header `who` sends, `/large` with 64 MiB, `/slow` after 300 ms, `/peer` with the peer's address.
#[derive(Default)]
struct Answers(BodyBudget);

const BODY: BodyBounds =
    BodyBounds { max: 1_000, within: Duration::from_secs(6), least_rate: 100, held_of_identity: 1_500, held: 2_500 };

impl Handler for Answers {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, request: Request<Incoming>, facts: &ConnectionFacts) -> Response<Full<Bytes>> {
        let body = match request.uri().path() {
            "/large" => Bytes::from(vec![b'x'; 64 << 20]),
            "/peer" => facts.peer.ip().to_string().into(),
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                "slow".into()
            }
            _ => {
                let who = request.headers().get("who").map_or("", |who| who.to_str().unwrap()).to_owned();
                let mut share = self.0.share(Fingerprint::of(&[&who]));
                match read_body(request.into_body(), &BODY, &mut share).await {
                    Ok(body) => body,
                    Err(refusal) => {
                        let status = match refusal {
                            BodyRefusal::TooLarge => 413,
                            BodyRefusal::TooSlow => 408,
                            BodyRefusal::Broken => 400,
                            BodyRefusal::OverShare => 429,
                            BodyRefusal::Overloaded => 503,
                        };
                        return Response::builder().status(status).body(Full::default()).unwrap();
                    }
                }
            }
        };
        Response::new(Full::new(body))
    }
}

struct Server {
    address: SocketAddr,
    connections: Connections,
    stop: oneshot::Sender<()>,
    task: JoinHandle<bool>,
}

async fn server(adjust: impl FnOnce(&mut Bounds)) -> Server {
    let mut bounds = Bounds {
        headers_within: Duration::from_millis(400),
        idle: Duration::from_millis(900),
        write_stall: Duration::from_millis(400),
        ..Bounds::default()
    };
    adjust(&mut bounds);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Connections::default();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve(listener, Arc::new(Answers::default()), bounds, connections.clone(), async {
        let _ = stopped.await;
    }));
    Server { address, connections, stop, task }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes on a connection of their own, and reads until the server closes it.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_close(&mut stream).await
    }

    async fn settles_at(&self, connections: usize) {
        let patience = Instant::now() + Duration::from_secs(5);
        while self.connections.count() != connections {
            assert!(Instant::now() < patience, "{} connections", self.connections.count());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    // A reset closes as well as an end does.
    let _ = closed.expect("the server must close the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one answer of `/echo` and leaves the connection open.
async fn echo(stream: &mut TcpStream, text: &str) {
    let request = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(text.as_bytes()) {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let server = server(|_| {}).await;
    let mut stream = server.connect().await;
    for n in 0..50 {
        echo(&mut stream, &format!("text {n}")).await;
    }
    assert_eq!(server.connections.count(), 1);
    drop(stream);
    server.settles_at(0).await;
}

#[tokio::test]
async fn a_head_a_byte_at_a_time_is_cut_off_while_others_are_served() {
    let server = server(|_| {}).await;
    let (mut slow, mut other) = (server.connect().await, server.connect().await);
    let began = Instant::now();
    let head = b"POST /echo HTTP/1.1\r\nhost: x\r\nx-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for byte in head {
        if slow.write_all(&[*byte]).await.is_err() || began.elapsed() > Duration::from_secs(3) {
            break;
        }
        echo(&mut other, "meanwhile").await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert_eq!(read_to_close(&mut slow).await, "");
    let lasted = began.elapsed();
    assert!(lasted > Duration::from_millis(350) && lasted < Duration::from_secs(2), "{lasted:?}");
    echo(&mut other, "still there").await;
}

#[tokio::test]
async fn a_head_is_bounded_on_a_used_connection_too() {
    let server = server(|bounds| bounds.idle = Duration::from_secs(60)).await;
    let mut stream = server.connect().await;
    echo(&mut stream, "first").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    echo(&mut stream, "second, for idling is no head").await;
    stream.write_all(b"POST /ec").await.unwrap();
    let began = Instant::now();
    read_to_close(&mut stream).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = server(|bounds| bounds.idle = Duration::from_millis(150)).await;
    let mut idle = server.connect().await;
    let began = Instant::now();
    let slow = server.exchange(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (closed, answer) = tokio::join!(read_to_close(&mut idle), slow);
    assert_eq!((closed.as_str(), status(&answer)), ("", "200"));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_body_a_byte_at_a_time_gets_a_408() {
    let server = server(|_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n").await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        while writer.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let began = Instant::now();
    let mut answer = [0; 12];
    reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(status(std::str::from_utf8(&answer).unwrap()), "408");
    // 20 bytes a second are below the least rate of 100: a second of grace, and a fifth of one for what came.
    assert!(began.elapsed() > Duration::from_millis(950) && began.elapsed() < Duration::from_secs(5));
    writing.abort();
}

#[tokio::test]
async fn a_body_too_large_gets_a_413_declared_or_not() {
    let server = server(|_| {}).await;
    let declared = server.exchange(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n").await;
    assert_eq!(status(&declared), "413");
    let chunk = format!("190\r\n{}\r\n", "a".repeat(400));
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = server.exchange(format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(status(&chunked), "413");
    let fits = server.exchange(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(fits.ends_with(&"a".repeat(800)), "{fits}");
}

#[tokio::test]
async fn bodies_that_stall_hold_so_much_of_one_identity_and_of_all() {
    let server = server(|_| {}).await;
    let head = |who: &str| format!("POST /echo HTTP/1.1\r\nhost: x\r\nwho: {who}\r\ncontent-length: 1000\r\n\r\n");
    let stalled = async |who: &str| {
        let mut stream = server.connect().await;
        for part in [&head(who), "a", &"b".repeat(400)] {
            stream.write_all(part.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stream
    };
    let answer = async |mut stream: TcpStream| {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        status(std::str::from_utf8(&answer).unwrap()).to_owned()
    };
    let mut held = vec![stalled("a").await, stalled("b").await];
    assert_eq!(answer(stalled("a").await).await, "429");
    assert_eq!(answer(stalled("c").await).await, "503");
    echo(&mut server.connect().await, "what is there at once holds nothing").await;
    // What is held is given back with the body, whole or not.
    held[0].write_all("c".repeat(599).as_bytes()).await.unwrap();
    assert_eq!(answer(held.remove(0)).await, "200");
    drop(held);
    server.settles_at(0).await;
    let held = [stalled("a").await, stalled("b").await];
    assert_eq!(server.connections.count(), held.len());
}

#[tokio::test]
async fn what_is_no_good_head_gets_a_400_or_a_431() {
    let server = server(|_| {}).await;
    let long = "a".repeat(20_000);
    for (head, expected) in [
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-a: b\r\n".repeat(200)), "431"),
        ("GET / HTTP/1.1\r\nx y: z\r\n\r\n".to_owned(), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = server.exchange(head.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{}", &head[..20.min(head.len())]);
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let server = server(|_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.settles_at(1).await;
    let began = Instant::now();
    server.settles_at(0).await;
    assert!(began.elapsed() > Duration::from_millis(350), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_peer_that_opens_no_window_is_cut_off() {
    let server = server(|_| {}).await;
    let stream = TokioIo::new(server.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://x/large").body(Full::<Bytes>::default()).unwrap();
    let unread = client.send_request(request).await.unwrap();
    let began = Instant::now();
    server.settles_at(0).await;
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    drop(unread);
}

/// A client of HTTP/2 that pings all the time, with this window for each stream.
async fn pinging(server: &Server, window: u32) -> http2::SendRequest<Full<Bytes>> {
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

#[tokio::test]
async fn neither_pings_nor_other_streams_hide_an_answer_that_nobody_takes() {
    let server = server(|_| {}).await;
    for with_others in [false, true] {
        let mut client = pinging(&server, 1_000).await;
        let unread = client.send_request(large()).await.unwrap();
        let mut others = client.clone();
        let busy = tokio::spawn(async move {
            if !with_others {
                return;
            }
            loop {
                let request = Request::post("http://x/echo").body(Full::new(Bytes::from("meanwhile"))).unwrap();
                let Ok(answer) = others.send_request(request).await else { break };
                let _ = answer.into_body().collect().await;
            }
        });
        let began = Instant::now();
        server.settles_at(0).await;
        assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
        busy.await.unwrap();
        drop(unread);
    }
}

#[tokio::test]
async fn the_last_byte_of_an_answer_may_not_be_left_unread_either() {
    let server = server(|bounds| bounds.idle = Duration::from_secs(60)).await;
    let mut client = pinging(&server, 4).await;
    let request = Request::post("http://x/echo").body(Full::new(Bytes::from("small"))).unwrap();
    let unread = client.send_request(request).await.unwrap();
    server.settles_at(0).await;
    drop(unread);
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_served() {
    let server = server(|_| {}).await;
    let mut client = pinging(&server, 20_000).await;
    let mut body = client.send_request(large()).await.unwrap().into_body();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        body.frame().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(server.connections.count(), 1);
}

#[tokio::test]
async fn a_connection_holds_so_many_bytes_that_its_peer_has_not_taken() {
    let server = server(|bounds| (bounds.unread, bounds.write_stall) = (1_000, Duration::from_secs(60))).await;
    let mut client = pinging(&server, 1_000).await;
    let unread = client.send_request(large()).await.unwrap();
    assert!(client.send_request(large()).await.is_err(), "the stream must be reset");
    drop(unread);
    let patience = Instant::now() + Duration::from_secs(5);
    while client.send_request(large()).await.is_err() {
        assert!(Instant::now() < patience, "what is given up must not count any more");
    }
}

#[tokio::test]
async fn connections_are_bounded_of_one_peer_and_of_all() {
    for adjust in [|bounds: &mut Bounds| bounds.connections = 3, |bounds: &mut Bounds| bounds.connections_per_peer = 3]
    {
        let server = server(adjust).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = server.connect().await;
            echo(&mut stream, "in").await;
            held.push(stream);
        }
        assert_eq!(read_to_close(&mut server.connect().await).await, "");
        held.pop();
        server.settles_at(2).await;
        echo(&mut server.connect().await, "in again").await;
        for stream in &mut held {
            echo(stream, "still in").await;
        }
    }
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_accepts_no_more() {
    let server = server(|_| {}).await;
    let (mut busy, mut idle) = (server.connect().await, server.connect().await);
    echo(&mut idle, "before").await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    let (finished, ended) = tokio::join!(read_to_close(&mut busy), read_to_close(&mut idle));
    assert!(finished.ends_with("slow"), "{finished}");
    assert_eq!(ended, "");
    assert!(server.task.await.unwrap(), "all must be finished");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = server(|bounds| bounds.drain = Duration::from_millis(50)).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.settles_at(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.send(()).unwrap();
    assert!(!server.task.await.unwrap());
    assert_eq!(read_to_close(&mut busy).await, "");
}

#[tokio::test]
async fn http_2_is_served_and_idles_without_being_cut_for_its_frames() {
    let server = server(|_| {}).await;
    let stream = TokioIo::new(server.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
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
    server.stop.send(()).unwrap();
    assert!(server.task.await.unwrap());
}
