//! A server of a few fixed answers, and what its tests share.
//!
//! Its peers are pipes and its clock is virtual: time passes only while nobody has anything to do, so that no load of the machine
//! makes anybody late. What only a system's sockets show has a server on TCP, and the clock of the machine.

mod closing;
mod connections;
mod hangup;
mod http2;
mod listeners;
mod neighbours;
mod requests;
mod streams;
mod windows;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use self::listeners::Pipes;
use super::*;
use crate::{
    fingerprint::Fingerprint,
    net::{self, AtStop, BodyBounds, BodyRefusal, Budget, LiveStream, StreamBounds, read_body},
};

/// Answers `/echo` with the body, which the identity in the header `who` sends, `/small` with 12 KiB, `/large` with 4 MiB,
/// `/held` once it is released, `/peer` with the peer's address and `/refused` with a refusal whose status is 200. A caller that has the header is identified. `/messages` is a
/// call that is answered by three messages, one every 600 ms; `/quiet` and `/flood` are live streams, one without any message and
/// one that never pauses.
struct Answers {
    held: Held,
    given_up: GivenUp,
    statuses: Arc<Mutex<Vec<u16>>>,
    bodies: Budget,
    stream: StreamBounds,
    streams: Budget,
}

/// Counts the answers that were given up. Clones share it.
#[derive(Clone, Default)]
struct GivenUp(Arc<AtomicUsize>);

impl GivenUp {
    fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// What an answer holds that counts if it is given up.
struct Countable(Option<GivenUp>);

impl net::Held for Countable {
    fn written(&mut self) {
        self.0 = None;
    }
}

impl Drop for Countable {
    fn drop(&mut self) {
        self.0.iter().for_each(|given_up| _ = given_up.0.fetch_add(1, Relaxed));
    }
}

/// The calls of `/held`. Clones share them.
#[derive(Clone, Default)]
struct Held {
    started: Arc<watch::Sender<usize>>,
    is_released: Arc<watch::Sender<bool>>,
}

impl Held {
    async fn until_released(&self) {
        self.started.send_modify(|started| *started += 1);
        self.is_released.subscribe().wait_for(|is_released| *is_released).await.unwrap();
    }

    async fn until_started(&self) {
        self.started.subscribe().wait_for(|started| *started > 0).await.unwrap();
    }

    fn release(&self) {
        self.is_released.send_replace(true);
    }
}

/// Longer than anything in a test takes.
const PATIENCE: Duration = Duration::from_secs(60);
const BODY: BodyBounds = BodyBounds { max: 1_000, within: PATIENCE, held_of_identity: 1_500, held: 2_500 };
const STREAM: StreamBounds = StreamBounds {
    keep_alive: Duration::from_secs(60),
    longest_life: Duration::from_secs(60),
    open_of_identity: 2,
    open: 3,
};
const KEEP_ALIVE: &str = ":\n";

impl Answers {
    fn new(stream: StreamBounds) -> Self {
        let (held, given_up, statuses) = Default::default();
        Self { held, given_up, statuses, bodies: BODY.budget(), stream, streams: stream.budget() }
    }

    async fn body(&self, request: Request<Incoming>, connection: &ConnectionFacts) -> Result<ResponseBody, u16> {
        let who = request.headers().get("who").map_or("", |who| who.to_str().unwrap());
        let who = Fingerprint::of(&[who]);
        Ok(match request.uri().path() {
            path @ ("/small" | "/large") => {
                let mut body = ResponseBody::whole(vec![b'x'; if path == "/small" { 12 << 10 } else { 4 << 20 }]);
                body.holding(Box::new(Countable(Some(self.given_up.clone()))));
                body
            }
            "/panic" => panic!("planned by a test"),
            "/refused" => {
                let mut body = ResponseBody::whole("refused");
                body.refusal();
                body
            }
            "/peer" => ResponseBody::whole(connection.peer.ip().to_string()),
            "/held" => {
                self.held.until_released().await;
                ResponseBody::whole("released")
            }
            "/quiet" => self.stream(stream::pending().boxed(), AtStop::Ends, who)?,
            "/flood" => self.stream(stream::repeat(Bytes::from(vec![b'x'; 1 << 16])).boxed(), AtStop::Ends, who)?,
            "/messages" => {
                let messages = stream::iter(["one", "two", "three"]).then(async |message| {
                    // Longer than a peer may stall.
                    tokio::time::sleep(Duration::from_millis(600)).await;
                    Bytes::from(message)
                });
                self.stream(messages.boxed(), AtStop::Finishes, who)?
            }
            _ => {
                let mut share = self.bodies.share(who);
                let body = read_body(request.into_body(), &BODY, &mut share, || 0).await;
                ResponseBody::whole(body.map_err(|refusal| match refusal {
                    BodyRefusal::TooLarge => 413_u16,
                    BodyRefusal::TooSlow => 408,
                    BodyRefusal::Broken => 400,
                    BodyRefusal::OverShare => 429,
                    BodyRefusal::Overloaded => 503,
                })?)
            }
        })
    }

