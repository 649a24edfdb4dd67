//! Where connections come from: a socket, a TLS port, or anything else that gives byte streams.

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use super::ConnectionFacts;

/// Accepts connections.
pub trait Listener: Send {
    type Accepted: Accepted;

    /// The next connection, not yet established. Nothing that a peer does may delay the next one.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Accepted>> + Send;
}

/// A connection that was accepted. It is established in a task of its own, within [`Bounds::handshake`](super::Bounds).
pub trait Accepted: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The address that the connection counts for.
    fn peer(&self) -> SocketAddr;

    /// Completes the connection: whatever both sides have to exchange before the first request.
    fn establish(self) -> impl Future<Output = io::Result<(Self::Stream, ConnectionFacts)>> + Send;
}

impl Listener for TcpListener {
    type Accepted = AcceptedTcp;

    async fn accept(&mut self) -> io::Result<AcceptedTcp> {
        let (stream, peer) = Self::accept(self).await?;
        Ok(AcceptedTcp { stream, peer })
    }
}

/// A TCP connection.
pub struct AcceptedTcp {
    stream: TcpStream,
    peer: SocketAddr,
}

impl Accepted for AcceptedTcp {
    type Stream = TcpStream;

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    async fn establish(self) -> io::Result<(TcpStream, ConnectionFacts)> {
        // Otherwise each answer that is written in two pieces waits for the peer's delayed acknowledgement.
        self.stream.set_nodelay(true)?;
        Ok((self.stream, ConnectionFacts { peer: self.peer }))
    }
}
