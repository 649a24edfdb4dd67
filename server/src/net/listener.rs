//! Where connections come from: a socket, a TLS port, or anything else that gives byte streams.

use std::{future::Future, io, net::SocketAddr};

use socket2::{SockFilter, SockRef};
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

    /// Lets nobody connect any more, so that a moment later all connections that exist can have been accepted: closing a listener
    /// resets those that were not, with the requests that were sent on them.
    fn refuse_new(&mut self) {}
}

/// A byte stream of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Whether the system has received bytes that were not read yet, of which the runtime may not have heard.
    fn has_unread(&self) -> bool;
}

/// A connection that was accepted. It is established in a task of its own, within [`Bounds::handshake`](super::Bounds).
pub trait Accepted: Send + 'static {
    type Stream: Stream;

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

    fn refuse_new(&mut self) {
        // Without it, whoever connects at this moment may be reset; peers see a refusal a second later otherwise.
        let _ = SockRef::from(&*self).attach_filter(&DROP_SYN);
    }
}

/// Drops what opens a connection, and nothing that belongs to one: a peer that does not hear of it tries again after a second, and is
/// then refused by the system.
const DROP_SYN: [SockFilter; 4] = [
    // The flags of the TCP header; if one of them is SYN, keep no byte of the packet, otherwise all.
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x45, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

impl Stream for TcpStream {
    fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(self).is_ok_and(|bytes| bytes > 0)
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
