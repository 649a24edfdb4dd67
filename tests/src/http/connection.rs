//! One connection, kept open from request to request, on which a test can also send half a request and read half a response.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::message::{Head, MessageStream};
use super::{Request, Response};
use crate::{Error, PATIENCE};

/// A client's side of a connection.
pub struct Connection(MessageStream);

impl Connection {
    /// # Errors
    /// Returns an error if the connection is refused.
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        Self::new(TcpStream::connect(address).await, address)
    }

    /// Opens a connection from another address of this machine, such as 127.0.0.2.
    ///
    /// # Errors
    /// Returns an error if the connection is refused.
    pub async fn open_from(source: IpAddr, address: SocketAddr) -> Result<Self, Error> {
        let socket = TcpSocket::new_v4().and_then(|socket| socket.bind((source, 0).into()).map(|()| socket));
        let socket = socket.map_err(Error::io(format!("binding {source}")))?;
        Self::new(socket.connect(address).await, address)
    }

    fn new(stream: std::io::Result<TcpStream>, address: SocketAddr) -> Result<Self, Error> {
        let stream = stream.map_err(Error::io(format!("connecting to {address}")))?;
        MessageStream::new(stream).map(Self)
    }

    /// Sends a request, and reads the response.
    ///
    /// # Errors
    /// Returns an error if there is no complete response within [`PATIENCE`].
    pub async fn send(&mut self, request: &Request) -> Result<Response, Error> {
        self.write(&request.bytes()).await?;
        self.response_to(&request.method).await
    }

    /// Sends bytes, which may be only a part of a request.
    ///
    /// # Errors
    /// Returns an error if the other side has closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(bytes).await
    }

    /// Closes the connection for sending, and leaves it open for reading.
    ///
    /// # Errors
    /// Returns an error if the other side has closed the connection.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.0.finish().await
    }

    /// Resets the connection, as a peer that breaks down does.
    ///
    /// # Errors
    /// Returns an error if the system refuses to.
    pub fn reset(self) -> Result<(), Error> {
        self.0.reset()
    }

    /// Reads the next response.
    ///
    /// # Errors
    /// Returns an error if there is no complete response within [`PATIENCE`].
    pub async fn response(&mut self) -> Result<Response, Error> {
        self.response_to("GET").await
    }

    async fn response_to(&mut self, method: &str) -> Result<Response, Error> {
        timeout(PATIENCE, self.read_response(method))
            .await
            .unwrap_or_else(|_| Err(Error::Timeout { what: "no response".into(), seconds: PATIENCE.as_secs_f64() }))
    }

    async fn read_response(&mut self, method: &str) -> Result<Response, Error> {
        let (status, head) = loop {
            let head = self.0.head().await?;
            match status(&head) {
                None => return Err(Error::Response(head.start)),
                // Interim responses: another one follows.
                Some(100..200) => {}
                Some(status) => break (status, head),
            }
        };
        let body = if method == "HEAD" || status == 204 || status == 304 {
            Vec::new()
        } else {
            match self.0.body(&head).await? {
                Some(body) => body,
                None => self.0.rest().await?,
            }
        };
        let headers = head.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        Ok(Response { status, headers: headers.collect(), body })
    }

    /// The status of the next response, read no further than its headers; `None` if there is no response within `patience`.
    pub async fn status(&mut self, patience: Duration) -> Option<u16> {
        status(&timeout(patience, self.0.head()).await.ok()?.ok()?)
    }

    /// Waits until the other side closes the connection, and returns what it sent before.
    ///
    /// # Errors
    /// Returns an error if the connection is still open after `patience`.
    pub async fn closed(&mut self, patience: Duration) -> Result<Vec<u8>, Error> {
        timeout(patience, self.0.rest()).await.unwrap_or_else(|_| {
            Err(Error::Timeout { what: "the connection is still open".into(), seconds: patience.as_secs_f64() })
        })
    }
}

fn status(head: &Head) -> Option<u16> {
    head.start.split(' ').nth(1).and_then(|text| text.parse().ok())
}
