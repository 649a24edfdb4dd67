//! HTTP/1.1 by hand: what a test sends is what it wrote, byte by byte, and an answer is taken apart without a library that
//! would put it right. No proxy, no pool, no retry.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Error;

/// No answer in a test takes longer; a test that waits for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request, to be changed before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// In the order in which they are sent. `Content-Length` is not among them: [`Request::bytes`] adds it.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// With names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// One connection, kept open from request to request.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Request {
    /// A POST with the headers that every client of MCP sends.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let request = Self { method: "POST".into(), target: target.into(), headers: Vec::new(), body: body.into() };
        request
            .with("Host", "localhost")
            .with("Content-Type", "application/json")
            .with("Accept", "application/json, text/event-stream")
    }

    pub fn get(target: &str) -> Self {
        let request = Self { method: "GET".into(), target: target.into(), headers: Vec::new(), body: Vec::new() };
        request.with("Host", "localhost")
    }

    /// With one more header, also where there is one of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Without any header of that name.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self
    }

    /// The header, however often it was there, once with this value.
    pub fn replacing(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The same up to the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = self.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if !has_length && (!self.body.is_empty() || self.method == "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl Answer {
    /// The header's value; of several, the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, or as a string where it is none: so that an assertion can show it.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::from(self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.map_err(Error::io(format!("connecting to {address}")))?;
        stream.set_nodelay(true).map_err(Error::io("setting TCP_NODELAY"))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// One request, one answer.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, Error> {
        self.send(&request.bytes()).await?;
        self.answer_to(&request.method).await
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await.map_err(Error::io("sending a request"))
    }

    /// The next answer of this connection.
    pub async fn answer(&mut self) -> Result<Answer, Error> {
        self.answer_to("GET").await
    }

    async fn answer_to(&mut self, method: &str) -> Result<Answer, Error> {
        match timeout(PATIENCE, self.read_answer(method)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { what: "no answer".into(), seconds: PATIENCE.as_secs_f64() }),
        }
    }

    async fn read_answer(&mut self, method: &str) -> Result<Answer, Error> {
        loop {
            let end = self.until(b"\r\n\r\n").await?;
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            self.buffer.drain(..end);
            let mut lines = head.split("\r\n");
            let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|text| text.parse().ok());
            let Some(status) = status else { return Err(Error::Answer(head)) };
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            if (100..200).contains(&status) {
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new() };
            if method != "HEAD" && status != 204 && status != 304 {
                answer.body = self.body(&answer).await?;
            }
            return Ok(answer);
        }
    }

    async fn body(&mut self, answer: &Answer) -> Result<Vec<u8>, Error> {
        if answer.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                let end = self.until(b"\r\n").await?;
                let line = String::from_utf8_lossy(&self.buffer[..end - 2]).into_owned();
                let length = usize::from_str_radix(&line, 16).map_err(|_| Error::Answer(line))?;
                self.buffer.drain(..end);
                self.at_least(length + 2).await?;
                body.extend(self.buffer.drain(..length));
                self.buffer.drain(..2);
                if length == 0 {
                    return Ok(body);
                }
            }
        }
        match answer.header("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| Error::Answer(length.into()))?;
                self.at_least(length).await?;
                Ok(self.buffer.drain(..length).collect())
            }
            None => {
                while self.more().await? {}
                Ok(std::mem::take(&mut self.buffer))
            }
        }
    }

    /// Where the next `mark` ends, after reading as far.
    async fn until(&mut self, mark: &[u8]) -> Result<usize, Error> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(at + mark.len());
            }
            self.must_have_more().await?;
        }
    }

    async fn at_least(&mut self, length: usize) -> Result<(), Error> {
        while self.buffer.len() < length {
            self.must_have_more().await?;
        }
        Ok(())
    }

    async fn must_have_more(&mut self) -> Result<(), Error> {
        if self.more().await? { Ok(()) } else { Err(Error::Closed) }
    }

    async fn more(&mut self) -> Result<bool, Error> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(read) => Ok(read > 0),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(Error::io("reading an answer")(error)),
        }
    }

    /// The status of the next answer, without what follows its headers; `None` where there is no answer within `patience`.
    pub async fn status(&mut self, patience: Duration) -> Option<u16> {
        let end = timeout(patience, self.until(b"\r\n\r\n")).await.ok()?.ok()?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        head.split(' ').nth(1).and_then(|text| text.parse().ok())
    }

    /// Waits until the other side closes, and gives what it still said; an error after `patience`.
    pub async fn closed(&mut self, patience: Duration) -> Result<Vec<u8>, Error> {
        let end = async {
            while self.more().await? {}
            Ok(std::mem::take(&mut self.buffer))
        };
        timeout(patience, end).await.unwrap_or_else(|_| {
            Err(Error::Timeout { what: "the connection is still open".into(), seconds: patience.as_secs_f64() })
        })
    }
}

/// Asks on a connection of its own.
pub async fn ask(address: SocketAddr, request: &Request) -> Result<Answer, Error> {
    Connection::open(address).await?.ask(request).await
}
