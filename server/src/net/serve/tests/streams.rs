//! Live streams: what keeps them open, and what ends them.

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::{http2::pinging, *};

const PLENTY: StreamBounds = StreamBounds { open_of_identity: 10, open: 10, ..STREAM };

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://x{path}")).body(Full::default()).unwrap()
}

/// Everything that is left of a stream of HTTP/2.
async fn text(body: Incoming) -> String {
    let whole = tokio::time::timeout(PATIENCE, body.collect()).await;
    String::from_utf8(whole.expect("the stream must end").unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_to_send_is_not_stalled() {
    let server = server_with(bounds(), PLENTY);
    let mut quiet = server.get("/quiet").await;
    read_until(&mut quiet, "\r\n\r\n").await;
    let mut client = pinging(&server, 1_000).await;
    let first = client.send_request(get("/quiet")).await.unwrap();
    let messages = client.send_request(get("/messages")).await.unwrap();
    // Between two of its messages nothing waits for the peer either, although they are further apart than a peer may stall.
    assert_eq!(text(messages.into_body()).await, "onetwothree");
    assert_eq!(server.connections.count(), 2);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_its_peer_does_not_read_is_given_up() {
    let server = server(|_| {});
    let began = Instant::now();
    let unread = server.get("/flood").await;
    server.until_connections(1).await;
    server.until_connections(0).await;
    assert!(between(400, 500, began), "{:?}", began.elapsed());
    drop(unread);

    // On HTTP/2, whether the peer leaves much unread or the last bytes of one message.
    for (path, window) in [("/flood", 1_000), ("/messages", 2)] {
        let mut client = pinging(&server, window).await;
        let unread = client.send_request(get(path)).await.unwrap();
        assert_eq!(server.streams.held(), 1);
        wait_until("the stream is given up", || server.streams.held() == 0).await;
        drop(unread);
    }
}

#[tokio::test(start_paused = true)]
async fn a_keep_alive_is_sent_while_there_is_nothing_else() {
    let stream = StreamBounds { keep_alive: Duration::from_millis(50), ..STREAM };
    let server = server_with(bounds(), stream);
    let began = Instant::now();
    let mut quiet = server.get("/quiet").await;
    let chunk = format!("2\r\n{KEEP_ALIVE}\r\n");
    read_until(&mut quiet, &chunk.repeat(3)).await;
    assert!(between(150, 155, began), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_its_longest_life() {
    let stream = StreamBounds { longest_life: Duration::from_millis(100), ..STREAM };
    let server = server_with(bounds(), stream);
    let mut quiet = server.get("/quiet").await;
    read_until(&mut quiet, "\r\n\r\n0\r\n\r\n").await;
    echo(&mut quiet, "the connection goes on").await;
}

#[tokio::test(start_paused = true)]
async fn the_streams_of_one_identity_and_of_all_are_bounded() {
    let server = server(|_| {});
    let open = async |who: &str| {
        let mut stream = server.connect().await;
        let head = format!("GET /quiet HTTP/1.1\r\nhost: x\r\nwho: {who}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        (status(std::str::from_utf8(&answer).unwrap()).to_owned(), stream)
    };
    let mut streams = Vec::new();
    for (who, expected) in [("a", "200"), ("a", "200"), ("a", "429"), ("b", "200"), ("b", "429")] {
        let (status, stream) = open(who).await;
        assert_eq!(status, expected, "{who}");
        streams.push(stream);
    }
    streams.clear();
    server.until_connections(0).await;
    assert_eq!(open("b").await.0, "200");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_live_streams_at_once_and_finishes_the_answers_of_calls() {
    let server = server_with(bounds(), PLENTY);
    let (mut quiet, mut messages) = (server.get("/quiet").await, server.get("/messages").await);
    let mut client = pinging(&server, 1_000).await;
    let quiet_2 = client.send_request(get("/quiet")).await.unwrap();
    let messages_2 = client.send_request(get("/messages")).await.unwrap();
    read_until(&mut messages, "one").await;

    server.stop.send(PATIENCE).unwrap();
    assert!(read_to_close(&mut quiet).await.ends_with("\r\n\r\n0\r\n\r\n"));
    assert_eq!(text(quiet_2.into_body()).await, "");
    assert!(!server.task.is_finished(), "they end before the last messages");
    assert!(read_to_close(&mut messages).await.contains("three"));
    assert_eq!(text(messages_2.into_body()).await, "onetwothree");
    assert!(server.task.await.unwrap(), "everything must be finished");
}
