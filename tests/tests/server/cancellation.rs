//! What ends a call before its end: up to 2025-11-25 `notifications/cancelled` and not a connection that breaks, in 2026-07-28 the
//! reverse. Whatever ends it, it leaves its end in the log and frees its place.

use portcullis_tests::PATIENCE;
use portcullis_tests::backend::{Backend, Ends, Gate, Reply};
use portcullis_tests::http::{Connection, Request, Response};
use portcullis_tests::server::{LOOPBACK, TestServer, call, post, rpc};
use portcullis_tests::{expect_eq, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::audit::assert_gapless;
use crate::expected::*;
use crate::fixtures::*;
use crate::revisions::{initialize, session_of, stateless};

const HANDSHAKE: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
const KEPT: Ends = Ends { kept: 1, dropped: 0 };
const DROPPED: Ends = Ends { kept: 0, dropped: 1 };

/// A server whose backend replies once the gate is open.
async fn held() -> (TestServer, Backend, Gate) {
    let (backend, gate) = held_backend().await;
    (start(&document(&backend.url())).await, backend, gate)
}

async fn held_backend() -> (Backend, Gate) {
    let gate = Gate::closed();
    let script = gate.clone();
    (Backend::start(move |_| Reply::Json(200, json!({"items": []})).held(&script)).await.unwrap(), gate)
}

/// A call of `find` with this id.
fn find(key: &str, id: &Value) -> Request {
    let params = json!({"name": "find", "arguments": {"query": "x"}});
    post(key, &json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
}

/// The same in the stateless revision.
fn stateless_find() -> Request {
    stateless("tools/call", Some("find"), json!({"name": "find", "arguments": {"query": "x"}}))
}

fn note() -> Request {
    call(AGENT, "note", json!({"id": "7", "text": "x"}))
}

fn cancelled(key: &str, params: Value) -> Request {
    post(key, &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
}

fn within(request: Request, session: &str) -> Request {
    request.with("Mcp-Session-Id", session).with("MCP-Protocol-Version", "2025-11-25")
}

async fn session(server: &TestServer, key: &str) -> String {
    session_of(&server.send(&initialize(key, "2025-11-25")).await.unwrap())
}

/// Begins a call on a connection of its own, and waits until its backend has it.
async fn begin(server: &TestServer, backend: &Backend, request: &Request) -> Connection {
    let before = backend.received().len();
    let mut connection = Connection::open(server.listen).await.unwrap();
    connection.write(&request.bytes()).await.unwrap();
    until(PATIENCE, async || expect_eq(backend.received().len(), before + 1)).await;
    connection
}

async fn notify(server: &TestServer, notification: &Request) {
    let found = server.send(notification).await.unwrap();
    assert_eq!((found.status, found.text()), (202, String::new()));
}

async fn ends(backend: &Backend, ends: Ends) {
    until(PATIENCE, async || expect_eq(backend.ends(), ends)).await;
}

/// Waits until the only call has its end in the log: the event, its error, and whether its answer was delivered.
async fn ended(server: &TestServer, event: &str, error: Value, delivered: Value) {
    let end = server.log.event(event, PATIENCE).await.unwrap();
    assert_eq!((&end["error"], &end["delivered"]), (&error, &delivered), "{end}");
    assert_eq!(server.log.events("tool_call_start").unwrap().len(), 1);
}

fn nothing(response: &Response) -> (u16, String) {
    (response.status, response.text())
}

#[tokio::test]
async fn a_notification_cancels_a_call_of_each_revision_with_a_handshake() {
    for version in HANDSHAKE {
        for in_session in [false, true] {
            let (server, backend, _gate) = held().await;
            let session = session_of(&server.send(&initialize(AGENT, version)).await.unwrap());
            let of_revision = |request: Request| {
                let request = request.with("MCP-Protocol-Version", version);
                if in_session { request.with("Mcp-Session-Id", &session) } else { request }
            };
            let mut connection = begin(&server, &backend, &of_revision(find(AGENT, &json!(1)))).await;
            // Over another connection.
            notify(&server, &of_revision(cancelled(AGENT, json!({"requestId": 1, "reason": "User request"})))).await;
            // No response is sent, so that the HTTP response is empty; the connection can be used further.
            assert_eq!(nothing(&connection.response().await.unwrap()), (202, String::new()), "{version}");
            ends(&backend, DROPPED).await;
            ended(&server, "tool_call_error", json!("cancelled"), Value::Null).await;
            let again = connection.send(&of_revision(post(AGENT, &rpc("ping", json!({}))))).await.unwrap();
            assert_eq!(again.status, 200);
            let metrics = server.admin("/metrics").await.unwrap().text();
            let counted = r#"portcullis_tool_calls_total{tool="find",outcome="cancelled"} 1"#;
            assert!(metrics.contains(counted), "{metrics}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_on_another_stream_of_the_same_connection_cancels_a_call() {
    let (server, backend, _gate) = held().await;
    let (client, call) = begin_on_http2(&server, &backend, &find(AGENT, &json!("a"))).await;
    let notification = on_http2(&client, &server, &cancelled(AGENT, json!({"requestId": "a"})));
    assert_eq!(notification.send().await.unwrap().status(), 202);
    let found = call.await.unwrap().unwrap();
    assert_eq!((found.status().as_u16(), found.text().await.unwrap()), (202, String::new()));
    ends(&backend, DROPPED).await;
    ended(&server, "tool_call_error", json!("cancelled"), Value::Null).await;
    let metrics = server.admin("/metrics").await.unwrap().text();
    assert!(metrics.contains("portcullis_connections 1\n"), "{metrics}");
}

fn on_http2(client: &reqwest::Client, server: &TestServer, request: &Request) -> reqwest::RequestBuilder {
    let builder = client.post(server.url()).body(request.body.clone());
    request.headers.iter().filter(|(name, _)| name != "Host").fold(builder, |it, (name, value)| it.header(name, value))
}

type Calling = JoinHandle<reqwest::Result<reqwest::Response>>;

async fn begin_on_http2(server: &TestServer, backend: &Backend, request: &Request) -> (reqwest::Client, Calling) {
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let call = tokio::spawn(on_http2(&client, server, request).send());
    until(PATIENCE, async || expect_eq(backend.received().len(), 1)).await;
    (client, call)
}

#[tokio::test]
async fn a_connection_that_breaks_ends_no_call_of_a_revision_with_a_handshake() {
    for version in [None, Some(HANDSHAKE[0]), Some(HANDSHAKE[1]), Some(HANDSHAKE[2])] {
        for request in [find(AGENT, &json!(1)), note()] {
            let (server, backend, gate) = held().await;
            let request = version.iter().fold(request, |it, version| it.with("MCP-Protocol-Version", version));
            begin(&server, &backend, &request).await.reset().unwrap();
            no_connections(&server).await;
            gate.open();
            ends(&backend, KEPT).await;
            ended(&server, "tool_call_success", Value::Null, json!(false)).await;
        }
    }
}

/// Waits until the server has seen that its peers are gone.
async fn no_connections(server: &TestServer) {
    until(PATIENCE, async || {
        let metrics = server.admin("/metrics").await.unwrap().text();
        if metrics.contains("portcullis_connections 0\n") { Ok(()) } else { Err("a connection is left") }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_ends_no_call_of_a_revision_with_a_handshake() {
    let (server, backend, gate) = held().await;
    let (client, call) = begin_on_http2(&server, &backend, &note()).await;
    call.abort();
    // What is answered on the connection afterwards was read behind the reset.
    let _ = call.await;
    let ping = on_http2(&client, &server, &post(AGENT, &rpc("ping", json!({}))));
    assert_eq!(ping.send().await.unwrap().status(), 200);
    gate.open();
    ends(&backend, KEPT).await;
    ended(&server, "tool_call_success", Value::Null, json!(false)).await;
}

#[tokio::test]
async fn a_stateless_call_is_cancelled_by_its_connection_and_by_no_notification() {
    let (server, backend, _gate) = held().await;
    let connection = begin(&server, &backend, &stateless_find()).await;
    let notification = cancelled(AGENT, json!({"requestId": 1}));
    notify(&server, &notification).await;
    let headers = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "notifications/cancelled")];
    notify(&server, &headers.iter().fold(notification, |it, (name, value)| it.with(name, value))).await;
    assert_eq!(backend.ends(), Ends::default());
    assert_eq!(server.log.events("tool_call_error").unwrap(), [] as [Value; 0]);
    drop(connection);
    ends(&backend, DROPPED).await;
    ended(&server, "tool_call_error", json!("disconnected"), Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateless_call_is_cancelled_by_the_reset_of_its_stream() {
    let (server, backend, _gate) = held().await;
    let (_client, call) = begin_on_http2(&server, &backend, &stateless_find()).await;
    call.abort();
    ends(&backend, DROPPED).await;
    ended(&server, "tool_call_error", json!("disconnected"), Value::Null).await;
}

#[tokio::test]
async fn a_call_is_cancelled_only_by_its_identity_in_its_session_with_its_id() {
    let (server, backend, gate) = held().await;
    let [mine, other, readers] =
        [session(&server, AGENT).await, session(&server, AGENT).await, session(&server, READER).await];
    let mut connection = begin(&server, &backend, &within(find(AGENT, &json!(1)), &mine)).await;
    let of_agent = |params: Value| within(cancelled(AGENT, params), &mine);
    for (what, notification) in [
        ("another identity", cancelled(READER, json!({"requestId": 1}))),
        ("another identity in its session", within(cancelled(READER, json!({"requestId": 1})), &readers)),
        ("another session", within(cancelled(AGENT, json!({"requestId": 1})), &other)),
        ("no session", cancelled(AGENT, json!({"requestId": 1}))),
        ("another id", of_agent(json!({"requestId": 2}))),
        ("a text", of_agent(json!({"requestId": "1"}))),
        ("a fraction", of_agent(json!({"requestId": 1.5}))),
        ("null", of_agent(json!({"requestId": null}))),
        ("an object", of_agent(json!({"requestId": {"id": 1}}))),
        ("no id", of_agent(json!({"reason": "1"}))),
        ("no parameters", within(post(AGENT, &json!({"jsonrpc": "2.0", "method": "notifications/cancelled"})), &mine)),
        (
            "another notification",
            within(
                post(AGENT, &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"requestId": 1}})),
                &mine,
            ),
        ),
    ] {
        notify(&server, &notification).await;
        assert_eq!(backend.ends(), Ends::default(), "{what}");
    }
    // A session of somebody else is as unknown as one that was made up.
    let stolen = server.send(&within(cancelled(READER, json!({"requestId": 1})), &mine)).await.unwrap();
    assert_eq!(stolen.status, 404);
    gate.open();
    let found = connection.response().await.unwrap();
    assert_eq!((found.status, &found.json()["result"]["isError"]), (200, &json!(false)));
    ended(&server, "tool_call_success", Value::Null, Value::Null).await;
}

#[tokio::test]
async fn without_sessions_an_id_that_two_calls_of_an_identity_have_cancels_none() {
    let (server, backend, gate) = held().await;
    let session = session(&server, AGENT).await;
    let first = begin(&server, &backend, &find(AGENT, &json!(1))).await;
    let second = begin(&server, &backend, &find(AGENT, &json!(1))).await;
    let third = begin(&server, &backend, &within(find(AGENT, &json!(2)), &session)).await;
    let fourth = begin(&server, &backend, &find(AGENT, &json!(2))).await;
    let of_reader = begin(&server, &backend, &find(READER, &json!(1))).await;
    for id in [1, 2] {
        notify(&server, &cancelled(AGENT, json!({"requestId": id}))).await;
    }
    assert_eq!(backend.ends(), Ends::default());
    notify(&server, &cancelled(READER, json!({"requestId": 1}))).await;
    ends(&backend, DROPPED).await;
    notify(&server, &within(cancelled(AGENT, json!({"requestId": 2})), &session)).await;
    ends(&backend, Ends { kept: 0, dropped: 2 }).await;
    gate.open();
    for (mut connection, status) in [(first, 200), (second, 200), (third, 202), (fourth, 200), (of_reader, 202)] {
        assert_eq!(connection.response().await.unwrap().status, status);
    }
}

#[tokio::test]
async fn ids_are_compared_as_json_values() {
    let (server, backend, _gate) = held().await;
    for (n, (id, notified)) in [
        ("1", "1.0"),
        ("1.0", "1"),
        ("1e1", "10"),
        ("-0", "0"),
        ("18446744073709551615", "18446744073709551615"),
        (r#""a\u0062""#, r#""ab""#),
        (r#""1""#, r#""1""#),
        (r#""""#, r#""""#),
    ]
    .into_iter()
    .enumerate()
    {
        let call = String::from_utf8(find(AGENT, &json!("ID")).body).unwrap().replace(r#""ID""#, id);
        let mut connection = begin(&server, &backend, &Request { body: call.into(), ..find(AGENT, &json!(1)) }).await;
        let body =
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{notified}}}}}"#);
        notify(&server, &Request { body: body.into(), ..cancelled(AGENT, json!({})) }).await;
        assert_eq!(connection.response().await.unwrap().status, 202, "{id} {notified}");
        ends(&backend, Ends { kept: 0, dropped: n + 1 }).await;
    }
}

#[tokio::test]
async fn a_notification_for_a_request_that_has_ended_or_cannot_be_cancelled_is_ignored() {
    let server = start(&document(NOWHERE)).await;
    let session = session(&server, AGENT).await;
    for request in [initialize(AGENT, "2025-11-25"), call(AGENT, "echo", json!({"text": "x"}))] {
        assert_eq!(server.send(&request).await.unwrap().status, 200);
        notify(&server, &cancelled(AGENT, json!({"requestId": 1}))).await;
        notify(&server, &within(cancelled(AGENT, json!({"requestId": 1})), &session)).await;
    }
    let found = server.send(&within(call(AGENT, "echo", json!({"text": "x"})), &session)).await.unwrap();
    assert_eq!(found.to_value(), response(200, rpc_result(echoed("x"))));
}

#[tokio::test]
async fn a_call_that_goes_on_without_its_connection_can_still_be_cancelled() {
    let (server, backend, _gate) = held().await;
    let session = session(&server, AGENT).await;
    begin(&server, &backend, &within(find(AGENT, &json!(1)), &session)).await.reset().unwrap();
    no_connections(&server).await;
    notify(&server, &within(cancelled(AGENT, json!({"requestId": 1})), &session)).await;
    ends(&backend, DROPPED).await;
    ended(&server, "tool_call_error", json!("cancelled"), Value::Null).await;
}

#[tokio::test]
async fn calls_that_go_on_without_their_connections_count_in_flight() {
    let (server, backend, gate) = held().await;
    for _ in 0..32 {
        begin(&server, &backend, &find(AGENT, &json!(1))).await.reset().unwrap();
    }
    no_connections(&server).await;
    let echo = async || server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status;
    assert_eq!(echo().await, 429);
    assert_eq!(server.call(READER, "echo", json!({"text": "x"})).await.unwrap().status, 200);
    gate.open();
    ends(&backend, Ends { kept: 32, dropped: 0 }).await;
    until(PATIENCE, async || expect_eq(echo().await, 200)).await;
    server.log.at_least(34, "tool_call_success", PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_cancelled_frees_its_place() {
    let (server, backend, _gate) = held().await;
    let mut connections = Vec::new();
    for id in 0..32 {
        connections.push(begin(&server, &backend, &find(AGENT, &json!(id))).await);
    }
    let echo = async || server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status;
    assert_eq!(echo().await, 429);
    notify(&server, &cancelled(AGENT, json!({"requestId": 31}))).await;
    assert_eq!(connections[31].response().await.unwrap().status, 202);
    assert_eq!(echo().await, 200);
}

#[tokio::test]
async fn a_call_that_goes_on_without_its_connection_keeps_its_timeout() {
    let (backend, _gate) = held_backend().await;
    let mut document = document(&backend.url());
    tool_of(&mut document, "find")["timeout"] = json!("1s");
    let server = start(&document).await;
    begin(&server, &backend, &find(AGENT, &json!(1))).await.reset().unwrap();
    ends(&backend, DROPPED).await;
    ended(&server, "tool_call_error", json!("backend_timeout"), json!(false)).await;
}

#[tokio::test]
async fn a_stop_waits_for_calls_that_go_on_without_their_connections() {
    let (backend, gate) = held_backend().await;
    let policy = parsed(&document(&backend.url()));
    let mut server = TestServer::start_with(&policy, &keys(), &[LOOPBACK, "--drain", "0"]).await.unwrap();
    for request in [find(AGENT, &json!(1)), note()] {
        begin(&server, &backend, &request).await.reset().unwrap();
    }
    no_connections(&server).await;
    server.signal(Signal::TERM).unwrap();
    server.log.event("server_stopping", PATIENCE).await.unwrap();
    // Nothing listens any more, and nothing else is waited for.
    until(PATIENCE, async || if Connection::open(server.listen).await.is_err() { Ok(()) } else { Err("it listens") })
        .await;
    assert!(server.is_running());
    gate.open();
    assert!(server.ended(PATIENCE).await.unwrap().success());
    assert_eq!(backend.ends(), Ends { kept: 2, dropped: 0 });
    assert_eq!(server.log.events("tool_call_success").unwrap().len(), 2);
    assert_gapless(&server.log.records().unwrap());
}

#[tokio::test]
async fn a_second_signal_cuts_off_calls_that_go_on_without_their_connections() {
    let (backend, _gate) = held_backend().await;
    let mut document = document(&backend.url());
    tool_of(&mut document, "find")["timeout"] = json!("5m");
    let mut server = TestServer::start_with(&parsed(&document), &keys(), &[LOOPBACK, "--drain", "0"]).await.unwrap();
    let _waiting = begin(&server, &backend, &find(AGENT, &json!(1))).await;
    begin(&server, &backend, &find(AGENT, &json!(2))).await.reset().unwrap();
    server.signal(Signal::TERM).unwrap();
    server.log.event("server_stopping", PATIENCE).await.unwrap();
    server.signal(Signal::TERM).unwrap();
    assert!(server.ended(PATIENCE).await.unwrap().success());
    let errors: Vec<_> =
        server.log.events("tool_call_error").unwrap().into_iter().map(|end| end["error"].clone()).collect();
    assert_eq!(errors, [json!("disconnected"), json!("disconnected")]);
    assert_gapless(&server.log.records().unwrap());
}
