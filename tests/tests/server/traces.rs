//! The caller's trace, the records of a call and the request to its backend can be matched, and the backend knows whose call it is.

use portcullis_crds::contract::KeyDigest;
use portcullis_tests::PATIENCE;
use portcullis_tests::backend::{Backend, Received, Reply};
use portcullis_tests::http::Request;
use portcullis_tests::server::{TestServer, post, rpc};
use serde_json::{Value, json};

use crate::fixtures::*;

const CLIENT_ID: &str = "x-portcullis-client-id";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// What the backend was told about a call: each header that is not of HTTP itself, and the `traceId` of the records of the call.
struct Told {
    headers: Vec<(String, String)>,
    execution_id: String,
    trace_id: Value,
}

fn call_within(meta: &Value) -> Request {
    post(AGENT, &rpc("tools/call", json!({"name": "find", "arguments": {"query": "x"}, "_meta": meta})))
}

async fn told(server: &TestServer, backend: &Backend, request: &Request) -> Told {
    let calls = server.log.events("tool_call_success").unwrap().len() + 1;
    // As it was sent, with the id of the call.
    let response = server.send(request).await.unwrap();
    let result = serde_json::from_slice::<Value>(&response.body).unwrap()["result"].take();
    assert_eq!(result["isError"], false, "{result}");
    let ends = server.log.at_least(calls, "tool_call_success", PATIENCE).await.unwrap();
    let (start, end) = (&server.log.events("tool_call_start").unwrap()[calls - 1], &ends[calls - 1]);
    assert_eq!(start["traceId"], end["traceId"]);
    let execution_id = result["_meta"]["portcullis.dev/executionId"].as_str().unwrap().to_owned();
    assert_eq!(start["executionId"], execution_id);
    let [Received { headers, .. }] = &backend.take()[..] else { panic!("one request for one call") };
    let of_http = ["host", "accept", "accept-encoding", "user-agent"];
    let headers = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| !of_http.contains(&name.as_str())).collect();
    headers.sort();
    Told { headers, execution_id, trace_id: end["traceId"].clone() }
}

fn headers(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    headers.sort();
    headers
}

#[tokio::test]
async fn a_valid_trace_is_passed_on_and_recorded_and_nothing_else_of_the_caller_is() {
    let backend = Backend::start(|_| Reply::response(200, r#"{"items":[]}"#)).await.unwrap();
    let server = start(&document(&backend.url())).await;
    let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let with_state = [(CLIENT_ID, "agent"), ("traceparent", TRACEPARENT), ("tracestate", "a=1")];
    for (request, expected) in [
        (call_within(&json!({"traceparent": TRACEPARENT})), &[(CLIENT_ID, "agent"), ("traceparent", TRACEPARENT)][..]),
        (
            call_within(&json!({"traceparent": TRACEPARENT, "tracestate": "a=1", "baggage": "user=x"}))
                .with("traceparent", other)
                .with("tracestate", "b=2")
                .with("baggage", "user=x"),
            &with_state,
        ),
        (
            call_within(&json!({}))
                .with("Traceparent", TRACEPARENT)
                .with("Tracestate", "a=1")
                .with("baggage", "user=x")
                .with("X-Portcullis-Client-Id", "reader"),
            &with_state,
        ),
        (
            call_within(&json!({"traceparent": TRACEPARENT, "tracestate": format!("a={}", "x".repeat(600))})),
            &with_state[..2],
        ),
    ] {
        let told = told(&server, &backend, &request).await;
        assert_eq!((told.headers, &told.trace_id), (headers(expected), &json!(TRACE)));
    }
}

#[tokio::test]
async fn a_call_without_a_valid_trace_gets_one_that_follows_from_its_execution_id() {
    let backend = Backend::start(|_| Reply::response(200, r#"{"items":[]}"#)).await.unwrap();
    let server = start(&document(&backend.url())).await;
    for request in [
        call_within(&json!({})),
        call_within(&json!({"traceparent": 5, "tracestate": "a=1"})),
        call_within(&json!({"traceparent": TRACEPARENT.to_ascii_uppercase(), "tracestate": "a=1"})),
        call_within(&json!({"traceparent": format!("{TRACEPARENT}\r\nX-Portcullis-Client-Id: reader")})),
        call_within(&json!({})).with("traceparent", TRACEPARENT).with("traceparent", TRACEPARENT),
        call_within(&json!({})).with("tracestate", "a=1"),
    ] {
        let told = told(&server, &backend, &request).await;
        let digest: String =
            KeyDigest::of(told.execution_id.as_bytes()).0.iter().map(|byte| format!("{byte:02x}")).collect();
        let traceparent = format!("00-{}-{}-01", &digest[..32], &digest[32..48]);
        assert_eq!(told.headers, headers(&[(CLIENT_ID, "agent"), ("traceparent", &traceparent)]));
        assert_eq!(told.trace_id, digest[..32]);
    }
}

#[tokio::test]
async fn a_call_that_needs_no_backend_has_a_trace_only_if_its_caller_named_one() {
    let server = start(&document(NOWHERE)).await;
    for (meta, expected) in [(json!({}), Value::Null), (json!({"traceparent": TRACEPARENT}), json!(TRACE))] {
        let calls = server.log.events("tool_call_success").unwrap().len() + 1;
        let message = rpc("tools/call", json!({"name": "echo", "arguments": {"text": "x"}, "_meta": meta}));
        server.send(&post(AGENT, &message)).await.unwrap();
        let ends = server.log.at_least(calls, "tool_call_success", PATIENCE).await.unwrap();
        assert_eq!(ends[calls - 1]["traceId"], expected);
    }
}
