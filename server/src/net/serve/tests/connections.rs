//! How many connections there are, how long they may idle, and how they end.

use super::*;

#[tokio::test]
async fn many_requests_share_a_connection() {
    let server = server(|_| {}).await;
    let mut stream = server.connect().await;
    for n in 0..50 {
        echo(&mut stream, &format!("text {n}")).await;
    }
    assert_eq!(server.connections.count(), 1);
    drop(stream);
    server.until_connections(0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = server(|bounds| bounds.idle = Duration::from_millis(150)).await;
    let mut busy = server.get("/held").await;
    server.held.until_started().await;
    let mut idle = server.connect().await;
    assert_eq!(read_to_close(&mut idle).await, "");
    server.held.release();
    read_until(&mut busy, "\r\n\r\nreleased").await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let server = server(|_| {}).await;
    let _unread = server.get("/large").await;
    server.until_connections(1).await;
    let began = Instant::now();
    server.until_connections(0).await;
    assert!(began.elapsed() > Duration::from_millis(350), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_connections_of_one_peer_and_of_all_are_bounded() {
    for adjust in [|bounds: &mut Bounds| bounds.connections = 3, |bounds: &mut Bounds| bounds.connections_per_peer = 3]
    {
        let server = server(adjust).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = server.connect().await;
            echo(&mut stream, "in").await;
            held.push(stream);
        }
        assert_eq!(read_to_close(&mut server.connect().await).await, "");
        held.pop();
        server.until_connections(2).await;
        echo(&mut server.connect().await, "in again").await;
        for stream in &mut held {
            echo(stream, "still in").await;
        }
    }
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_accepts_no_more() {
    let server = server(|_| {}).await;
    let mut idle = server.connect().await;
    echo(&mut idle, "before").await;
    let mut busy = server.get("/held").await;
    server.held.until_started().await;
    server.stop.send(()).unwrap();
    assert_eq!(read_to_close(&mut idle).await, "");
    server.held.release();
    let finished = read_to_close(&mut busy).await;
    assert!(finished.ends_with("released"), "{finished}");
    assert!(server.task.await.unwrap(), "all requests must be finished");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_forever() {
    let server = server(|bounds| bounds.drain = Duration::from_millis(50)).await;
    let mut busy = server.get("/held").await;
    server.held.until_started().await;
    server.stop.send(()).unwrap();
    assert!(!server.task.await.unwrap());
    assert_eq!(read_to_close(&mut busy).await, "");
}
