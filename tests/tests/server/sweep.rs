//! Thousands of requests that are nearly valid: each response has a documented status, and the server keeps running.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{call, post, rpc};
use serde_json::json;
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;

/// The documented statuses. 503 is not one of them here, because this server has a policy and a log that is read.
const STATUSES: [u16; 14] = [200, 202, 400, 401, 403, 404, 405, 406, 408, 413, 415, 421, 429, 431];
const REQUESTS: usize = 4000;
const SENDERS: usize = 8;

/// xorshift64*, so that the requests are the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// A valid request with one to three of its parts changed.
fn request(random: &mut Random) -> Vec<u8> {
    let mut request = match random.below(4) {
        0 => call(AGENT, "echo", json!({"text": "x"})),
        1 => call(AGENT, "note", json!({"id": "7", "text": "x"})),
        2 => post(
            AGENT,
            &rpc(
                "initialize",
                json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}),
            ),
        ),
        _ => post(READER, &rpc("tools/list", json!({})))
            .with("MCP-Protocol-Version", "2026-07-28")
            .with("Mcp-Method", "tools/list"),
    };
    for _ in 0..=random.below(3) {
        request = match random.below(10) {
            0 => request
                .method(random.one_of(&["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "post", "X"])),
            1 => request.target(random.one_of(&[
                "/",
                "/mcp?x=1",
                "/mcp/../mcp",
                "//mcp",
                "/%6dcp",
                "/health",
                "/messages",
                "/sse",
                "*",
                "http://localhost/mcp",
                "http://evil/mcp",
            ])),
            2 => request.with(
                random.one_of(&[
                    "x-api-key",
                    "Authorization",
                    "Origin",
                    "Host",
                    "Mcp-Session-Id",
                    "Content-Type",
                    "Accept",
                    "Last-Event-ID",
                    "Mcp-Name",
                    "Mcp-Method",
                    "MCP-Protocol-Version",
                    "Expect",
                    "Upgrade",
                    "Connection",
                    "X-Forwarded-For",
                    "Cookie",
                ]),
                random.one_of(&[
                    "",
                    "x",
                    "100-continue",
                    "websocket",
                    "close",
                    "2025-03-26",
                    "2026-07-28",
                    "\u{e9}",
                    "a, b",
                    "=?base64?!?=",
                    AGENT,
                ]),
            ),
            3 => request.without(random.one_of(&["Host", "Accept", "Content-Type", "x-api-key"])),
            4 | 5 => mutated(request, random),
            6 => request.with("Content-Length", random.one_of(&["0", "5", "-1", "x", "99999999999999999999"])),
            7 => request.with("Transfer-Encoding", random.one_of(&["chunked", "gzip", "chunked, chunked", "identity"])),
            8 => request.replacing(
                "Content-Type",
                random.one_of(&[
                    "application/json; charset=utf-8",
                    "application/json; charset=utf-16",
                    "application/jsonp",
                    "APPLICATION/JSON",
                    ";",
                ]),
            ),
            _ => request.replacing(
                "Accept",
                random.one_of(&["*/*", "application/json;q=0", "text/event-stream", ",", "a/b/c"]),
            ),
        };
    }
    let mut bytes = request.bytes();
    if random.below(8) == 0 {
        let at = random.below(bytes.len());
        bytes[at] = u8::try_from(random.below(256)).unwrap();
    }
    bytes
}

/// The request with bytes of its body changed, removed or doubled, or with texts inserted that mean something to a parser.
fn mutated(mut request: Request, random: &mut Random) -> Request {
    for _ in 0..=random.below(4) {
        if request.body.is_empty() {
            break;
        }
        let at = random.below(request.body.len());
        match random.below(4) {
            0 => request.body[at] = u8::try_from(random.below(256)).unwrap(),
            1 => drop(request.body.remove(at)),
            2 => {
                let byte = request.body[at];
                request.body.insert(at, byte);
            }
            _ => {
                let word = random.one_of(&[
                    "null",
                    "[[[[",
                    "{\"a\":1,\"a\":1}",
                    "1e999",
                    "-0",
                    "\\ud800",
                    "\"",
                    ",",
                    "__proto__",
                    "\u{0}",
                    "\u{202e}",
                ]);
                request.body.splice(at..at, word.bytes());
            }
        }
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_gets_a_documented_status_and_never_a_500() {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let mut server = start(&document(&backend.url())).await;
    let address = server.listen;
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(async move {
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (sender as u64 + 1));
            let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
            for _ in 0..REQUESTS / SENDERS {
                let bytes = request(&mut random);
                let mut connection = Connection::open(address).await.unwrap();
                // The server may close the connection before it has read everything.
                let _ = connection.write(&bytes).await;
                // A request that became incomplete has no response; how long to wait for one only decides how deep the sweep gets.
                let Some(status) = connection.status(Duration::from_millis(300)).await else { continue };
                *statuses.entry(status).or_default() += 1;
                let shown = String::from_utf8_lossy(&bytes);
                assert!(status == 100 || STATUSES.contains(&status), "{status} for\n{shown}");
            }
            statuses
        });
    }
    let mut all: BTreeMap<u16, usize> = BTreeMap::new();
    while let Some(statuses) = senders.join_next().await {
        for (status, count) in statuses.unwrap() {
            *all.entry(status).or_default() += count;
        }
    }
    // The sweep is useful only if it reaches many parts of the server.
    for status in [200, 400, 401, 404, 405, 415] {
        assert!(all.contains_key(&status), "no {status} in {all:?}");
    }
    assert!(server.is_running());
    assert_eq!(tool_text(&server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap()), "you said x");
    for record in server.log.records().unwrap() {
        assert!(record["level"] != "error", "{record}");
    }
    assert_eq!(server.log.stderr(), [""; 0], "a panic would be reported here");
}
