//! A TCP stream read as HTTP/1.1 messages, the one reader of both [`Connection`](super::Connection) and
//! [`Backend`](crate::backend::Backend).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Error;

/// The stream and what was read of it and not yet used.
pub(crate) struct MessageStream {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What comes before a body.
pub(crate) struct Head {
    /// The request line or the status line.
    pub start: String,
    /// In the order in which they were received, with names as they were sent.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of the first header with that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// The value of the first header with that name.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

impl MessageStream {
    pub fn new(stream: TcpStream) -> Result<Self, Error> {
        stream.set_nodelay(true).map_err(Error::io("setting TCP_NODELAY"))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await.map_err(Error::io("sending"))
    }

    /// Sends no more, and still reads.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.stream.shutdown().await.map_err(Error::io("closing for sending"))
    }

    /// Resets the connection.
    pub fn reset(self) -> Result<(), Error> {
        self.stream.set_zero_linger().map_err(Error::io("setting SO_LINGER"))
    }

    /// Reads to the empty line. Nothing is lost if the future is dropped before.
    pub async fn head(&mut self) -> Result<Head, Error> {
        let text = String::from_utf8_lossy(&self.line(b"\r\n\r\n").await?).into_owned();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines.map(|line| line.split_once(':').unwrap_or((line, "")));
        Ok(Head { start, headers: headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect() })
    }

    /// Reads the body that this head declares; `None` if it declares none.
    pub async fn body(&mut self, head: &Head) -> Result<Option<Vec<u8>>, Error> {
        if head.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunks().await.map(Some);
        }
        match head.header("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| Error::Response(length.into()))?;
                self.exactly(length).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8_lossy(&self.line(b"\r\n").await?).into_owned();
            let length = usize::from_str_radix(&line, 16).map_err(|_| Error::Response(line))?;
            let chunk = self.exactly(length + 2).await?;
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return Ok(body);
            }
        }
    }

    /// What comes before `end`, which is consumed with it.
    async fn line(&mut self, end: &[u8]) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let line = self.buffer.drain(..at + end.len()).take(at).collect();
                return Ok(line);
            }
            self.read_some().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        while self.buffer.len() < length {
            self.read_some().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn read_some(&mut self) -> Result<(), Error> {
        if self.read_more().await? { Ok(()) } else { Err(Error::Closed) }
    }

    /// Whether there was something to read before the other side closed the connection. A reset closes it as well.
    async fn read_more(&mut self) -> Result<bool, Error> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(read) => Ok(read > 0),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(Error::io("reading")(error)),
        }
    }

    /// Reads until the other side closes the connection.
    pub async fn rest(&mut self) -> Result<Vec<u8>, Error> {
        while self.read_more().await? {}
        Ok(std::mem::take(&mut self.buffer))
    }
}
