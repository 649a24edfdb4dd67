//! A REST service that records what it was sent, to the byte, and answers what the test says. It puts nothing right: what
//! a guard lets through is what the test sees.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Error;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// In the order in which they came, names as they were sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What the service does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers.
    Json(u16, Value),
    /// Answers later.
    After(Duration, Box<Reply>),
    /// Answers with exactly these bytes, then closes.
    Bytes(Vec<u8>),
    /// Never answers.
    Silence,
    /// Closes the connection.
    Close,
}

/// A service on a port of the loopback, for as long as the value lives.
pub struct Backend {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    _task: JoinSet<()>,
}

impl Received {
    /// The header's value; of several, the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, or as a string where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&self.body).into_owned()))
    }
}

impl Backend {
    /// Starts one that answers by this script.
    pub async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::io("starting a backend"))?;
        let address = listener.local_addr().map_err(Error::io("starting a backend"))?;
        let received = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(script);
        let mut task = JoinSet::new();
        let log = Arc::clone(&received);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                connections.spawn(async move {
                    let _ = serve(stream, &log, &*script).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, received, _task: task })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Everything received so far. Looks that were no call (`GET /healthz`) are left out.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).iter().filter(|request| request.target != "/healthz").cloned().collect()
    }

    /// Forgets what was received, and gives it.
    pub fn take(&self) -> Vec<Received> {
        let mut all = std::mem::take(&mut *lock(&self.received));
        all.retain(|request| request.target != "/healthz");
        all
    }
}

fn lock(received: &Mutex<Vec<Received>>) -> MutexGuard<'_, Vec<Received>> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Received>>,
    script: &(dyn Fn(&Received) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        let mut reply = script(&request);
        lock(log).push(request);
        while let Reply::After(pause, next) = reply {
            tokio::time::sleep(pause).await;
            reply = *next;
        }
        match reply {
            Reply::Json(status, value) => stream.write_all(&answer(status, &value)).await?,
            Reply::Bytes(bytes) => return stream.write_all(&bytes).await,
            Reply::Silence => std::future::pending().await,
            Reply::Close | Reply::After(..) => return Ok(()),
        }
    }
    Ok(())
}

fn answer(status: u16, value: &Value) -> Vec<u8> {
    let body = value.to_string();
    let length = body.len();
    format!("HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Received>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().splitn(2, ' ');
    let method = first.next().unwrap_or_default().to_owned();
    let target = first.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Received { method, target, headers, body: Vec::new() };
    if request.header("transfer-encoding").is_some() {
        loop {
            let size = line(stream, buffer).await?;
            let size = usize::from_str_radix(&size, 16).map_err(std::io::Error::other)?;
            let chunk = exactly(stream, buffer, size + 2).await?;
            request.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
        request.body = exactly(stream, buffer, length).await?;
    }
    Ok(Some(request))
}

async fn line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<String> {
    loop {
        if let Some(at) = buffer.windows(2).position(|window| window == b"\r\n") {
            let text = String::from_utf8_lossy(&buffer[..at]).into_owned();
            buffer.drain(..at + 2);
            return Ok(text);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn exactly(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> std::io::Result<Vec<u8>> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.drain(..length).collect())
}
