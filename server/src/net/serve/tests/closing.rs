//! A stop loses no request: what a peer sends while its connection is closed is answered, or the peer sees a clean end and the request
//! was never begun.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

const LAST: &[u8] = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nlast";

/// What a peer reads until the connection ends. A reset is an error: it destroys what the peer has not read, and does not show that
/// nothing was done.
async fn read_to_clean_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    ended.expect("the server must close the connection").expect("not reset");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends without letting the server run: this test has one thread.
fn send_at_once(stream: TcpStream, bytes: &[u8]) -> TcpStream {
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    std::io::Write::write_all(&mut stream, bytes).unwrap();
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_behind_the_last_answer_is_not_begun_and_does_not_destroy_that_answer() {
    let server = server(|_| {});
    let (mut reader, mut writer) = tokio::io::split(server.get("/held").await);
    server.held.until_started().await;
    // More than the server reads ahead: what it leaves unread would reset a connection of TCP when it is closed.
    let behind = format!("POST /held HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n{}", "x".repeat(300_000));
    let writing = tokio::spawn(async move { writer.write_all(behind.as_bytes()).await.map(|()| writer) });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!writing.is_finished(), "the server must not read everything ahead");
    server.connections.drain();
    server.held.release();
    let answer = read_to_clean_end(&mut reader).await;
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("released"), "{answer}");
    assert_eq!(*server.held.started.borrow(), 1, "the second request is not begun");
    let mut writer = writing.await.unwrap().expect("everything must be read");
    writer.write_all(b"and more").await.expect("not reset afterwards either");
    drop((reader, writer));
    server.until_connections(0).await;
}

/// Connections that have been idle for so long that a stop closes them at once.
async fn idle_for_long<S: AsyncRead + AsyncWrite + Unpin>(count: usize, connect: impl AsyncFn() -> S) -> Vec<S> {
    let mut idle = Vec::new();
    for _ in 0..count {
        let mut stream = connect().await;
        echo(&mut stream, "before").await;
        idle.push(stream);
    }
    // The pause is what is tested.
    tokio::time::sleep(Duration::from_millis(700)).await;
    idle
}

