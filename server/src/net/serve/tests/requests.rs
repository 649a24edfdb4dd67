//! Heads and bodies of requests: how large they may be, and how slowly they may be sent.

use super::*;

#[tokio::test]
async fn a_head_that_is_sent_byte_by_byte_is_cut_off_while_others_are_served() {
    let server = server(|_| {}).await;
    let began = Instant::now();
    let (mut slow, mut other) = (server.connect().await, server.connect().await);
    let start = b"POST /echo HTTP/1.1\r\nhost: x\r\nx-filler: ";
    for byte in start.iter().chain(std::iter::repeat(&b'a')) {
        if slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "never cut off");
        echo(&mut other, "meanwhile").await;
        // The pace of the peer.
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert_eq!(read_to_close(&mut slow).await, "");
    assert!(began.elapsed() > Duration::from_millis(350), "{:?}", began.elapsed());
    echo(&mut other, "still there").await;
}

#[tokio::test]
async fn a_head_is_bounded_on_a_connection_that_was_used_before() {
    let server = server(|bounds| bounds.idle = 2 * PATIENCE).await;
    let mut stream = server.connect().await;
    echo(&mut stream, "first").await;
    // The pause is what is tested: it is longer than a head may take.
    tokio::time::sleep(Duration::from_millis(600)).await;
    echo(&mut stream, "second, because an idle connection is not reading a head").await;
    stream.write_all(b"POST /ec").await.unwrap();
    read_to_close(&mut stream).await;
}

#[tokio::test]
async fn a_malformed_head_is_answered_400_and_a_large_one_431() {
    let server = server(|_| {}).await;
    let long = "a".repeat(20_000);
    for (head, expected) in [
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-a: b\r\n".repeat(200)), "431"),
        ("GET / HTTP/1.1\r\nx y: z\r\n\r\n".to_owned(), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = server.exchange(head.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{}", &head[..20.min(head.len())]);
    }
}

#[tokio::test]
async fn a_body_that_is_sent_byte_by_byte_is_answered_408() {
    let server = server(|_| {}).await;
    let mut stream = server.connect().await;
    let began = Instant::now();
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n").await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        while writer.write_all(b"a").await.is_ok() {
            // The pace of the peer.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = [0; 12];
    reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(status(std::str::from_utf8(&answer).unwrap()), "408");
    // 20 bytes a second are below the least rate of 100: a second of grace, and a fifth of a second for what was received.
    assert!(began.elapsed() > Duration::from_millis(950) && began.elapsed() < BODY.within, "{:?}", began.elapsed());
    writing.abort();
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_413_whether_its_length_is_declared_or_not() {
    let server = server(|_| {}).await;
    let declared = server.exchange(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n").await;
    assert_eq!(status(&declared), "413");
    let chunk = format!("190\r\n{}\r\n", "a".repeat(400));
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = server.exchange(format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(status(&chunked), "413");
    let fits = server.exchange(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(fits.ends_with(&"a".repeat(800)), "{fits}");
}

#[tokio::test]
async fn bodies_that_stall_hold_a_bounded_part_of_one_identity_and_of_all() {
    let server = server(|_| {}).await;
    /// Begins a body of 1,000 bytes, and sends more of it byte by byte until `is_seen`. Returns how many bytes were sent.
    async fn stall(stream: &mut TcpStream, who: &str, mut is_seen: impl FnMut(&TcpStream) -> bool) -> usize {
        let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\nwho: {who}\r\ncontent-length: 1000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for sent in 1..1_000 {
            // A server that refuses the body may have closed the connection.
            let _ = stream.write_all(b"b").await;
            if is_seen(stream) {
                return sent;
            }
            // A byte that arrives with the one before would not be waited for.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the server never waited for a byte");
    }
    let held = async |who: &str| {
        let (mut stream, before) = (server.connect().await, server.bodies.held());
        let sent = stall(&mut stream, who, |_| server.bodies.held() > before).await;
        (stream, sent)
    };
    let refused = async |who: &str| {
        let mut stream = server.connect().await;
        let mut answer = [0; 12];
        stall(&mut stream, who, |stream| stream.try_read(&mut answer).is_ok_and(|read| read == 12)).await;
        status(std::str::from_utf8(&answer).unwrap()).to_owned()
    };
    let ((mut one, sent), other) = (held("a").await, held("b").await);
    assert_eq!(refused("a").await, "429");
    assert_eq!(refused("c").await, "503");
    echo(&mut server.connect().await, "a body that is available at once holds nothing").await;
    // The share is given back with the body, whether it was complete or not.
    one.write_all("c".repeat(1_000 - sent).as_bytes()).await.unwrap();
    read_until(&mut one, "\r\n\r\nbb").await;
    drop((one, other));
    wait_until("both shares are given back", || server.bodies.held() == 0).await;
    let _held = (held("a").await, held("b").await);
}

#[tokio::test]
async fn a_handler_that_panics_takes_its_connection_with_it_and_nothing_else() {
    let server = server(|_| {}).await;
    let mut other = server.get("/held").await;
    for _ in 0..3 {
        assert_eq!(server.exchange(b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await, "");
    }
    server.until_connections(1).await;
    server.held.release();
    read_until(&mut other, "released").await;
}
