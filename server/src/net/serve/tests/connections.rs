//! How many connections there are, how long they may idle, and how they end.

use http_body_util::{BodyExt, Full};

use super::{http2::pinging, *};

#[tokio::test(start_paused = true)]
async fn many_requests_share_a_connection() {
    let server = server(|_| {});
    let mut stream = server.connect().await;
    for n in 0..50 {
        echo(&mut stream, &format!("text {n}")).await;
    }
    assert_eq!(server.connections.count(), 1);
    drop(stream);
    server.until_connections(0).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = server(|bounds| bounds.idle = Duration::from_millis(150));
    let mut busy = server.get("/held").await;
    server.held.until_started().await;
    let mut idle = server.connect().await;
    assert_eq!(read_to_close(&mut idle).await, "");
    server.held.release();
    read_until(&mut busy, "\r\n\r\nreleased").await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_cut_off() {
    let server = server(|_| {});
    let began = Instant::now();
    let _unread = server.get("/large").await;
    server.until_connections(1).await;
    server.until_connections(0).await;
    assert!(between(400, 500, began), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_connections_of_one_peer_and_of_all_are_bounded() {
    for adjust in [|bounds: &mut Bounds| bounds.connections = 3, |bounds: &mut Bounds| bounds.connections_per_peer = 3]
    {
        let server = server(adjust);
        let mut busy = Vec::new();
        for _ in 0..3 {
            busy.push(server.get("/held").await);
        }
        server.held.started.subscribe().wait_for(|started| *started == 3).await.unwrap();
        assert_eq!(read_to_close(&mut server.connect().await).await, "");
        busy.pop();
        server.until_connections(2).await;
        echo(&mut server.connect().await, "in again").await;
        server.held.release();
        for stream in &mut busy {
            read_until(stream, "\r\n\r\nreleased").await;
        }
    }
}

/// Longer than a stranger may be idle while there is no room for others.
async fn idle() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn strangers_that_do_nothing_keep_nobody_out_who_shares_their_address() {
    let server = server(|bounds| {
        (bounds.connections_per_peer, bounds.idle, bounds.write_stall) = (3, PATIENCE, PATIENCE);
    });
    let mut known = server.connect().await;
    echo_as("known", &mut known, "in").await;
    let mut silent = server.connect().await;
    let mut unread = pinging(&server, 1).await;
    let answer = unread.send_request(Request::get("http://x/peer").body(Full::default()).unwrap()).await.unwrap();
    idle().await;
    let (mut second, mut third) = (server.connect().await, server.connect().await);
    echo_as("known", &mut second, "in").await;
    echo_as("known", &mut third, "in").await;
    assert_eq!(read_to_close(&mut silent).await, "");
    assert!(answer.into_body().collect().await.is_err(), "the connection must be closed");
    for stream in [&mut known, &mut second, &mut third] {
        echo(stream, "still in").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_not_identified_any_more_is_a_stranger() {
    let server = server(|bounds| (bounds.connections_per_peer, bounds.idle) = (2, PATIENCE * 2));
    let (mut known, mut suspended) = (server.connect().await, server.connect().await);
    echo_as("known", &mut known, "in").await;
    echo_as("suspended", &mut suspended, "in").await;
    echo_as("", &mut suspended, "refused").await;
    idle().await;
    echo(&mut server.connect().await, "in").await;
    assert_eq!(read_to_close(&mut suspended).await, "");
    echo(&mut known, "still in").await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_nothing_for_longest_makes_room_if_no_stranger_does() {
    let server = server(|bounds| (bounds.connections_per_peer, bounds.idle) = (2, PATIENCE * 2));
    let mut first = server.connect().await;
    echo_as("known", &mut first, "in").await;
    idle().await;
    let mut second = server.connect().await;
    echo_as("known", &mut second, "in").await;
    idle().await;
    // Its connection ends in order: whoever finds no room meanwhile connects again.
    assert_eq!(read_to_close(&mut server.connect().await).await, "");
    assert_eq!(read_to_close(&mut first).await, "");
    drop(first);
    server.until_connections(1).await;
    for stream in [&mut server.connect().await, &mut second] {
        echo(stream, "in").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_in_flight_and_accepts_no_more() {
    let server = server(|_| {});
    let mut idle = server.connect().await;
    echo(&mut idle, "before").await;
    let mut busy = server.get("/held").await;
    server.held.until_started().await;
    server.stop.send(PATIENCE).unwrap();
    assert_eq!(read_to_close(&mut idle).await, "");
    server.held.release();
    let finished = read_to_close(&mut busy).await;
    assert!(finished.ends_with("released"), "{finished}");
    assert!(server.task.await.unwrap(), "all requests must be finished");
    assert!(server.peers.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_forever() {
    let server = server(|_| {});
    let mut busy = server.get("/held").await;
    server.held.until_started().await;
    server.stop.send(Duration::from_millis(50)).unwrap();
    assert!(!server.task.await.unwrap());
    assert_eq!(read_to_close(&mut busy).await, "");
}

#[tokio::test(start_paused = true)]
async fn while_connections_drain_each_answer_says_that_it_is_the_last_and_nothing_else_is_closed() {
    let server = server(|_| {});
    let mut idle = server.connect().await;
    echo(&mut idle, "before").await;
    let mut busy = server.get("/held").await;
    server.held.until_started().await;
    server.connections.drain();
    let mut new = server.connect().await;
    server.held.release();
    let request = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nlast";
    for (stream, text) in [(&mut idle, "last"), (&mut new, "last"), (&mut busy, "released")] {
        if text == "last" {
            stream.write_all(request).await.unwrap();
        }
        let answer = read_to_close(stream).await;
        assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with(text), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_half_sent_head_but_answers_one_that_just_arrived() {
    let server = server(|_| {});
    let mut half = server.connect().await;
    half.write_all(b"GET /echo HTTP/1.1\r\nho").await.unwrap();
    let _silent = server.connect().await;
    let mut known = server.connect().await;
    echo(&mut known, "before").await;
    server.until_connections(3).await;
    // The stop finds the head of the known caller half sent; its rest arrives a moment later.
    known.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-le").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.stop.send(PATIENCE).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    known.write_all(b"ngth: 4\r\n\r\nlast").await.unwrap();
    let answer = read_to_close(&mut known).await;
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("last"), "{answer}");
    assert_eq!(read_to_close(&mut half).await, "");
    assert!(server.task.await.unwrap(), "no request was cut off");
}

#[tokio::test]
async fn a_stop_serves_the_connections_that_the_system_has_established() {
    let server = tcp_server().await;
    // This test has one thread: the server accepts nothing between these lines.
    let mut late = std::net::TcpStream::connect(server.peers).unwrap();
    std::io::Write::write_all(&mut late, b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    server.stop.send(PATIENCE).unwrap();
    late.set_nonblocking(true).unwrap();
    let answer = read_to_close(&mut TcpStream::from_std(late).unwrap()).await;
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
}
