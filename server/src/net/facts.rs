//! What is known of a connection before its first request.

use std::net::SocketAddr;

/// The facts of one connection, for the handler of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The other end.
    pub peer: SocketAddr,
}
