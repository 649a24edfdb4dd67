//! Every bound of a connection, in one place.

use std::time::Duration;

/// The bounds of connections. `Default` has those of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Connections of this process; one more is closed as it comes. 10,000.
    pub connections: usize,
    /// Connections of one peer address. 256.
    pub connections_per_peer: usize,
    /// From the first byte of a request to the end of its headers. 10 s.
    pub headers_within: Duration,
    /// How long a connection may have no request in flight. 75 s.
    pub idle: Duration,
    /// How long a peer may take nothing: of the socket, or of any one answer that HTTP/2 holds back for it. 30 s.
    pub write_stall: Duration,
    /// Bytes of answers that an HTTP/2 connection may hold back for its peer; the stream of a further answer is reset. 16 MiB:
    /// four of the largest answers.
    pub unread: u64,
    /// Bytes of a header block; more gets a 431. 16 KiB.
    pub header_block: usize,
    /// Concurrent streams of an HTTP/2 connection. 100.
    pub streams: u32,
    /// Streams that an HTTP/2 peer may reset before they are answered. 20.
    pub pending_resets: usize,
    /// How long a stop waits for calls in flight. 30 s.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_peer: 256,
            headers_within: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            unread: 16 * 1024 * 1024,
            header_block: 16 * 1024,
            streams: 100,
            pending_resets: 20,
            drain: Duration::from_secs(30),
        }
    }
}

impl Bounds {
    /// Those of the admin port: 256 connections, 16 of one peer address, idle 5 s. Its peers connect for each question, and
    /// none of them may keep kubelet's probes out.
    pub fn admin() -> Self {
        Self { connections: 256, connections_per_peer: 16, idle: Duration::from_secs(5), ..Self::default() }
    }
}

/// The bounds of one request's body. `Default` has those of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BodyBounds {
    /// Bytes. 1 MiB.
    pub max: usize,
    /// From the headers to the end of the body. 10 s.
    pub within: Duration,
    /// Bytes a second, after a second of grace. 1 KiB.
    pub least_rate: u32,
    /// Bytes of one identity's bodies that are on their way or being read; more gets a 429. 4 MiB.
    pub held_of_identity: usize,
    /// Bytes of all bodies that are on their way or being read; more gets a 503. 64 MiB.
    pub held: usize,
}

impl Default for BodyBounds {
    fn default() -> Self {
        Self {
            max: 1024 * 1024,
            within: Duration::from_secs(10),
            least_rate: 1024,
            held_of_identity: 4 * 1024 * 1024,
            held: 64 * 1024 * 1024,
        }
    }
}