#[tokio::test]
async fn a_request_that_has_arrived_when_an_idle_connection_is_to_be_closed_is_answered() {
    let server = tcp_server().await;
    let idle = idle_for_long(20, async || TcpStream::connect(server.peers).await.unwrap()).await;
    let sent: Vec<_> = idle.into_iter().map(|stream| send_at_once(stream, LAST)).collect();
    // The connections are told to close before the runtime has heard of the requests.
    let mut ending = pin!(server.connections.end(PATIENCE));
    assert!(futures::poll!(&mut ending).is_pending());
    for mut stream in sent {
        let answer = read_to_clean_end(&mut stream).await;
        assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("last"), "{answer}");
    }
    assert!(ending.await);
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_a_request_while_idle_connections_are_closed_is_answered_or_sees_a_clean_end() {
    let server = server(|_| {});
    let idle = idle_for_long(150, async || server.connect().await).await;
    server.stop.send(PATIENCE).unwrap();
    let callers: Vec<_> = (1..)
        .zip(idle)
        .map(|(n, mut stream)| {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(n)).await;
                stream.write_all(LAST).await.unwrap();
                read_to_clean_end(&mut stream).await
            })
        })
        .collect();
    for caller in callers {
        let answer = caller.await.unwrap();
        assert!(answer.is_empty() || answer.ends_with("last"), "{answer}");
    }
    assert!(server.task.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_after_the_end_of_a_connection_does_not_reset_it() {
    let server = server(|_| {});
    let (mut known, mut new) = (server.connect().await, server.connect().await);
    echo(&mut known, "before").await;
    server.until_connections(2).await;
    server.stop.send(PATIENCE).unwrap();
    for stream in [&mut known, &mut new] {
        assert_eq!(read_to_clean_end(stream).await, "");
        for _ in 0..3 {
            stream.write_all(LAST).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(read_to_clean_end(stream).await, "");
    }
    drop((known, new));
    assert!(server.task.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_idle_for_too_long_ends_in_the_same_way() {
    let server = server(|bounds| bounds.idle = Duration::from_millis(100));
    let mut stream = server.connect().await;
    echo(&mut stream, "before").await;
    assert_eq!(read_to_clean_end(&mut stream).await, "");
    stream.write_all(LAST).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    stream.write_all(LAST).await.unwrap();
    assert_eq!(read_to_clean_end(&mut stream).await, "");
    // A peer that does not close its side is cut off.
    server.until_connections(0).await;
}

#[tokio::test(start_paused = true)]
async fn callers_that_ask_again_at_once_are_answered_although_nothing_drains() {
    let server = server(|_| {});
    let mut callers = Vec::new();
    for _ in 0..8 {
        let mut stream = server.connect().await;
        callers.push(tokio::spawn(async move {
            loop {
                stream.write_all(LAST).await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"last") {
                    assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed without an answer");
                }
                // Otherwise no time would pass.
                tokio::time::sleep(Duration::from_millis(1)).await;
                if String::from_utf8_lossy(&answer).contains("connection: close") {
                    return read_to_clean_end(&mut stream).await;
                }
            }
        }));
    }
    // Also of one that has connected and has not sent its first request yet.
    let mut new = server.connect().await;
    server.until_connections(9).await;
    server.stop.send(PATIENCE).unwrap();
    // Just before a stop gives it up.
    tokio::time::sleep(Duration::from_millis(490)).await;
    new.write_all(LAST).await.unwrap();
    assert!(read_to_clean_end(&mut new).await.ends_with("last"));
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "");
    }
    assert!(server.task.await.unwrap());
}

#[tokio::test]
async fn whoever_connects_and_sends_while_the_listener_closes_is_answered_or_not_connected() {
    let server = tcp_server().await;
    let address = server.peers;
    let answered: [_; 8] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = answered
        .iter()
        .map(|answered| {
            let answered = Arc::clone(answered);
            tokio::spawn(async move {
                // Connected anew for each request, until that is refused.
                while let Ok(Ok(mut stream)) =
                    tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(address)).await
                {
                    stream.write_all(LAST).await.unwrap();
                    let mut answer = Vec::new();
                    while !answer.ends_with(b"last") {
                        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed without an answer");
                    }
                    answered.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    wait_until("each of them was answered", || answered.iter().all(|answered| answered.load(Relaxed) > 0)).await;
    server.stop.send(PATIENCE).unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(server.task.await.unwrap());
}

/// As if the task of each connection had no processor between its start and the stop.
#[tokio::test(start_paused = true)]
async fn a_connection_whose_task_first_runs_after_the_beginning_of_a_stop_is_served() {
    let server = server(|_| {});
    let mut ending = pin!(server.connections.end(PATIENCE));
    let _open = server.connect().await;
    server.until_connections(1).await;
    assert!(futures::poll!(&mut ending).is_pending());
    for _ in 0..20 {
        let mut stream = server.connect().await;
        stream.write_all(LAST).await.unwrap();
        let answer = read_to_clean_end(&mut stream).await;
        assert!(answer.ends_with("last"), "{answer:?}");
    }
}

/// Frames of HTTP/2: a request for `/` on a stream, the acknowledgement of a ping.
fn http2_request(stream: u8) -> Vec<u8> {
    // GET, http, / and the authority `x`, in one block that ends the stream.
    let block = [0x82, 0x86, 0x84, 0x41, 1, b'x'];
    [&[0, 0, 6, 1, 5, 0, 0, 0, stream], &block[..]].concat()
}

fn http2_pong(payload: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 6, 1, 0, 0, 0, 0], payload].concat()
}

/// The next frame: its type, its stream and its payload.
async fn frame(stream: &mut DuplexStream) -> io::Result<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut payload).await?;
    Ok((head[3], u32::from_be_bytes(head[5..].try_into().unwrap()), payload))
}

#[tokio::test(start_paused = true)]
async fn a_request_of_http_2_that_crosses_the_first_goaway_is_done_and_the_last_one_names_it() {
    const HEADERS: u8 = 1;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    let server = server(|_| {});
    let mut stream = server.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    stream.write_all(&http2_request(1)).await.unwrap();
    while frame(&mut stream).await.unwrap().0 != HEADERS {}
    server.connections.drain();
    let (mut answered, mut last, mut ping) = (Vec::new(), Vec::new(), Vec::new());
    while let Ok((kind, id, payload)) = frame(&mut stream).await {
        match kind {
            HEADERS => answered.push(id),
            GOAWAY => last.push(u32::from_be_bytes(payload[..4].try_into().unwrap())),
            PING => ping = payload,
            _ => {}
        }
        if last == [u32::MAX >> 1] && !ping.is_empty() {
            stream.write_all(&http2_request(3)).await.unwrap();
            stream.write_all(&http2_pong(&std::mem::take(&mut ping))).await.unwrap();
        }
    }
    assert_eq!((last, answered), (vec![u32::MAX >> 1, 3], vec![3]));
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_after_everything_was_cut_off_is_not_served() {
    let server = server(|_| {});
    let mut before = server.get("/held").await;
    server.held.until_started().await;
    server.connections.abort();
    let mut after = server.get("/peer").await;
    for stream in [&mut before, &mut after] {
        let mut answer = String::new();
        // It ends or is reset.
        let _ = stream.read_to_string(&mut answer).await;
        assert_eq!(answer, "");
    }
}
