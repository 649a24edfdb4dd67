use std::time::Duration;

use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::*;
use crate::{
    backend::{Exchange, Sent, fake},
    config::Snapshot,
    config::fixtures::{policy, snapshot},
    guard::{self, Caller},
    identity::{
        Identity, Presented,
        fixtures::{client, credentials},
    },
    net::ConnectionFacts,
    protocol::{
        headers::{Header, Pairs, RequestHeaders},
        refusal::Refusal,
        request::Carrier,
    },
};

/// A transport without headers and without HTTP, as a pipe would be: its session, and whether it takes streams.
struct Pipe(Option<String>, bool);

impl Carrier for Pipe {
    fn headers(&self) -> &dyn RequestHeaders {
        &Pairs(&[])
    }

    fn session(&self) -> Header<'_> {
        self.0.as_ref().map_or(Header::Missing, |id| Header::Once(id.as_bytes()))
    }

    fn accepts_stream(&self) -> bool {
        self.1
    }
}

fn identity<'s>(snapshot: &'s Snapshot, key: &str) -> Identity<'s> {
    let connection = ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() };
    let presented = Presented { headers: &Pairs(&[("x-api-key", key)]), connection: &connection };
    snapshot.identify(&presented, Duration::ZERO).unwrap()
}

/// Sends a message; returns the response, the session that was handed out, and the refusal.
async fn send(mcp: &Mcp, caller: Caller<'_>, pipe: &Pipe, message: &Value) -> (Value, Option<String>, Option<Refusal>) {
    let answer = match mcp.begin(caller, message.to_string().as_bytes(), pipe) {
        Begun::Answer(answer) => answer,
        Begun::Pending(pending) => mcp.finish(caller, pending).await,
    };
    match answer {
        Answer::Result { response, session, .. } => {
            (serde_json::from_slice(&response.concat()).unwrap(), session, None)
        }
        Answer::Refusal { refusal, response } => (serde_json::from_str(&response).unwrap(), None, Some(refusal)),
        Answer::Accepted => (Value::Null, None, None),
        Answer::Stream { messages, .. } => {
            let messages = messages.map(|message| serde_json::from_slice::<Value>(&message).unwrap());
            (messages.collect::<Vec<_>>().await.into(), None, None)
        }
    }
}

fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

#[tokio::test]
async fn a_transport_without_http_is_served_by_the_same_methods() {
    let snapshot = snapshot(&policy(&[client("a", &json!({})), client("b", &json!({}))]), &credentials(&["a", "b"]));
    let (one, other) = (identity(&snapshot, "key-of-a"), identity(&snapshot, "key-of-b"));
    let (guard, log) = guard::fixtures::guard();
    let mcp = Mcp::new(guard);
    let caller = guard::fixtures::caller(&snapshot, &one);

    let (response, session, _) =
        send(&mcp, caller, &Pipe(None, false), &request("initialize", json!({"protocolVersion": "2025-06-18"}))).await;
    assert_eq!(response["result"]["protocolVersion"], "2025-06-18");
    let pipe = Pipe(session, false);
    assert!(pipe.0.is_some());
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(send(&mcp, caller, &pipe, &initialized).await, (Value::Null, None, None));
    let (response, ..) = send(&mcp, caller, &pipe, &request("tools/list", json!({}))).await;
    assert_eq!(response["result"]["tools"][0]["name"], "greet");
    let greet = request("tools/call", json!({"name": "greet", "arguments": {"name": "you"}}));
    let (response, ..) = send(&mcp, caller, &pipe, &greet).await;
    assert_eq!(response["result"]["content"], json!([{"type": "text", "text": "Hello you"}]));

    let (response, _, refusal) = send(&mcp, caller, &pipe, &request("tools/paint", json!({}))).await;
    assert_eq!(refusal, Some(Refusal::UnknownMethod { in_session: true }));
    assert_eq!(response["error"]["code"], -32601);
    let another = guard::fixtures::caller(&snapshot, &other);
    let (_, _, refusal) = send(&mcp, another, &pipe, &greet).await;
    assert_eq!(refusal, Some(Refusal::SessionNotFound), "a session belongs to the identity that opened it");

    assert!(mcp.guard.audit.stop(Duration::from_secs(60)));
    let recorded: Vec<_> =
        log.records().iter().map(|record| json!([record["event"], record["clientId"], record["status"]])).collect();
    assert_eq!(
        recorded,
        [
            json!(["tool_call_start", "a", null]),
            json!(["tool_call_success", "a", null]),
            json!(["request_refused", "a", null]),
            json!(["request_refused", "b", null]),
        ]
    );
}

