//! Peers that close their direction of a connection, or reset it, while their request is answered.

use super::*;

const HELD: &[u8] = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n";
const CANCELLABLE: &[u8] = b"GET /held HTTP/1.1\r\nhost: x\r\nclosing: cancels\r\n\r\n";
const ECHO: &[u8] = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nsecond";

/// Whether something is sent with the request, after it, or both; what is sent, and how often.
fn pipelined() -> Vec<(&'static [u8], Vec<u8>)> {
    vec![
        (b"", b"".to_vec()),
        (ECHO, b"".to_vec()),
        (b"", ECHO.to_vec()),
        (ECHO, ECHO.to_vec()),
        (b"garbage", b"garbage".to_vec()),
        (b"\r\n", vec![b'x'; 100_000]),
    ]
}

/// Sends a request with what is pipelined behind it, and waits until it is being answered.
async fn begin(server: &Server<SocketAddr>, request: &[u8], (with, after): &(&[u8], Vec<u8>)) -> TcpStream {
    let started = *server.held.started.borrow();
    let mut peer = TcpStream::connect(server.peers).await.unwrap();
    peer.write_all(&[request, with].concat()).await.unwrap();
    server.held.started.subscribe().wait_for(|it| *it > started).await.unwrap();
    // What the system has no room for is not sent.
    let _ = tokio::time::timeout(Duration::from_millis(20), peer.write_all(after)).await;
    peer
}

#[tokio::test]
async fn a_peer_that_only_closes_its_direction_gets_its_answers() {
    for pipelined in &pipelined()[..4] {
        let server = tcp_server().await;
        let mut peer = begin(&server, HELD, pipelined).await;
        peer.shutdown().await.unwrap();
        // Whatever wakes the connection meanwhile.
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            server.connections.drain();
        }
        server.held.release();
        let answer = read_to_close(&mut peer).await;
        assert!(answer.contains("\r\n\r\nreleased"), "{pipelined:?}: {answer}");
        server.until_connections(0).await;
    }
}

#[tokio::test]
async fn what_was_pipelined_is_answered_after_the_request_in_flight() {
    for pipelined in &pipelined()[1..4] {
        for closes in [false, true] {
            let server = tcp_server().await;
            let mut peer = begin(&server, HELD, pipelined).await;
            if closes {
                peer.shutdown().await.unwrap();
            }
            server.held.release();
            let expected = pipelined.0.len().min(1) + pipelined.1.len().min(1);
            let mut answer = Vec::new();
            while String::from_utf8_lossy(&answer).matches("\r\n\r\nsecond").count() < expected {
                assert!(peer.read_buf(&mut answer).await.unwrap() > 0, "{pipelined:?}: {answer:?}");
            }
            if closes {
                assert_eq!(read_to_close(&mut peer).await, "");
            } else {
                echo(&mut peer, "third").await;
            }
        }
    }
}

#[tokio::test]
async fn what_was_pipelined_behind_the_last_answer_does_not_destroy_it() {
    let server = tcp_server().await;
    let mut peer = begin(&server, HELD, &(b"x", vec![b'x'; 10_000])).await;
    server.connections.drain();
    server.held.release();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.expect("not reset");
    assert!(String::from_utf8(answer).unwrap().ends_with("\r\n\r\nreleased"));
}

#[tokio::test]
async fn a_peer_that_resets_its_connection_ends_its_request_whatever_it_sent() {
    for request in [HELD, CANCELLABLE] {
        for pipelined in &pipelined() {
            let server = tcp_server().await;
            let peer = begin(&server, request, pipelined).await;
            peer.set_zero_linger().unwrap();
            drop(peer);
            server.until_connections(0).await;
            assert_eq!(*server.statuses.lock(), [0_u16; 0], "{pipelined:?}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_closes_its_direction_ends_a_request_that_this_cancels_whatever_it_sent() {
    for pipelined in &pipelined()[..5] {
        for closes in [true, false] {
            let server = tcp_server().await;
            let mut peer = begin(&server, CANCELLABLE, pipelined).await;
            if closes {
                drop(peer);
            } else {
                peer.shutdown().await.unwrap();
                assert_eq!(read_to_close(&mut peer).await, "");
            }
            server.until_connections(0).await;
            assert_eq!(*server.statuses.lock(), [0_u16; 0], "{pipelined:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_answered_if_its_peer_reads() {
    for head in ["", "closing: cancels\r\n"] {
        let server = tcp_server().await;
        let mut peer = TcpStream::connect(server.peers).await.unwrap();
        let request = format!("POST /echo HTTP/1.1\r\nhost: x\r\n{head}content-length: 100\r\n\r\nhalf");
        peer.write_all(request.as_bytes()).await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(status(&read_to_close(&mut peer).await), "400", "{head}");
    }
}
