//! What `run` says about itself over HTTP: `/livez`, `/readyz` and `/metrics`.
//!
//! Anybody in the cluster may connect, so that nothing that is said is about one object, and nobody can keep others from an answer:
//! each connection has one request and little time, and while there are too many, that address gives way that has most of them. Nothing that
//! the operator does depends on it: while the address cannot be had, everything else goes on.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_crds::exposition::Exposition;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tracing::{debug, error, info};

use crate::{
    metrics::{Metrics, Task},
    supervise::caught,
};

/// How many connections there may be at once.
const CONNECTIONS: usize = 64;
/// How many of them there may be from one address.
const OF_ADDRESS: usize = 8;
/// How long one may last.
const CONNECTION: Duration = Duration::from_secs(5);
/// The longest head of a request, in bytes. hyper takes no less.
const HEAD: usize = 8192;
/// The pause before the address is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// The pause after an accept that failed: usually too many files are open, and trying again at once closes none of them.
const PAUSE: Duration = Duration::from_millis(50);

/// The media type of texts.
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub status: StatusCode,
    pub content: Content,
    pub text: String,
}

/// What the text of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Lines for people.
    Plain,
    /// Metrics in OpenMetrics, sent in the form that is asked for.
    Metrics,
}

impl Page {
    /// `ok`, or what is wrong, one line each.
    pub fn of_problems(problems: &[String]) -> Self {
        Self::of_problems_and_notes(problems, &[])
    }

    /// The same, followed by what people should know.
    pub fn of_problems_and_notes(problems: &[String], notes: &[String]) -> Self {
        let (status, first) = match problems {
            [] => (StatusCode::OK, "ok".to_owned()),
            problems => (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n")),
        };
        let notes: String = notes.iter().map(|note| format!("\n{note}")).collect();
        Self { status, content: Content::Plain, text: first + &notes + "\n" }
    }
}

/// Makes the pages.
pub trait Pages: Send + Sync + 'static {
    /// The page at a path; `None` if there is none.
    fn page(&self, path: &str) -> Option<Page>;
}