#[tokio::test]
async fn a_method_may_send_messages_before_its_result_if_the_transport_takes_them() {
    let snapshot = snapshot(&policy(&[client("a", &json!({}))]), &credentials(&["a"]));
    let identity = identity(&snapshot, "key-of-a");
    let caller = guard::fixtures::caller(&snapshot, &identity);
    let mcp = fixtures::mcp(guard::fixtures::guard().0);
    let count = request("test/count", json!({}));
    let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"count": 3}});

    let (streamed, ..) = send(&mcp, caller, &Pipe(None, true), &count).await;
    let messages = streamed.as_array().unwrap();
    let progress: Vec<_> = messages[..3].iter().map(|message| message["params"]["progress"].clone()).collect();
    assert_eq!((progress, &messages[3..]), (vec![json!(1), json!(2), json!(3)], &[result.clone()][..]));
    assert_eq!(send(&mcp, caller, &Pipe(None, false), &count).await.0, result);
}

/// A snapshot whose tool `greet` waits for a backend that never responds, or panics.
fn snapshot_that_waits(panics: bool) -> Snapshot {
    let mut snapshot = snapshot(&policy(&[client("a", &json!({}))]), &credentials(&["a"]));
    let tools = std::sync::Arc::get_mut(&mut snapshot.tools).unwrap();
    let exchange = move || {
        let response = async move {
            tokio::task::yield_now().await;
            assert!(!panics, "a planned panic");
            std::future::pending().await
        };
        Exchange::Pending(response.boxed(), Sent::default())
    };
    let tool = tools.by_name.get_mut("greet").unwrap();
    (tool.work, tool.timeout) = (fake::tool_work(exchange), Duration::from_millis(50));
    snapshot
}

fn pending<'s>(mcp: &Mcp, caller: Caller<'s>) -> Pending<'s> {
    let greet = request("tools/call", json!({"name": "greet", "arguments": {"name": "you"}}));
    match mcp.begin(caller, greet.to_string().as_bytes(), &Pipe(None, false)) {
        Begun::Pending(pending) => pending,
        Begun::Answer(_) => panic!("the call is answered at once"),
    }
}

#[tokio::test]
async fn a_call_can_be_cancelled_while_it_waits_and_leaves_nothing_however_it_ends() {
    let (guard, log) = guard::fixtures::guard();
    let mcp = Mcp::new(guard);
    for (how, panics) in [("timeout", false), ("cancelled", false), ("dropped", false), ("panic", true)] {
        let snapshot = snapshot_that_waits(panics);
        let identity = identity(&snapshot, "key-of-a");
        let caller = guard::fixtures::caller(&snapshot, &identity);
        let mut call = Box::pin(mcp.finish(caller, pending(&mcp, caller)));
        assert!(mcp.waiting.is_empty(), "{how}: it has not begun");
        assert!(futures::poll!(&mut call).is_pending());
        assert!(!mcp.waiting.is_empty(), "{how}");
        match how {
            "cancelled" => {
                let notification =
                    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
                assert_eq!(send(&mcp, caller, &Pipe(None, false), &notification).await, (Value::Null, None, None));
                assert!(matches!(call.await, Answer::Accepted), "{how}");
            }
            "dropped" => drop(call),
            "panic" => assert!(std::panic::AssertUnwindSafe(call).catch_unwind().await.is_err()),
            _ => assert!(matches!(call.await, Answer::Result { .. }), "{how}"),
        }
        assert!(mcp.waiting.is_empty(), "{how}");
    }
    assert!(mcp.guard.audit.stop(Duration::from_secs(60)));
    let records = log.records();
    let errors: Vec<_> = records.iter().map(|it| &it["error"]).filter(|error| !error.is_null()).collect();
    assert_eq!(errors, ["backend_timeout", "cancelled", "disconnected", "disconnected"]);
}
