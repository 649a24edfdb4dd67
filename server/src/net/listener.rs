//! Where connections come from: a socket, a TLS port, or anything else that gives byte streams.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    num::NonZeroU32,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use super::{
    ConnectionFacts,
    hangup::{self, Hangup},
};

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

    /// Waits until the peer closes something, without reading. If there are bytes meanwhile, `hides` is set: from then on only
    /// [`Stream::read_now`] reads them.
    fn poll_hangup(&mut self, cx: &mut Context<'_>, hides: &mut bool) -> Poll<Hangup>;

    /// Reads what the system has received.
    ///
    /// # Errors
    /// Returns [`WouldBlock`](io::ErrorKind::WouldBlock) if that is nothing, or the error of the connection.
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
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
        // Without it, whoever connects at this moment may be reset.
        let _ = SockRef::from(&*self).bind_device_by_index_v4(Some(NOWHERE));
    }
}

/// An interface that does not exist. A listener that is bound to it is found by no packet that opens a connection, so that the system
/// refuses these; those that are connected, or are about to be, do not depend on their listener's interface. A socket filter would do
/// the same, but recent kernels give none to a process without `CAP_NET_ADMIN`, such as one in a pod.
const NOWHERE: NonZeroU32 = NonZeroU32::new(i32::MAX as u32).expect("it must not be zero");

impl Stream for TcpStream {
    fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(self).is_ok_and(|bytes| bytes > 0)
    }

    fn poll_hangup(&mut self, cx: &mut Context<'_>, hides: &mut bool) -> Poll<Hangup> {
        hangup::poll_tcp(self, cx, hides)
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        hangup::read_now(self, buffer)
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

#[cfg(test)]
mod tests {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// As in a pod: without any capability.
    fn unprivileged(test: impl Future<Output = ()> + Send) {
        std::thread::scope(|scope| {
            let run = || {
                let none = CapabilitySet::empty();
                set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
            };
            scope.spawn(run).join().unwrap();
        });
    }

    #[test]
    fn nobody_connects_any_more_and_those_that_are_connected_can_be_accepted() {
        for (address, host) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.1")]
        {
            unprivileged(async {
                let mut listener = TcpListener::bind(address).await.unwrap();
                let address = SocketAddr::new(host.parse().unwrap(), listener.local_addr().unwrap().port());
                let mut connected = Vec::new();
                for _ in 0..3 {
                    connected.push(TcpStream::connect(address).await.unwrap());
                }
                listener.refuse_new();
                let refused = TcpStream::connect(address).await.map(drop);
                assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused), "{address}");
                for peer in &mut connected {
                    let (mut stream, _) = Listener::accept(&mut listener).await.unwrap().establish().await.unwrap();
                    stream.write_all(b"x").await.unwrap();
                    assert_eq!(peer.read_u8().await.unwrap(), b'x');
                }
            });
        }
    }
}
