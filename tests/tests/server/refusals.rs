//! What each refusal of a known caller costs: all of them are recorded, counted and draw on its allowance, each once, whatever the
//! transport or the method.

use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{TestServer, call, post, rpc};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};

use crate::fixtures::*;

/// What is recorded of a request: the event, and its status if it has one.
type Recorded = Option<(&'static str, Option<u16>)>;

const REFUSED: &str = "request_refused";

fn refused(status: u16) -> Recorded {
    Some((REFUSED, Some(status)))
}

/// A client for each case, with one call an hour and so an allowance of ten requests.
fn clients(ids: &[&str]) -> Value {
    let mut document = document(NOWHERE);
    let mut tagged = tool_of(&mut document, "echo").clone();
    tagged["name"] = json!("tagged");
    tagged["inputSchema"]["properties"]["text"]["x-mcp-header"] = json!("Tag");
    document["spec"]["tools"].as_array_mut().unwrap().push(tagged);
    document["clients"] = ids.iter().map(|id| client(id, &["echo", "tagged"], 10, false)).collect();
    for client in document["clients"].as_array_mut().unwrap() {
        client["limits"] = json!([{"requests": 1, "per": "1h"}]);
    }
    document
}

/// How many requests the allowance of a client has left.
async fn left(server: &TestServer, key: &str) -> usize {
    let ping = post(key, &rpc("ping", json!({})));
    let mut connection = Connection::open(server.listen).await.unwrap();
    let mut left = 0;
    while connection.send(&ping).await.unwrap().status == 200 {
        left += 1;
    }
    left
}

/// The responses that were counted, by their status.
async fn responses(server: &TestServer) -> Vec<(String, u64)> {
    let page = server.admin("/metrics").await.unwrap().text();
    let series = page.lines().filter_map(|line| line.strip_prefix("portcullis_responses_total{status=\""));
    let mut found: Vec<_> = series
        .filter_map(|it| it.split_once("\"} "))
        .map(|(status, count)| (status.to_owned(), count.parse().unwrap()))
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_a_known_caller_is_recorded_counted_and_draws_on_its_allowance_once() {
    let good = |message: &Value| post("", message).without("x-api-key");
    let ping = || good(&rpc("ping", json!({})));
    let raw = |body: &str| Request::post("/mcp", body);
    let echo = |arguments: Value| call("", "echo", arguments).without("x-api-key");
    let stateless = |method: &str| ping().with("mcp-protocol-version", "2026-07-28").with("mcp-method", method);
    let stateless_call = |tool: &str, headers: &[(&str, &str)]| {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}});
        let call = good(&rpc("tools/call", json!({"name": tool, "arguments": {"text": "x"}, "_meta": meta})));
        let call =
            call.with("mcp-protocol-version", "2026-07-28").with("mcp-method", "tools/call").with("mcp-name", tool);
        headers.iter().fold(call, |call, (name, value)| call.with(name, value))
    };
    // The name of the client, its request, the status, what is recorded, and what is taken from the allowance.
    let cases: Vec<(&str, Request, u16, Recorded, usize)> = vec![
        ("not-acceptable", ping().replacing("Accept", "text/html"), 406, refused(406), 1),
        ("text", ping().replacing("Content-Type", "text/plain"), 415, refused(415), 1),
        ("compressed", ping().with("Content-Encoding", "gzip"), 415, refused(415), 1),
        ("too-large", raw("").with("Content-Length", "1048577"), 413, refused(413), 1),
        ("too-slow", raw("").with("Content-Length", "1000"), 408, refused(408), 1),
        ("broken", raw("zz\r\n").with("Transfer-Encoding", "chunked"), 400, refused(400), 1),
        ("cut-off", raw("{").with("Content-Length", "1000"), 400, refused(400), 1),
        ("not-json", raw("{"), 400, refused(400), 1),
        ("empty", raw(""), 400, refused(400), 1),
        ("batch", raw(&format!("[{0},{0}]", rpc("ping", json!({})))), 400, refused(400), 1),
        ("no-message", raw("{}"), 400, refused(400), 1),
        ("response", good(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})), 400, refused(400), 1),
        ("unknown-method", good(&rpc("tools/paint", json!({}))), 404, refused(404), 1),
        ("unknown-session", ping().with("Mcp-Session-Id", "x"), 404, refused(404), 1),
        ("unknown-version", ping().with("mcp-protocol-version", "1999-01-01"), 400, refused(400), 1),
        ("contradiction", stateless("tools/list"), 400, refused(400), 1),
        ("no-envelope", ping().with("mcp-protocol-version", "2026-07-28"), 400, refused(400), 1),
        ("no-param-header", stateless_call("tagged", &[]), 400, refused(400), 1),
        ("param-header", stateless_call("tagged", &[("Mcp-Param-Tag", "y")]), 400, refused(400), 1),
        ("cursor", good(&rpc("tools/list", json!({"cursor": "x"}))), 200, refused(200), 1),
        ("no-version", good(&rpc("initialize", json!({}))), 200, refused(200), 1),
        ("no-name", good(&rpc("tools/call", json!({}))), 200, refused(200), 1),
        ("denied", call("", "find", json!({})).without("x-api-key"), 200, Some(("tool_access_denied", None)), 1),
        ("no-object", echo(json!([])), 200, Some(("arguments_refused", None)), 1),
        ("invalid", echo(json!({"text": 5})), 200, Some(("arguments_refused", None)), 1),
        // Requests that are served draw on it too, and an admitted call does not.
        ("tagged", stateless_call("tagged", &[("Mcp-Param-Tag", "x")]), 200, Some(("tool_call_start", None)), 0),
        ("list", good(&rpc("tools/list", json!({}))), 200, None, 1),
        ("notification", good(&json!({"jsonrpc": "2.0", "method": "notifications/x"})), 202, None, 1),
        ("admitted", echo(json!({"text": "x"})), 200, Some(("tool_call_start", None)), 0),
        // What is refused before its sender is identified costs nothing, and is nobody's.
        ("get", ping().method("GET"), 405, None, 0),
        ("delete", ping().method("DELETE").with("Mcp-Session-Id", "x"), 405, None, 0),
        ("options", ping().method("OPTIONS"), 405, None, 0),
        ("host", ping().replacing("Host", "evil.example"), 421, None, 0),
        ("origin", ping().with("Origin", "null"), 403, None, 0),
        ("path", ping().target("/sse"), 404, None, 0),
    ];
    let ids: Vec<&str> = cases.iter().map(|case| case.0).chain(["over"]).collect();
    let server = start_for(&clients(&ids), &ids).await;
    let mut found = Vec::new();
    let mut expected = Vec::new();
    for (id, request, status, recorded, taken) in cases {
        let mut connection = Connection::open(server.listen).await.unwrap();
        let before = responses(&server).await;
        connection.write(&request.with("x-api-key", &key_of(id)).bytes()).await.unwrap();
        if id == "cut-off" {
            connection.finish().await.unwrap();
        }
        let answered = connection.response().await.unwrap().status;
        let counted =
            responses(&server).await.into_iter().filter(|series| !before.contains(series)).collect::<Vec<_>>();
        let is_mcp = id != "path";
        let once = |before: &(String, u64)| before.0 == answered.to_string();
        let expected_count =
            before.iter().filter(|it| is_mcp && once(it)).map(|(status, count)| (status.clone(), count + 1));
        assert_eq!(counted, expected_count.collect::<Vec<_>>(), "{id}");
        found.push((id, answered, 10 - left(&server, &key_of(id)).await));
        expected.push(((id, status, taken), recorded));
    }
    assert_eq!(found, expected.iter().map(|(case, _)| *case).collect::<Vec<_>>());
    // A call over its limit.
    let echo = call(&key_of("over"), "echo", json!({"text": "x"}));
    let statuses = [server.send(&echo).await.unwrap().status, server.send(&echo).await.unwrap().status];
    assert_eq!((statuses, left(&server, &key_of("over")).await), ([200, 429], 9));

    let is_of_request = |record: &&Value| {
        let of_ping = record["event"] == "rate_limit_exceeded" && record["limit"] == "request_allowance";
        !of_ping && record["event"] != "auth_success" && record["event"] != "tool_call_success"
    };
    until(PATIENCE, async || {
        let records = server.log.records().unwrap();
        let recorded: Vec<Value> = ids
            .iter()
            .map(|id| {
                let records = records.iter().filter(|record| record["clientId"] == *id).filter(is_of_request);
                records.map(|record| json!([record["event"], record["status"]])).collect()
            })
            .collect();
        let of_cases = expected.iter().map(|(_, recorded)| recorded.map(|(event, status)| json!([event, status])));
        let of_cases = of_cases.map(|recorded| recorded.into_iter().collect::<Value>());
        let over = json!([["tool_call_start", null], ["rate_limit_exceeded", null]]);
        expect_eq(recorded, of_cases.chain([over]).collect::<Vec<_>>())
    })
    .await;
}
