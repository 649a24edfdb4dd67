//! A REST service that records every request byte for byte and responds as the test's script says. It corrects nothing, so that
//! a test sees what the server under test really sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Error;
use crate::http::message::{self, MessageStream};

/// A request as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// In the order in which they were received, with names as they were sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// How the service responds to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With this status and body.
    Json(u16, Value),
    /// With these bytes and nothing else; then it closes the connection.
    Bytes(Vec<u8>),
    /// With these bytes and nothing else; the connection stays open.
    Unfinished(Vec<u8>),
    /// As the other reply says, once the gate is open.
    Held(Gate, Box<Reply>),
    /// Never.
    Silence,
    /// Not at all: it closes the connection.
    Close,
}

/// Holds replies back until a test opens it. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

/// What happened so far.
#[derive(Default)]
struct Log {
    received: Vec<Received>,
    ends: Ends,
}

/// How requests ended, without health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The other side was there for the reply.
    pub kept: usize,
    /// The other side closed the connection before the reply was due.
    pub dropped: usize,
}

/// A service on a port of the loopback address, for as long as the value lives.
pub struct Backend {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    _task: JoinSet<()>,
}

impl Received {
    /// The value of the first header with that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        message::header(&self.headers, name)
    }

    /// The body as JSON, or as a JSON string if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&self.body).into_owned()))
    }
}

impl Reply {
    /// A complete response with this JSON text as its body; then the connection is closed, which the response announces. Without
    /// that a server may take the connection for its next request, and lose it.
    pub fn response(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::Bytes(response(status, "Connection: close\r\n", body.as_ref()))
    }

    /// This reply, once the gate is open.
    pub fn held(self, gate: &Gate) -> Self {
        Self::Held(gate.clone(), Box::new(self))
    }
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        // It fails only if the sender is gone, and this is the sender.
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

impl Backend {
    /// Starts a service that responds as `script` says.
    ///
    /// # Errors
    /// Returns an error if no port is free.
    pub async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Result<Self, Error> {
        Self::start_at("127.0.0.1:0", script).await
    }

    /// The same at this address.
    ///
    /// # Errors
    /// Returns an error if the address cannot be had.
    pub async fn start_at(
        address: &str,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await.map_err(Error::io("starting a backend"))?;
        let address = listener.local_addr().map_err(Error::io("starting a backend"))?;
        let all = Arc::<Mutex<Log>>::default();
        let script = Arc::new(script);
        let mut task = JoinSet::new();
        let log = Arc::clone(&all);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                // A connection ends with an error if the other side closes it.
                connections.spawn(async move { serve(stream, &log, &*script).await.ok() });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, log: all, _task: task })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Every request so far, without health checks (`GET /healthz`).
    pub fn received(&self) -> Vec<Received> {
        lock(&self.log).received.iter().filter(|request| is_call(request)).cloned().collect()
    }

    /// How many requests were kept until their reply was due, and how many were dropped before.
    pub fn ends(&self) -> Ends {
        lock(&self.log).ends
    }

    /// [`Backend::received`] since the last time that this was called.
    pub fn take(&self) -> Vec<Received> {
        let mut all = std::mem::take(&mut lock(&self.log).received);
        all.retain(is_call);
        all
    }
}

fn is_call(request: &Received) -> bool {
    request.target != "/healthz"
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    stream: TcpStream,
    log: &Mutex<Log>,
    script: &(dyn Fn(&Received) -> Reply + Send + Sync),
) -> Result<(), Error> {
    let mut stream = MessageStream::new(stream)?;
    loop {
        let request = receive(&mut stream).await?;
        let mut reply = script(&request);
        let counts = usize::from(is_call(&request));
        lock(log).received.push(request);
        let due = async {
            while let Reply::Held(gate, next) = reply {
                gate.passed().await;
                reply = *next;
            }
            match reply {
                Reply::Silence => std::future::pending().await,
                reply => reply,
            }
        };
        // Nobody sends its next request before it has the reply to this one.
        let reply = tokio::select! {
            biased;
            reply = due => reply,
            closed = stream.rest() => {
                lock(log).ends.dropped += counts;
                return closed.map(|_| ());
            }
        };
        lock(log).ends.kept += counts;
        match reply {
            Reply::Json(status, value) => stream.write(&response(status, "", value.to_string().as_bytes())).await?,
            Reply::Bytes(bytes) => return stream.write(&bytes).await,
            Reply::Unfinished(bytes) => {
                stream.write(&bytes).await?;
                std::future::pending().await
            }
            Reply::Close | Reply::Silence | Reply::Held(..) => return Ok(()),
        }
    }
}

async fn receive(stream: &mut MessageStream) -> Result<Received, Error> {
    let head = stream.head().await?;
    let body = stream.body(&head).await?.unwrap_or_default();
    let (method, target) = head.start.split_once(' ').unwrap_or((&head.start, ""));
    let (method, target) = (method.to_owned(), target.trim_end_matches(" HTTP/1.1").to_owned());
    Ok(Received { method, target, headers: head.headers, body })
}

fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let (start, length) = (format!("HTTP/1.1 {status} Scripted"), body.len());
    let head = format!("{start}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}
