//! Peers of HTTP/2 that leave ends of answers unread, or many refusals.

use hyper::body::Body;

use super::{http2::pinging, *};

/// The preface, settings and an update that open all windows, and a request of `/small` (RFC 9113, sections 3.4, 6.5, 6.9 and 8.1).
const OPEN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff\
    \0\0\x04\x08\0\0\0\0\0\x7f\0\0\0\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x41\x01x\x04\x06/small";
/// Settings that close the windows of all streams.
const CLOSE: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
/// The heads of the frames of the answer.
const FIRST: &[u8] = b"\0\x2f\xff\0\0\0\0\0\x01";
const LAST: &[u8] = b"\0\0\x01\0\x01\0\0\0\x01";

#[tokio::test(start_paused = true)]
async fn an_answer_whose_last_byte_is_held_back_when_its_stream_has_ended_is_given_up() {
    let server = server(|_| {});
    // So small that the first piece waits to be written, and the last byte behind it.
    let (mut peer, theirs) = duplex(64);
    server.peers.send(theirs).await.unwrap();
    peer.write_all(&[1]).await.unwrap();
    peer.write_all(OPEN).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(FIRST) {
        read.push(peer.read_u8().await.unwrap());
    }
    peer.write_all(CLOSE).await.unwrap();
    // This test has one thread: the server reads the settings meanwhile.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((server.connections.count(), server.given_up.count()), (1, 0));
    let mut rest = Vec::new();
    let cut_off = tokio::time::timeout(PATIENCE / 2, peer.read_to_end(&mut rest));
    let _ = cut_off.await.expect("the connection must be cut off");
    assert!(rest.len() > 12_000 && !rest.windows(LAST.len()).any(|bytes| bytes == LAST), "the last byte was sent");
    wait_until("the answer is given up", || server.given_up.count() == 1 && server.connections.count() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_finds_no_room_keeps_its_status() {
    let server = server(|bounds| (bounds.unread_of_one, bounds.write_stall) = (8 * 4_200, PATIENCE));
    let mut client = pinging(&server, 1).await;
    let (mut unread, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..11 {
        let request = Request::get("http://x/refused").body(Default::default()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        answers.push((answer.status().as_u16(), answer.body().size_hint().lower()));
        unread.push(answer);
    }
    assert_eq!(answers, [vec![(200, 7); 9], vec![(200, 0); 2]].concat());
}
