//! The memory of a pod: under every load that one key from four addresses can make it is, with the buffers of its sockets, below what a
//! pod has if its resource says nothing else, and whatever the policy contains, the policy takes little of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::Request;
use portcullis_tests::server::{call, post, rpc};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::fixtures::*;

/// The memory limit of a pod if `spec.pod.resources` says nothing else.
const LIMIT: u64 = 256 * 1024 * 1024;
/// What the kernel may hold for a connection, which counts for the pod too: what was not read, and what could not be sent.
const BUFFERS: u64 = 48 * 1024;
const ADDRESSES: u8 = 4;
/// As many as one address may have.
const OF_AN_ADDRESS: u64 = 256;
/// How long each load lasts once all of its connections are open.
const LASTS: Duration = Duration::from_millis(500);
/// How long a connection may take to take all that is sent on it. What it does not take is not sent.
const PATIENT: Duration = Duration::from_millis(30);

/// What is sent on each connection, none of whose answers is read, and whether the connection is reset then.
struct Load {
    name: &'static str,
    bytes: Vec<u8>,
    is_reset: bool,
}

fn loads() -> Vec<Load> {
    let load = |name, bytes| Load { name, bytes, is_reset: false };
    let large = call(AGENT, "find", json!({"query": "x"}));
    let list = post(AGENT, &rpc("tools/list", json!({})));
    let begun = |length: usize, sent: usize| {
        let head = post(AGENT, &json!(1)).with("Content-Length", &length.to_string()).head();
        [head, vec![b' '; sent]].concat()
    };
    let nested = format!("[{}1]", "[],".repeat(300_000));
    let nested = nested.as_bytes();
    let nested =
        [post(AGENT, &json!(1)).with("Content-Length", &(nested.len() + 1).to_string()).head(), nested.into()].concat();
    vec![
        load("large answers", large.bytes()),
        Load { name: "large answers that are reset", bytes: large.bytes(), is_reset: true },
        load("pipelined large answers", large.bytes().repeat(20)),
        load("pipelined lists", list.bytes().repeat(20)),
        load("refusals", call("a wrong key", "find", json!({})).bytes().repeat(200)),
        load("half a body", begun(1_000_000, 900_000)),
        load("half a body of values", nested),
        load("half a head", [&b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Large: "[..], &[b'x'; 15_000]].concat()),
        load("large answers on streams", streams(&large, 100, 1 << 30, true)),
        load("large answers on closed streams", streams(&large, 100, 0, true)),
        load("lists on closed streams", streams(&list, 100, 0, true)),
        Load { name: "lists on streams that are reset", bytes: streams(&list, 100, 0, true), is_reset: true },
        load("streams without an end", streams(&list, 100, 0, false)),
        load("refused streams", streams(&call("a wrong key", "find", json!({})), 100, 0, true)),
        load("pings", [preface(0), frame(6, 0, 0, b"12345678").repeat(5_000)].concat()),
    ]
}

/// The beginning of a connection of HTTP/2, with this window for each stream.
fn preface(window: u32) -> Vec<u8> {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    let connection = frame(8, 0, 0, &(1_u32 << 30).to_be_bytes());
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &settings), &connection].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// So many streams with this request, complete or without the end of its body.
fn streams(request: &Request, count: u32, window: u32, is_complete: bool) -> Vec<u8> {
    let mut fields = vec![(":method", "POST"), (":scheme", "http"), (":path", "/mcp"), (":authority", "localhost")];
    let headers: Vec<(String, &str)> =
        request.headers.iter().map(|(name, value)| (name.to_lowercase(), value.as_str())).collect();
    fields.extend(headers.iter().filter(|(name, _)| name != "host").map(|(name, value)| (name.as_str(), *value)));
    // Literals without an index and without Huffman codes, all of them shorter than 127 bytes.
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    let stream = |id| [frame(1, 4, id, &block), frame(0, u8::from(is_complete), id, &request.body)].concat();
    [preface(window), (0..count).flat_map(|n| stream(2 * n + 1)).collect()].concat()
}

/// Opens a connection whose peer reads nothing, and sends as much as the server takes.
async fn unread(address: SocketAddr, source: IpAddr, load: &Load) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((source, 0).into()).unwrap();
    let mut stream = timeout(Duration::from_millis(500), socket.connect(address)).await.ok()?.ok()?;
    // The server may refuse to take all of it, or close the connection.
    let _ = timeout(PATIENT, stream.write_all(&load.bytes)).await;
    if load.is_reset {
        sleep(PATIENT).await;
        // Closed with an answer that was not read, it is reset.
        return None;
    }
    Some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_stays_below_its_memory_limit_whatever_one_key_from_four_addresses_sends() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let body = json!({"items": ["\"".repeat(1_900_000)]}).to_string();
    let backend = Backend::start(move |_| Reply::response(200, &body)).await.unwrap();
    let mut document = document(&backend.url());
    let names: Vec<String> = (0..150).map(|n| format!("tool-{n}")).collect();
    let tools = document["spec"]["tools"].as_array_mut().unwrap();
    tools.extend(names.iter().map(
        |name| json!({"name": name, "description": "x".repeat(1_000), "backend": "fixed", "static": {"text": "x"}}),
    ));
    client_of(&mut document, "agent")["tools"].as_array_mut().unwrap().extend(names.into_iter().map(Value::from));
    let server = start(&document).await;
    for load in loads() {
        let connections = (0..u64::from(ADDRESSES) * OF_AN_ADDRESS).map(|n| {
            let source = [127, 0, 0, 2 + (n % u64::from(ADDRESSES)) as u8].into();
            unread(server.listen, source, &load)
        });
        let open: Vec<_> = futures::stream::iter(connections).buffer_unordered(64).collect().await;
        sleep(LASTS).await;
        let peak = server.usage().unwrap().peak + u64::from(ADDRESSES) * OF_AN_ADDRESS * BUFFERS;
        assert!(peak < LIMIT, "{}: {} MiB", load.name, peak >> 20);
        let opened = open.iter().flatten().count();
        assert!(load.is_reset || opened >= open.len() / 2, "{}: {opened} connections", load.name);
    }
    assert_ne!(backend.received(), [], "no call reached the backend");
    // Another client is served.
    assert_eq!(server.call(READER, "echo", json!({"text": "x"})).await.unwrap().status, 200);
}

