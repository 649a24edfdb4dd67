//! The admin port, among neighbours who mean no good.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use support::{Server, client, credentials, policy};
use tokio::net::TcpSocket;

/// As many idle connections as it takes for the last to be closed at once, from an address other than the tests' own.
fn fill(server: &Server) -> Vec<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = || {
        runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse::<SocketAddr>().unwrap()).unwrap();
            let stream = socket.connect(server.admin).await.unwrap().into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            stream
        })
    };
    let mut held = Vec::new();
    loop {
        let mut stream = connect();
        if !matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
            return held;
        }
        held.push(stream);
    }
}

#[test]
fn a_peer_with_all_connections_that_it_can_get_makes_no_probe_fail() {
    let server = Server::start(&policy("http://127.0.0.1:1", &[client("a", &["greet"])]), &credentials(&["a"]));
    let mut held = fill(&server);
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.get(server.admin, path).status, 200);
    }
    for stream in &mut held {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "who idles is closed soon");
    }
}
