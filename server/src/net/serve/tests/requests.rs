//! Heads and bodies of requests: how large they may be, and how slowly they may be sent.

use super::*;

/// How long a head may take where that is tested.
const HEAD: Duration = Duration::from_millis(400);

#[tokio::test(start_paused = true)]
async fn a_head_that_is_sent_byte_by_byte_is_cut_off_while_others_are_served() {
    let server = server(|bounds| bounds.headers_within = HEAD);
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
    assert!(between(400, 500, began), "{:?}", began.elapsed());
    echo(&mut other, "still there").await;
}

#[tokio::test(start_paused = true)]
async fn a_head_is_bounded_on_a_connection_that_was_used_before() {
    let server = server(|bounds| (bounds.headers_within, bounds.idle) = (HEAD, 2 * PATIENCE));
    let mut stream = server.connect().await;
    echo(&mut stream, "first").await;
    // The pause is what is tested: it is longer than a head may take.
    tokio::time::sleep(Duration::from_millis(600)).await;
    echo(&mut stream, "second, because an idle connection is not reading a head").await;
    stream.write_all(b"POST /ec").await.unwrap();
    read_to_close(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_malformed_head_is_answered_400_and_a_large_one_431() {
    let server = server(|_| {});
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

#[tokio::test(start_paused = true)]
async fn a_body_that_is_sent_byte_by_byte_is_answered_408() {
    let server = server(|_| {});
    let mut stream = server.connect().await;
    let began = Instant::now();
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n").await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        while writer.write_all(b"a").await.is_ok() {
            // The pace of the peer.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut answer = [0; 12];
    reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(status(std::str::from_utf8(&answer).unwrap()), "408");
    assert!(between(60_000, 60_500, began), "{:?}", began.elapsed());
    writing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_answered_413_whether_its_length_is_declared_or_not() {
    let server = server(|_| {});
    let declared = server.exchange(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n").await;
    assert_eq!(status(&declared), "413");
    let chunk = format!("190\r\n{}\r\n", "a".repeat(400));
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = server.exchange(format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(status(&chunked), "413");
    let fits = server.exchange(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(fits.ends_with(&"a".repeat(800)), "{fits}");
}

#[tokio::test(start_paused = true)]
async fn bodies_that_stall_hold_a_bounded_part_of_one_identity_and_of_all() {
    let server = server(|_| {});
    // Begins a body of 1,000 bytes. A byte that arrives with the one before would not be waited for.
    let begin = async |who: &str| {
        let mut stream = server.connect().await;
        let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\nwho: {who}\r\ncontent-length: 1000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..2 {
            stream.write_all(b"b").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stream
    };
    let refused = async |who: &str| {
        let mut answer = [0; 12];
        begin(who).await.read_exact(&mut answer).await.unwrap();
        status(std::str::from_utf8(&answer).unwrap()).to_owned()
    };
    let (mut one, other) = (begin("a").await, begin("b").await);
    assert_eq!(server.bodies.held(), 2_000);
    assert_eq!(refused("a").await, "429");
    assert_eq!(refused("c").await, "503");
    echo(&mut server.connect().await, "a body that is available at once holds nothing").await;
    // The share is given back with the body, whether it was complete or not.
    one.write_all("c".repeat(998).as_bytes()).await.unwrap();
    read_until(&mut one, "\r\n\r\nbb").await;
    drop((one, other));
    wait_until("both shares are given back", || server.bodies.held() == 0).await;
    let _held = (begin("a").await, begin("b").await);
    assert_eq!(server.bodies.held(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_takes_its_connection_with_it_and_nothing_else() {
    let server = server(|_| {});
    let mut other = server.get("/held").await;
    for _ in 0..3 {
        assert_eq!(server.exchange(b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await, "");
    }
    server.until_connections(1).await;
    server.held.release();
    read_until(&mut other, "released").await;
}
