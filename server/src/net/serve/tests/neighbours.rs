//! What one caller leaves unread takes nothing from others, on the same connection of HTTP/2 or on others.

use http_body_util::{BodyExt, Full};
use hyper::{body::Body, client::conn::http2::SendRequest};

use super::{http2::pinging, *};

type Client = SendRequest<Full<Bytes>>;

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://x{path}")).body(Full::default()).unwrap()
}

/// What a request on this connection is answered.
async fn answer(client: &mut Client, path: &str) -> String {
    let whole = tokio::time::timeout(PATIENCE, async {
        let answer = client.send_request(get(path)).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    });
    String::from_utf8(whole.await.expect("it must be answered").to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_its_peer_and_one_that_was_reset_keep_no_other_waiting() {
    for is_reset in [true, false] {
        let server = server(|bounds| bounds.write_stall = PATIENCE * 2);
        let mut client = pinging(&server, 10).await;
        let mut unread = Vec::new();
        for _ in 0..10 {
            let mut body = client.send_request(get("/small")).await.unwrap().into_body();
            // A part of it arrives: the rest waits for the peer.
            let part = tokio::time::timeout(PATIENCE, body.frame()).await.expect("a part must arrive");
            assert_eq!(part.unwrap().unwrap().into_data().unwrap().len(), 10);
            if !is_reset {
                unread.push(body);
            }
        }
        assert_eq!(answer(&mut client, "/peer").await, "127.0.0.1");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_given_up_and_the_others_of_its_connection_are_not() {
    let server = server(|_| {});
    let mut client = pinging(&server, 1_000).await;
    let mut others = client.clone();
    let held = tokio::spawn(async move { answer(&mut others, "/held").await });
    server.held.until_started().await;
    for (n, path) in ["/small", "/large", "/flood"].into_iter().enumerate() {
        let began = Instant::now();
        let mut unread = client.send_request(get(path)).await.unwrap().into_body();
        // Meanwhile the pings of the client go on, and so do its other requests.
        while server.given_up.count() <= n && (n < 2 || server.streams.held() > 0) {
            assert_eq!(answer(&mut client, "/peer").await, "127.0.0.1");
            // The pace of the client.
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(began.elapsed() < PATIENCE, "never given up: {path}");
        }
        assert!(between(400, 500, began), "{path}: {:?}", began.elapsed());
        let ended = tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = unread.frame().await {} });
        ended.await.expect("its stream must be reset");
    }
    assert_eq!(server.connections.count(), 1);
    server.held.release();
    assert_eq!(held.await.unwrap(), "released");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_reset_before_its_last_byte_was_sent_is_given_up() {
    let server = server(|bounds| bounds.write_stall = PATIENCE);
    let mut client = pinging(&server, 10).await;
    let mut body = client.send_request(get("/small")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    wait_until("the answer is given up", || server.given_up.count() == 1).await;
    assert_eq!(answer(&mut client, "/small").await.len(), 12 << 10);
    assert_eq!((server.given_up.count(), server.connections.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn strangers_that_leave_small_answers_unread_take_no_room_of_callers_and_callers_only_their_own() {
    // Eight answers of one, and a refusal of as many bytes; twice that of all.
    let server = server(|bounds| {
        (bounds.unread_of_one, bounds.write_stall) = (8 * 4_200, PATIENCE * 2);
        (bounds.unread_of_strangers, bounds.unread_of_identified) = (8 * 4_200, 16 * 4_200);
    });
    let mut unread = Vec::new();
    for who in ["", "one", "two"] {
        let mut client = pinging(&server, 1).await;
        let mut answers = Vec::new();
        for _ in 0..11 {
            let request = Request::post("http://x/echo").header("who", who).body(Full::new(Bytes::from("small")));
            let answer = client.send_request(request.unwrap()).await.unwrap();
            answers.push((answer.status().as_u16(), answer.body().size_hint().lower()));
            unread.push(answer);
        }
        let expected = [vec![(200, 5); 8], vec![(503, 10)], vec![(503, 0); 2]];
        assert_eq!(answers, expected.concat(), "{who:?}");
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(std::mem::take(&mut *server.statuses.lock()), statuses, "{who:?}");
    }
    drop(unread);
    let mut client = pinging(&server, 10).await;
    wait_until("there is room again", || server.connections.count() == 1).await;
    assert_eq!(answer(&mut client, "/peer").await, "127.0.0.1");
}
