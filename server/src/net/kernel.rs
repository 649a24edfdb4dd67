//! What the kernel may hold of a connection: the buffers of sockets count for the memory of a container, and are given to whoever
//! asks, up to megabytes each.
//!
//! A connection has a place in the kernel for what waits for its peer, and for what was not read yet. Neither is needed for speed:
//! what was sent and not acknowledged is not bounded here, and grows with the path.

use std::{io, net::SocketAddr, time::Duration};

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

/// Listens for connections that hold no more in the kernel than they need.
///
/// # Errors
/// Returns an error if the address cannot be used.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuseaddr(true)?;
    // Connections have the options of their listener.
    socket.set_recv_buffer_size(UNREAD)?;
    let options = SockRef::from(&socket);
    options.set_tcp_notsent_lowat(UNSENT)?;
    options.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
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