    fn stream(
        &self,
        pieces: BoxStream<'static, Bytes>,
        at_stop: AtStop,
        who: Fingerprint,
    ) -> Result<ResponseBody, u16> {
        let mut slot = self.streams.share(who);
        slot.grow(1).map_err(|_| 429_u16)?;
        Ok(ResponseBody::stream(LiveStream::new(pieces, KEEP_ALIVE.as_bytes(), at_stop, &self.stream), slot))
    }
}

impl Handler for Answers {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<ConnectionFacts>,
    ) -> Response<ResponseBody> {
        let who = request.headers().get("who").map_or("", |who| who.to_str().unwrap()).to_owned();
        let mut response = match self.body(request, &connection).await {
            Ok(body) => Response::new(body),
            Err(status) => Response::builder().status(status).body(ResponseBody::whole(Bytes::new())).unwrap(),
        };
        if !who.is_empty() {
            response.body_mut().for_identified(Fingerprint::of(&[&who]));
        }
        response.body_mut().counted();
        response
    }

    fn is_cancelled_by_closing(&self, headers: &HeaderMap) -> bool {
        headers.contains_key("closing")
    }

    fn overloaded(&self) -> Response<ResponseBody> {
        Response::builder().status(503).body(ResponseBody::whole("overloaded")).unwrap()
    }

    fn count(&self, status: StatusCode) {
        self.statuses.lock().push(status.as_u16());
    }
}

struct Server<P = mpsc::Sender<DuplexStream>> {
    /// How peers reach it.
    peers: P,
    held: Held,
    given_up: GivenUp,
    /// What was counted.
    statuses: Arc<Mutex<Vec<u16>>>,
    bodies: Budget,
    streams: Budget,
    connections: Connections,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<bool>,
}

fn bounds() -> Bounds {
    Bounds { headers_within: PATIENCE, idle: PATIENCE, write_stall: Duration::from_millis(400), ..Bounds::default() }
}

fn server(adjust: impl FnOnce(&mut Bounds)) -> Server {
    let mut bounds = bounds();
    adjust(&mut bounds);
    server_with(bounds, STREAM)
}

fn server_with(bounds: Bounds, stream: StreamBounds) -> Server {
    let (peers, accepted) = mpsc::channel(256);
    start(Pipes(accepted), peers, bounds, stream)
}

async fn tcp_server() -> Server<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    start(listener, address, bounds(), STREAM)
}

fn start<L: Listener + 'static, P>(listener: L, peers: P, bounds: Bounds, stream: StreamBounds) -> Server<P> {
    let connections = Connections::default();
    let (stop, stopped) = oneshot::channel();
    let answers = Answers::new(stream);
    let (held, given_up) = (answers.held.clone(), answers.given_up.clone());
    let (statuses, bodies, streams) = (answers.statuses.clone(), answers.bodies.clone(), answers.streams.clone());
    let task = tokio::spawn(serve(listener, Arc::new(answers), bounds, connections.clone(), async {
        stopped.await.unwrap_or(PATIENCE)
    }));
    Server { peers, held, given_up, statuses, bodies, streams, connections, stop, task }
}

impl Server {
    async fn connect(&self) -> DuplexStream {
        let (mut ours, theirs) = duplex(64 << 10);
        ours.write_all(&[1]).await.unwrap();
        self.peers.send(theirs).await.unwrap();
        ours
    }

    /// Sends a GET on a connection of its own.
    async fn get(&self, path: &str) -> DuplexStream {
        let mut stream = self.connect().await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    /// Sends these bytes on a connection of their own, and reads until the server closes it.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_close(&mut stream).await
    }
}

impl<P> Server<P> {
    async fn until_connections(&self, expected: usize) {
        wait_until("the number of connections", || self.connections.count() == expected).await;
    }
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Whether so many milliseconds have passed.
fn between(least: u64, most: u64, began: Instant) -> bool {
    (Duration::from_millis(least)..=Duration::from_millis(most)).contains(&began.elapsed())
}

async fn read_to_close(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A reset closes a connection as well as an end does.
    let _ = closed.expect("the server must close the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until the text appears, and leaves the connection open.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &str) {
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(text) {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
}

/// Sends a text to `/echo`, and reads it back.
async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) {
    echo_as("", stream, text).await;
}

/// The same, with an identity if it is not empty.
async fn echo_as(who: &str, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) {
    let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\nwho: {who}\r\ncontent-length: {}", text.len());
    let request = format!("{head}\r\n\r\n{text}");
    stream.write_all(request.as_bytes()).await.unwrap();
    read_until(stream, &format!("\r\n\r\n{text}")).await;
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}