#[tokio::test]
async fn as_many_schemas_and_patterns_as_a_policy_may_have_take_little_memory() {
    let mut document = document(NOWHERE);
    let before = start(&document).await.usage().unwrap().peak;
    let of_values = json!({"type": "object", "properties": {"v": {"enum": (0..11_000).collect::<Vec<u32>>()}}});
    let pattern = |n: u32| (format!("p{n}"), json!({"pattern": "(\\p{L}?){500}b"}));
    let of_patterns = json!({"type": "object", "properties": Value::Object((0..60).map(pattern).collect())});
    let tool = |n: usize, schema: &Value| json!({"name": format!("tool-{n}"), "description": "x", "backend": "fixed", "static": {"text": "x"}, "inputSchema": schema});
    // 121,000 of 131,072 values, and about 120,000 of as many states.
    let schemas = [vec![&of_values; 11], vec![&of_patterns; 2]].concat();
    let tools = document["spec"]["tools"].as_array_mut().unwrap();
    tools.extend(schemas.iter().enumerate().map(|(n, schema)| tool(n, schema)));
    let server = start(&document).await;
    let health = server.send(&Request::get("/health")).await.unwrap().json();
    assert_eq!(health["refused"], Value::Null, "{health}");
    for text in ["x", "y"] {
        tool_of(&mut document, "echo")["description"] = json!(text);
        // The earlier ones are still there while the new ones are compiled.
        server.reconfigure(&parsed(&document), &keys()).await.unwrap();
    }
    let grown = server.usage().unwrap().peak.saturating_sub(before);
    assert!(grown < LIMIT / 2, "{} MiB", grown >> 20);
}
