//! Neighbours: while a client sends the arguments that cost most to check, the calls of another client take as long as beside the
//! same bytes without a schema, whatever the schema is.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{TestServer, call};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::fixtures::*;

const HEAVY: [&str; 2] = ["heavy-1", "heavy-2"];
const LIGHT: &str = "light";
/// Connections of each heavy client, all of which call again and again.
const CONNECTIONS: usize = 4;
/// For how long latencies are measured, from the first call of the load.
const WINDOW: Duration = Duration::from_secs(1);
const CALLS: u32 = 250;
/// What the 99th percentile is below. It is over ten times that, at each attempt, if checks are made on the threads that serve.
const LIMIT: Duration = Duration::from_millis(50);
/// So often is it measured before it counts as too long, because the machine has other work.
const ATTEMPTS: usize = 5;
/// How much CPU time a check may take on a thread that serves.
const AT_ONCE: Duration = Duration::from_millis(10);
/// When kubelet ends a pod that has not ended after SIGTERM.
const GRACE: Duration = Duration::from_secs(50);

/// A schema, and nearly 64 KiB of arguments that cost much to check against it.
struct Kind {
    name: &'static str,
    schema: Value,
    arguments: String,
}

/// The kind without a schema, with which the others are compared.
const PLAIN: &str = "plain";

fn kinds() -> Vec<Kind> {
    let of_value = |name, schema: Value, value: String| Kind {
        name,
        schema: json!({"type": "object", "properties": {"v": schema}}),
        arguments: format!("{{\"v\":{value}}}"),
    };
    let list = |item: &str, count: usize| format!("[{}{item}]", format!("{item},").repeat(count - 1));
    let object = |count: usize| Value::Object((0..count).map(|n| (format!("k{n}"), json!("x".repeat(20)))).collect());
    let numbered = |count: usize| Value::from_iter((0..count).map(|n| json!({"a": [n, {"b": n}]})));
    let branch = |kind: &str| {
        json!({"type": "object", "required": ["args", "op"],
            "properties": {"args": {"type": "array", "items": {"$ref": "#/$defs/node"}}, "op": {"const": kind}}})
    };
    let leaf = json!({"type": "object", "required": ["field"], "properties": {"field": {"type": "string"}}});
    let filter = json!({"type": "object", "properties": {"v": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"oneOf": [branch("and"), branch("or"), branch("not"), leaf]}}});
    let nested = (0..25).fold(json!({"field": 5}), |inner, _| json!({"op": "and", "args": [inner]})).to_string();
    let filters = format!("{{\"op\":\"or\",\"args\":{}}}", list(&nested, 95));
    let brackets = format!("{}{}", "[".repeat(40), "]".repeat(40));
    vec![
        Kind { name: "filter", schema: filter, arguments: format!("{{\"v\":{filters}}}") },
        of_value(
            "enum",
            json!({"items": {"enum": (0..28).map(|n| json!([object(50), n])).collect::<Vec<_>>()}}),
            list(&json!([object(50), 27]).to_string(), 36),
        ),
        of_value("unique", json!({"uniqueItems": true}), numbered(2_300).to_string()),
        of_value("pattern", json!({"pattern": "(a?){500}b"}), format!("\"{}\"", "a".repeat(60_000))),
        of_value(
            "patterns",
            json!({"items": {"pattern": "^(a|b|ab)*c{1,50}$"}}),
            list(&format!("\"{}\"", "ab".repeat(100)), 300),
        ),
        of_value(
            "number",
            json!({"items": {"type": "integer", "multipleOf": 7}}),
            list(&format!("1{}", "0".repeat(307)), 205),
        ),
        of_value("fraction", json!({"items": {"multipleOf": 0.0001}}), list("123456789.12345", 4_000)),
        of_value("dynamic", json!({"$dynamicAnchor": "x", "items": {"$dynamicRef": "#x"}}), list(&brackets, 780)),
        of_value(
            "branches",
            json!({"contains": {"const": -1}, "items": {"anyOf": [{"type": "string"}, {"minimum": 5, "type": "object"}, {"type": "integer"}]}}),
            list("1", 30_000),
        ),
    ]
}

async fn start_with(kinds: &[Kind]) -> TestServer {
    let mut document = document(NOWHERE);
    let tool = |name: &str| json!({"name": name, "description": "x", "backend": "fixed", "static": {"text": "x"}});
    let mut tools: Vec<Value> = [PLAIN, LIGHT].map(tool).into();
    tools.extend(kinds.iter().map(|kind| {
        let mut tool = tool(kind.name);
        tool["inputSchema"] = kind.schema.clone();
        tool
    }));
    let names: Vec<String> = tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    document["spec"]["tools"] = tools.into();
    let clients = [HEAVY[0], HEAVY[1], LIGHT];
    document["clients"] = clients.map(|id| client(id, &names, 10, true)).to_vec().into();
    start_for(&document, &clients).await
}