/// Serves for ever.
pub async fn serve(address: SocketAddr, pages: Arc<impl Pages>, metrics: Metrics) {
    let mut has_failed = false;
    let listener = loop {
        match listen(address).await {
            Ok(listener) => break listener,
            Err(error) if !has_failed => {
                has_failed = true;
                error!(%address, %error, retryIn = ?AGAIN, "no probes and metrics: cannot listen; see `--listen`");
            }
            Err(error) => debug!(%address, %error, "still cannot listen"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving /livez, /readyz and /metrics");
    }
    accept(listener, pages, metrics).await;
}

/// At `[::]` connections may come by IPv6 and by IPv4, and by IPv4 alone where the kernel has no IPv6.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let without_ipv6 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let is_any = address.ip() == Ipv6Addr::UNSPECIFIED;
    // The first one that can be had.
    TcpListener::bind(&[address, without_ipv6][..if is_any { 2 } else { 1 }]).await
}

async fn accept(listener: TcpListener, pages: Arc<impl Pages>, metrics: Metrics) {
    let mut tasks = JoinSet::new();
    let mut open = Open::default();
    loop {
        let accepted = listener.accept().await;
        while tasks.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let from = peer.ip().to_canonical();
                open.make_room(from);
                let (pages, metrics) = (Arc::clone(&pages), metrics.clone());
                let task = tasks.spawn(async move {
                    if let Err(why) = caught(connection(stream, pages)).await {
                        error!(error = why, "a request for probes or metrics failed by a mistake of the operator");
                        metrics.restarted(Task::Connection);
                    }
                });
                open.0.push_back((from, task));
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The connections that are open, from the oldest on.
#[derive(Default)]
struct Open(VecDeque<(IpAddr, AbortHandle)>);

impl Open {
    /// Makes room for one more from an address, by closing the oldest one of that address, or of the address that has most in the
    /// network that has most. A host has as many addresses of a network of IPv6 as it likes, or all pods of a cluster share one.
    fn make_room(&mut self, from: IpAddr) {
        self.0.retain(|(_, connection)| !connection.is_finished());
        let (mut of_networks, mut of_addresses) = (HashMap::<_, usize>::new(), HashMap::<_, usize>::new());
        for (address, _) in &self.0 {
            *of_networks.entry(network(*address)).or_default() += 1;
            *of_addresses.entry(*address).or_default() += 1;
        }
        let of = |address: IpAddr| (of_networks.get(&network(address)), of_addresses.get(&address));
        let closed = if of(from).1 >= Some(&OF_ADDRESS) {
            self.0.iter().position(|(address, _)| *address == from)
        } else if self.0.len() >= CONNECTIONS {
            let most = self.0.iter().map(|(address, _)| of(*address)).max();
            self.0.iter().position(|(address, _)| Some(of(*address)) == most)
        } else {
            None
        };
        if let Some((_, connection)) = closed.and_then(|oldest| self.0.remove(oldest)) {
            connection.abort();
        }
    }
}

/// The addresses of IPv6 that share their first half; one of IPv4 is alone.
fn network(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

async fn connection(stream: TcpStream, pages: Arc<impl Pages>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&request, &*pages);
        async { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.keep_alive(false).max_buf_size(HEAD).timer(TokioTimer::new()).header_read_timeout(CONNECTION);
    let served = tokio::time::timeout(CONNECTION, builder.serve_connection(TokioIo::new(stream), service)).await;
    if let Ok(Err(error)) = served {
        debug!(%error, "a connection for probes or metrics ended early");
    }
}

fn respond(request: &Request<Incoming>, pages: &impl Pages) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let page = match pages.page(request.uri().path()) {
        Some(page) if is_read => page,
        Some(_) => {
            Page { status: StatusCode::METHOD_NOT_ALLOWED, content: Content::Plain, text: "Use GET or HEAD.\n".into() }
        }
        None => {
            let text = "There are /livez, /readyz and /metrics.\n".into();
            Page { status: StatusCode::NOT_FOUND, content: Content::Plain, text }
        }
    };
    let (media_type, text) = match page.content {
        Content::Plain => (TEXT, page.text),
        Content::Metrics => {
            let accept = request.headers().get(header::ACCEPT);
            let Exposition { media_type, text } =
                Exposition::new(page.text, accept.and_then(|accept| accept.to_str().ok()));
            (media_type, text)
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = page.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if page.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    struct Fixed;

    impl Pages for Fixed {
        fn page(&self, path: &str) -> Option<Page> {
            assert_ne!(path, "/panic");
            (path == "/livez").then(|| Page::of_problems(&[]))
        }
    }

    async fn started() -> (JoinSet<()>, SocketAddr, Metrics) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, metrics) = (listener.local_addr().unwrap(), Metrics::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(Fixed), metrics.clone()));
        (tasks, address, metrics)
    }

    /// The first line of the answer, and the last; empty if there is none.
    async fn answer(address: SocketAddr, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("the connection must end");
        let line = |line: Option<&str>| line.unwrap_or_default().to_owned();
        (line(answer.lines().next()), line(answer.lines().last()))
    }

    #[tokio::test]
    async fn a_request_is_answered_and_one_that_panics_takes_nothing_with_it() {
        let (_tasks, address, metrics) = started().await;
        let text = |first: &str, last: &str| (first.to_owned(), last.to_owned());
        for (request, expected) in [
            ("GET /livez", text("HTTP/1.1 200 OK", "ok")),
            ("GET /panic", text("", "")),
            ("POST /livez", text("HTTP/1.1 405 Method Not Allowed", "Use GET or HEAD.")),
            ("GET /", text("HTTP/1.1 404 Not Found", "There are /livez, /readyz and /metrics.")),
            ("GET /livez?verbose", text("HTTP/1.1 200 OK", "ok")),
        ] {
            assert_eq!(answer(address, request).await, expected, "{request}");
        }
        assert_eq!(metrics.restarts(Task::Connection), 1);
    }

    #[tokio::test]
    async fn whoever_holds_all_connections_keeps_nobody_from_an_answer() {
        let (_tasks, address, _) = started().await;
        let mut held = Vec::new();
        for _ in 0..3 * CONNECTIONS {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(answer(address, "GET /livez").await.1, "ok");
        let first = timeout(PATIENCE, held[0].read(&mut [0])).await.expect("the oldest must be closed");
        assert!(matches!(first, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn whoever_opens_connections_without_end_closes_none_of_another_address() {
        let (_tasks, address, _) = started().await;
        let mut probe = TcpStream::connect(address).await.unwrap();
        probe.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        let mut held = Vec::new();
        for number in 0..4 * CONNECTIONS {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            // Of one address, then of many.
            let last = if number < 2 * CONNECTIONS { 2 } else { 2 + number % 32 };
            socket.bind(format!("127.0.0.{last}:0").parse().unwrap()).unwrap();
            held.push(socket.connect(address).await.unwrap());
        }
        // All of them were accepted.
        assert_eq!(answer(address, "GET /livez").await.1, "ok");
        probe.write_all(b"Host: x\r\n\r\n").await.unwrap();
        let mut text = String::new();
        timeout(PATIENCE, probe.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.ends_with("ok\n"), "{text}");
    }

    /// The addresses that are left of one connection of each, after one more of the last.
    fn left(addresses: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut open = Open::default();
        for address in addresses {
            let address = address.parse().unwrap();
            open.make_room(address);
            open.0.push_back((address, tokio::spawn(std::future::pending::<()>()).abort_handle()));
        }
        open.0.iter().map(|(address, _)| address.to_string()).collect()
    }

    #[tokio::test]
    async fn neither_a_host_with_a_network_nor_the_others_of_a_network_keep_an_address_out() {
        let probe = ["10.0.0.7", "2001:db8::7"].map(str::to_owned);
        // A host takes a new address each time.
        let host = (0..3 * CONNECTIONS).map(|number| format!("2001:db8:1::{number:x}"));
        let open = left(probe.clone().into_iter().chain(host));
        assert_eq!((open.len(), &open[..2]), (CONNECTIONS, &probe[..]));
        // Pods that share the network of the probe have an address each.
        let pods = (0..3 * CONNECTIONS).map(|number| format!("2001:db8::1:{}", number % 9));
        let open = left(probe.clone().into_iter().chain(pods));
        assert_eq!((open.len(), &open[..2]), (CONNECTIONS, &probe[..]));
        let most =
            (0..9).map(|pod| open.iter().filter(|address| **address == format!("2001:db8::1:{pod}")).count()).max();
        assert!(most <= Some(OF_ADDRESS), "{most:?}");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_waited_for() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(address, Arc::new(Fixed), Metrics::default()));
        assert!(timeout(Duration::from_millis(100), tasks.join_next()).await.is_err(), "it goes on");
        drop(taken);
        let answered = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, answered).await.unwrap();
        assert_eq!(answer(address, "GET /livez").await.1, "ok");
    }
}
