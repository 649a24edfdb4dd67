//! What the kernel may hold of a connection: the buffers of sockets count for the memory of a container, and are given to whoever
//! asks, up to megabytes each.
//!
//! A connection has a place in the kernel for what waits for its peer, and for what was not read yet. Neither is needed for speed:
//! what was sent and not acknowledged is not bounded here, and grows with the path.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Bytes of requests that were not read yet. The kernel doubles it for its own needs. Few requests are larger than that.
const UNREAD: u32 = 16 * 1024;
/// Bytes that were written and could not be sent, beside one segment.
const UNSENT: u32 = 16 * 1024;
/// How long a peer may acknowledge nothing, or have no room for anything; after that the connection is gone, also if it was closed.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// Bytes of a response of a backend that were not read yet: with a round trip of a millisecond, 128 MB a second can be received.
const UNREAD_OF_BACKEND: u32 = 128 * 1024;
/// Connections that are established and not accepted yet.
const BACKLOG: u32 = 1024;

/// Listens for connections that hold no more in the kernel than they need. At `[::]` they may come by IPv6 and by IPv4, and by IPv4
/// alone where the kernel has no IPv6.
///
/// # Errors
/// Returns an error if the address cannot be used.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    listen_at(address).or_else(|error| match without_ipv6(address, &error) {
        Some(address) => listen_at(address),
        None => Err(error),
    })
}

/// The address to use instead of one that failed because the kernel has no IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let is_unsupported = Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT);
    (is_unsupported && is_any(address)).then_some((Ipv4Addr::UNSPECIFIED, address.port()).into())
}

/// Whether it is `[::]`.
fn is_any(address: SocketAddr) -> bool {
    address.ip() == Ipv6Addr::UNSPECIFIED
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuseaddr(true)?;
    // Connections have the options of their listener.
    socket.set_recv_buffer_size(UNREAD)?;
    let options = SockRef::from(&socket);
    options.set_tcp_notsent_lowat(UNSENT)?;
    options.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    if is_any(address) {
        options.set_only_v6(false)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connects to a backend.
///
/// # Errors
/// Returns an error if there is no connection.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(address)?;
    socket.set_recv_buffer_size(UNREAD_OF_BACKEND)?;
    // Without this, small requests wait for acknowledgements.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_are_those_of_ipv6_and_of_ipv4_or_those_of_ipv4_where_there_is_no_ipv6() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["[::1]", "127.0.0.1"] {
            let address: SocketAddr = format!("{host}:{port}").parse().unwrap();
            let (connected, accepted) = tokio::join!(connect(address), listener.accept());
            assert_eq!(accepted.unwrap().1.ip().to_canonical(), address.ip());
            drop(connected.unwrap());
        }
        let instead = |address: &str, errno: Errno| without_ipv6(address.parse().unwrap(), &errno.into());
        assert_eq!(instead("[::]:3000", Errno::AFNOSUPPORT), Some(([0, 0, 0, 0], 3000).into()));
        for (address, errno) in
            [("[::]:3000", Errno::ADDRINUSE), ("[::1]:3000", Errno::AFNOSUPPORT), ("0.0.0.0:3000", Errno::AFNOSUPPORT)]
        {
            assert_eq!(instead(address, errno), None, "{address}");
        }
    }
}
