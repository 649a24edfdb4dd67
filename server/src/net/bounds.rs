//! Every bound of a connection, of a request's body and of a stream, in one place.

use std::time::Duration;

use super::Budget;

/// The bounds of connections. `Default` has those of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Connections of this process; one more is closed as soon as it is accepted. 10,000.
    pub connections: usize,
    /// Connections of one peer address. 256, at most an eighth of all.
    pub connections_per_peer: usize,
    /// Connections of the addresses of IPv6 that share their first 64 bits: those of one host, or of all pods of a cluster. Half of all.
    pub connections_per_network: usize,
    /// How long a connection must be idle to be closed for another one, if there is no room. 100 ms.
    pub least_idle: Duration,
    /// The time for a connection to be established (a TLS handshake, for example). 5 s.
    pub handshake: Duration,
    /// The time from the first byte of a request to the end of its headers. 10 s.
    pub headers_within: Duration,
    /// How long a connection may have no request in flight. 75 s.
    pub idle: Duration,
    /// How long a peer may take nothing from the socket, or nothing of an answer that waits for it. 30 s.
    pub write_stall: Duration,
    /// Bytes a second at which an answer must be taken after `write_stall`, so that the largest is not held for hours. 32 KiB.
    pub least_rate: u32,
    /// Bytes of answers that HTTP/2 lets wait and that nobody else accounts for: of one caller, or of strangers at one peer address.
    /// 2 MiB.
    pub unread_of_one: usize,
    /// The same of all callers that are identified. 16 MiB.
    pub unread_of_identified: usize,
    /// The same of all strangers. 8 MiB.
    pub unread_of_strangers: usize,
    /// Bytes of a header block; a larger one is answered 431. 16 KiB.
    pub header_block: usize,
    /// Concurrent streams of an HTTP/2 connection. 100.
    pub streams: u32,
    /// The same of a connection whose peer address has `wide_connections` already: each stream takes kilobytes. 10.
    pub streams_of_further: u32,
    /// Connections of a peer address with all `streams`. 16.
    pub wide_connections: usize,
    /// Streams that an HTTP/2 peer may reset before they are answered. 20.
    pub pending_resets: usize,
}

/// The connections that a peer address can always have: kubelet may make several probes at once.
const LEAST_PER_PEER: usize = 4;

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_peer: 256,
            connections_per_network: 5_000,
            least_idle: Duration::from_millis(100),
            handshake: Duration::from_secs(5),
            headers_within: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            least_rate: 32 * 1024,
            unread_of_one: 2 * 1024 * 1024,
            unread_of_identified: 16 * 1024 * 1024,
            unread_of_strangers: 8 * 1024 * 1024,
            header_block: 16 * 1024,
            streams: 100,
            streams_of_further: 10,
            wide_connections: 16,
            pending_resets: 20,
        }
    }
}

impl Bounds {
    /// The bounds of the admin port: 256 connections, 16 of one peer address, idle 5 s. Its peers connect anew for each request,
    /// and none of them may keep kubelet's probes out: between two requests a connection is idle however soon the next one comes.
    pub fn admin() -> Self {
        let (idle, least_idle) = (Duration::from_secs(5), Duration::ZERO);
        Self { connections_per_peer: 16, idle, least_idle, ..Self::default() }.with_connections(256)
    }

    /// The same with so many connections, of which neither a peer address nor a network may take too many.
    pub fn with_connections(self, connections: usize) -> Self {
        let connections_per_peer = self.connections_per_peer.min(connections / 8).max(LEAST_PER_PEER);
        Self { connections, connections_per_peer, connections_per_network: connections / 2, ..self }
    }
}

/// The bounds of one request's body. `Default` has those of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BodyBounds {
    /// Bytes. 1 MiB.
    pub max: usize,
    /// The time from the headers to the end of the body. 10 s.
    pub within: Duration,
    /// Bytes of one identity's bodies that are being received; more are refused with 429. 4 MiB.
    pub held_of_identity: usize,
    /// Bytes of all bodies that are being received; more are refused with 503. 64 MiB.
    pub held: usize,
}

impl Default for BodyBounds {
    fn default() -> Self {
        Self {
            max: 1024 * 1024,
            within: Duration::from_secs(10),
            held_of_identity: 4 * 1024 * 1024,
            held: 64 * 1024 * 1024,
        }
    }
}

impl BodyBounds {
    /// The budget of the bytes that may be held.
    pub fn budget(&self) -> Budget {
        Budget::new(self.held_of_identity, self.held)
    }
}

/// The bounds of the bytes of answers, from the first byte that a backend sends until a peer has read the last. `Default` has those
/// of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerBounds {
    /// Bytes of answers to one identity: two of the largest. 28 MiB.
    pub held_of_identity: usize,
    /// Bytes of all answers. 64 MiB.
    pub held: usize,
}

impl Default for AnswerBounds {
    fn default() -> Self {
        Self { held_of_identity: 28 * 1024 * 1024, held: 64 * 1024 * 1024 }
    }
}

impl AnswerBounds {
    /// The budget of the bytes that may be held.
    pub fn budget(&self) -> Budget {
        Budget::new(self.held_of_identity, self.held)
    }
}

/// The bounds of streams: responses that go on for as long as there is something to send. `Default` has those of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamBounds {
    /// After how long without anything to send a keep-alive is sent, so that intermediaries do not close the connection. 15 s.
    pub keep_alive: Duration,
    /// How long a stream may live; its client may open another. 24 h, as long as a session.
    pub longest_life: Duration,
    /// Streams of one identity. 100.
    pub open_of_identity: usize,
    /// All streams. 10,000.
    pub open: usize,
}

impl Default for StreamBounds {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            longest_life: Duration::from_secs(24 * 3600),
            open_of_identity: 100,
            open: 10_000,
        }
    }
}

impl StreamBounds {
    /// The budget of the streams that may be open.
    pub fn budget(&self) -> Budget {
        Budget::new(self.open_of_identity, self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_address_has_most_of_the_connections_however_few_there_are() {
        let bounds = |bounds: Bounds| (bounds.connections, bounds.connections_per_peer, bounds.connections_per_network);
        let main = |connections| bounds(Bounds::default().with_connections(connections));
        let admin = |connections| bounds(Bounds::admin().with_connections(connections));
        assert_eq!([32, 112, 256, 2_048].map(main), [(32, 4, 16), (112, 14, 56), (256, 32, 128), (2_048, 256, 1_024)]);
        assert_eq!((main(10_000), bounds(Bounds::default())), ((10_000, 256, 5_000), (10_000, 256, 5_000)));
        assert_eq!([16, 64, 256].map(admin), [(16, 4, 8), (64, 8, 32), (256, 16, 128)]);
        assert_eq!(bounds(Bounds::admin()), (256, 16, 128));
    }
}