fn heavy(id: &str, tool: &str, arguments: &str) -> Request {
    let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
    let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    Request::post("/mcp", message).with("x-api-key", &key_of(id))
}

/// Callers that send the same call again and again, until the value is dropped.
struct Load {
    _callers: JoinSet<()>,
}

impl Load {
    fn start(address: SocketAddr, tool: &str, arguments: &str) -> Self {
        let mut callers = JoinSet::new();
        for id in HEAVY {
            for _ in 0..CONNECTIONS {
                let request = heavy(id, tool, arguments);
                callers.spawn(async move {
                    let mut connection = Connection::open(address).await.unwrap();
                    // It ends with the server, which may stop during a call.
                    while let Ok(found) = connection.send(&request).await {
                        assert_eq!(found.status, 200);
                        if found.header("connection") == Some("close") {
                            break;
                        }
                    }
                });
            }
        }
        Self { _callers: callers }
    }
}

/// The 99th percentile of the latency of another client's calls in the first second of this load.
async fn beside(server: &TestServer, tool: &str, arguments: &str) -> Duration {
    let address = server.listen;
    let _load = Load::start(address, tool, arguments);
    // With a thread of its own, it does not wait for the callers of the load.
    let caller = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(percentile(address))
    });
    let p99 = tokio::task::spawn_blocking(|| caller.join().unwrap()).await.unwrap();
    assert_eq!(server.admin("/livez").await.unwrap().status, 200);
    p99
}

/// How long a call holds a thread that serves.
async fn held(server: &TestServer, tool: &str, arguments: &str) -> Duration {
    const TIMES: u32 = 3;
    let request = heavy(HEAVY[0], tool, arguments);
    let before = serving(server);
    for _ in 0..TIMES {
        assert_eq!(server.send(&request).await.unwrap().status, 200);
    }
    (serving(server) - before) / TIMES
}

async fn percentile(address: SocketAddr) -> Duration {
    let mut connection = Connection::open(address).await.unwrap();
    let request = call(&key_of(LIGHT), LIGHT, json!({}));
    let (began, mut latencies) = (Instant::now(), Vec::new());
    for n in 0..CALLS {
        // From when it was due, so that all calls that a delay holds up count, and not one of them.
        let due = began + n * WINDOW / CALLS;
        sleep(due.saturating_duration_since(Instant::now())).await;
        assert_eq!(connection.send(&request).await.unwrap().status, 200);
        latencies.push(due.elapsed());
    }
    latencies.sort();
    latencies[latencies.len() * 99 / 100]
}

/// The CPU time of the threads that serve: of all but those for checks and for the audit log.
fn serving(server: &TestServer) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero())).unwrap();
    let of_thread = |path: std::path::PathBuf| {
        let name = fs::read_to_string(path.join("comm")).ok()?;
        let nanoseconds = fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()?;
        (!matches!(name.trim(), "check" | "audit")).then(|| Duration::from_nanos(nanoseconds))
    };
    threads.filter_map(|thread| of_thread(thread.unwrap().path())).sum()
}

/// Whether the calls of another client are hardly delayed beside the load. What counts on a machine that is slow as such is how long
/// they take at the same time beside the same bytes without a schema.
async fn is_undelayed(server: &TestServer, tool: &str, arguments: &str) -> Result<(), String> {
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let p99 = beside(server, tool, arguments).await;
        if p99 < LIMIT {
            return Ok(());
        }
        // The checks of the callers that are gone have ended, wherever they are made.
        sleep(WINDOW).await;
        let plain = beside(server, PLAIN, arguments).await;
        if p99 < 3 * plain {
            return Ok(());
        }
        found.push((p99, plain));
    }
    Err(format!("{tool}: the 99th percentile is too long, and that without a schema: {found:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_schema_with_any_arguments_delays_another_client_or_holds_a_thread_that_serves() {
    let kinds = kinds();
    let mut server = start_with(&kinds).await;
    for Kind { name, arguments, .. } in &kinds {
        assert!((50_000..64 * 1024).contains(&arguments.len()), "{name}: {} bytes", arguments.len());
        let mut found = Vec::new();
        // Other work on the machine makes each instruction take longer.
        while found.len() < ATTEMPTS && found.last().is_none_or(|(checked, plain)| *checked >= *plain + AT_ONCE) {
            found.push((held(&server, name, arguments).await, held(&server, PLAIN, arguments).await));
        }
        let (checked, plain) = found[found.len() - 1];
        assert!(checked < plain + AT_ONCE, "{name}, and the same bytes without a schema: {found:?}");
    }
    for Kind { name, arguments, .. } in &kinds {
        assert_eq!(is_undelayed(&server, name, arguments).await, Ok(()));
    }
    let _load = Load::start(server.listen, kinds[0].name, &kinds[0].arguments);
    sleep(Duration::from_millis(200)).await;
    server.signal(Signal::TERM).unwrap();
    assert!(server.ended(GRACE).await.unwrap().success());
}
