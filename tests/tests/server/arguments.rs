//! Whatever an argument is, it reaches the backend unchanged and as data, or the call is refused. The backend records what it
//! receives: method, structure of the path, host and headers are always the same.

use portcullis_tests::backend::{Backend, Received, Reply};
use portcullis_tests::http::Request;
use portcullis_tests::server::{TestServer, post};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;
use crate::hostile_texts::*;

/// A tool for each place that an argument can have in a request.
fn tools() -> Value {
    let any = json!({"type": "object", "required": ["v"], "properties": {"v": {}, "other": {}}});
    let tool = |name: &str, http: Value| json!({"name": name, "description": "Sends `v`.", "backend": "api", "http": http, "inputSchema": any});
    json!([
        tool("path", json!({"method": "GET", "path": "/contacts/{v}/history"})),
        tool("part", json!({"method": "DELETE", "path": "/contacts/id-{v}.json"})),
        tool("query", json!({"method": "GET", "path": "/search", "query": {"q": "{v}", "fixed": "1"}})),
        tool(
            "body",
            json!({"method": "POST", "path": "/notes",
                "body": {"whole": "{v}", "text": "<{v}>", "in": {"list": [1, "{v}"]}}})
        ),
    ])
}

struct Guarded {
    backend: Backend,
    server: TestServer,
}

/// What `Guarded::call` returns for arguments that do not fit.
const INVALID: i64 = -32602;

impl Guarded {
    async fn start() -> Self {
        let backend = Backend::start(|_| Reply::Json(200, json!({"done": true}))).await.unwrap();
        let mut document = document(&format!("{}/base", backend.url()));
        document["spec"]["tools"] = tools();
        document["clients"] = json!([client("agent", &["path", "part", "query", "body"], 10, true)]);
        let server = start(&document).await;
        Self { backend, server }
    }

    /// Calls a tool with these arguments, a JSON text. Returns what the backend received, or the code of the refusal
    /// ([`INVALID`] for a result that says so).
    async fn call(&self, tool: &str, arguments: &str) -> Result<Received, i64> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        );
        let response = self.server.send(&Request::post("/mcp", body).with("x-api-key", AGENT)).await.unwrap();
        let mut received = self.backend.take();
        let shown = shortened(arguments);
        match status_and_code(&response) {
            (200, None) if tool_text(&response).starts_with("Invalid arguments: ") => {
                assert_eq!(received, [], "{tool} {shown}: the backend received a call that was refused");
                Err(INVALID)
            }
            (200, None) => {
                assert_eq!(response.json()["result"]["isError"], false, "{tool} {shown}: {}", response.text());
                assert_eq!(received.len(), 1, "{tool} {shown}");
                Ok(received.remove(0))
            }
            (200, Some(code @ -32602)) | (400, Some(code @ (-32600 | -32700))) => {
                assert_eq!(received, [], "{tool} {shown}: the backend received a call that was refused");
                Err(code)
            }
            _ => panic!("{tool} {shown}: {response:?}"),
        }
    }

    async fn sent(&self, tool: &str, text: &str) -> Result<Received, i64> {
        self.call(tool, &json!({"v": text, "other": "OTHER"}).to_string()).await
    }
}

/// What must not depend on an argument: the method, and every header but the length of the body and the trace of the call.
fn frame(received: &Received) -> Value {
    let mut headers: Vec<(String, &str)> = received
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
        .map(
            |(name, value)| {
                if ["content-length", "traceparent"].contains(&&*name) { (name, "any") } else { (name, value) }
            },
        )
        .collect();
    headers.sort();
    json!([received.method, headers])
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        if byte == b'%' {
            let pair = std::str::from_utf8(&more[..2]).unwrap();
            bytes.push(u8::from_str_radix(pair, 16).unwrap());
            rest = &more[2..];
        } else {
            bytes.push(byte);
            rest = more;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What every backend is asked for.
const ACCEPT: &str = "application/json, */*;q=0.5";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_the_headers_that_it_needs_and_no_others() {
    let guarded = Guarded::start().await;
    let (host, agent) = (guarded.backend.authority(), concat!("portcullis/", env!("CARGO_PKG_VERSION")));
    let get = json!([
        ["accept", ACCEPT],
        ["accept-encoding", "gzip"],
        ["host", host],
        ["traceparent", "any"],
        ["user-agent", agent],
        ["x-portcullis-client-id", "agent"],
    ]);
    let post = json!([
        ["accept", ACCEPT],
        ["accept-encoding", "gzip"],
        ["content-length", "any"],
        ["content-type", "application/json"],
        ["host", host],
        ["traceparent", "any"],
        ["user-agent", agent],
        ["x-portcullis-client-id", "agent"],
    ]);
    for (tool, frame_expected) in [
        ("path", json!(["GET", get])),
        ("part", json!(["DELETE", get])),
        ("query", json!(["GET", get])),
        ("body", json!(["POST", post])),
    ] {
        assert_eq!(frame(&guarded.sent(tool, "plain").await.unwrap()), frame_expected, "{tool}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_one_path_segment_or_is_refused() {
    let guarded = Guarded::start().await;
    for (tool, before, after) in [("path", "/base/contacts/", "/history"), ("part", "/base/contacts/id-", ".json")] {
        let plain = guarded.sent(tool, "plain").await.unwrap();
        assert_eq!(plain.target, format!("{before}plain{after}"));
        for text in hostile_texts() {
            let shown = shortened(&text);
            let found = guarded.sent(tool, &text).await;
            if is_unsafe_in_segment(&text) || (tool == "path" && is_unsafe_segment(&text)) {
                assert_eq!(found, Err(INVALID), "{shown:?}");
                continue;
            }
            let received = found.unwrap_or_else(|code| panic!("{tool} {shown:?}: {code}"));
            assert_eq!(frame(&received), frame(&plain), "{shown:?}");
            let segment = received.target.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            let segment = segment.unwrap_or_else(|| panic!("{shown:?} changed the path: {}", received.target));
            let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
            assert!(segment.bytes().all(unreserved), "{shown:?} is not percent-encoded: {segment}");
            assert_eq!(percent_decoded(segment), text, "{shown:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_one_value_in_a_query() {
    let guarded = Guarded::start().await;
    let plain = guarded.sent("query", "plain").await.unwrap();
    assert_eq!(plain.target, "/base/search?fixed=1&q=plain");
    for text in hostile_texts() {
        let shown = shortened(&text);
        let received = guarded.sent("query", &text).await.unwrap_or_else(|code| panic!("{shown:?}: {code}"));
        assert_eq!(frame(&received), frame(&plain), "{shown:?}");
        let value = received.target.strip_prefix("/base/search?fixed=1&q=");
        let value = value.unwrap_or_else(|| panic!("{shown:?} changed the query: {}", received.target));
        assert!(!value.contains(['#', ' ', '+', '&', '=']), "{shown:?} is not percent-encoded: {value}");
        assert_eq!(percent_decoded(value), text, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_becomes_one_query_pair_for_each_item() {
    let guarded = Guarded::start().await;
    let received = guarded.call("query", r#"{"v":["a","b&q=c",1.50]}"#).await.unwrap();
    assert_eq!(received.target, "/base/search?fixed=1&q=a&q=b%26q%3Dc&q=1.50");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_one_string_in_a_body() {
    let guarded = Guarded::start().await;
    let plain = guarded.sent("body", "plain").await.unwrap();
    for text in hostile_texts() {
        let shown = shortened(&text);
        let received = guarded.sent("body", &text).await.unwrap_or_else(|code| panic!("{shown:?}: {code}"));
        assert_eq!(frame(&received), frame(&plain), "{shown:?}");
        assert_eq!(received.target, "/base/notes");
        let expected = json!({"whole": text, "text": format!("<{text}>"), "in": {"list": [1, text]}});
        assert_eq!(received.json(), expected, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_values_keep_their_digits_and_the_order_of_their_keys_in_a_body() {
    let guarded = Guarded::start().await;
    let deep = format!("{}1{}", "[".repeat(59), "]".repeat(59));
    for value in [
        "true",
        "false",
        "0",
        "-0",
        "-1",
        "12345678901234567890123",
        "-12345678901234567890123",
        "0.1",
        "1.0",
        "1e2",
        "1E-2",
        "100000000000000000000000000000000000000001",
        "0.1234567890123456789012345",
        "1.7976931348623157e308",
        "5e-324",
        "[]",
        "{}",
        r#"{"__proto__":{"admin":true}}"#,
        r#"{"constructor":{"prototype":1}}"#,
        r#"{"":1}"#,
        r#"{"{other}":"{other}"}"#,
        r#"{"b":1,"a":2}"#,
        r#"[1,"2",[3,{"four":null}]]"#,
        deep.as_str(),
    ] {
        let received = guarded.call("body", &format!(r#"{{"v":{value},"other":"OTHER"}}"#)).await.unwrap();
        // A whole number in a text has plain digits.
        let in_text = match value {
            "-0" => "0".to_owned(),
            "1.0" => "1".to_owned(),
            "1e2" => "100".to_owned(),
            "1.7976931348623157e308" => format!("17976931348623157{}", "0".repeat(292)),
            value => value.to_owned(),
        };
        let in_text = json!(format!("<{in_text}>"));
        let expected = format!(r#"{{"in":{{"list":[1,{value}]}},"text":{in_text},"whole":{value}}}"#);
        assert_eq!(String::from_utf8(received.body).unwrap(), expected, "{value}");
    }
    let received = guarded.call("body", r#"{"v":null,"other":"OTHER"}"#).await.unwrap();
    assert_eq!(String::from_utf8(received.body).unwrap(), r#"{"in":{"list":[1]}}"#, "null is nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_cannot_be_represented_and_invalid_json_are_refused_everywhere() {
    let guarded = Guarded::start().await;
    for (value, code) in
        [("1e400", -32600), ("-1e400", -32600), ("01", -32700), ("NaN", -32700), ("\"\\ud800\"", -32700)]
    {
        for tool in ["body", "query", "path"] {
            assert_eq!(guarded.call(tool, &format!(r#"{{"v":{value}}}"#)).await, Err(code), "{tool} {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_over_64_kib_are_refused() {
    let guarded = Guarded::start().await;
    let around = json!({"v": ""}).to_string().len();
    let fits = "x".repeat(64 * 1024 - around);
    assert_eq!(guarded.sent_alone(&fits).await.unwrap().json()["whole"], fits);
    for length in [fits.len() + 1, 100_000, 1_000_000] {
        assert_eq!(guarded.sent_alone(&"x".repeat(length)).await, Err(INVALID), "{length}");
        let other = json!({"v": 1, "other": "x".repeat(length)}).to_string();
        assert_eq!(guarded.call("body", &other).await, Err(INVALID), "{length}");
    }
    let too_large = post(AGENT, &json!({"params": {"arguments": {"v": "x".repeat(1024 * 1024)}}}));
    assert_eq!(guarded.server.send(&too_large).await.unwrap().to_value(), plain_refusal(413, "The body is too large"));
    assert_eq!(guarded.backend.received(), []);
}

impl Guarded {
    async fn sent_alone(&self, text: &str) -> Result<Received, i64> {
        self.call("body", &json!({"v": text}).to_string()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_that_a_caller_sends_reaches_the_backend() {
    let guarded = Guarded::start().await;
    let plain = guarded.sent("path", "plain").await.unwrap();
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "path", "arguments": {"v": "plain"}, "_meta": {"progressToken": 1, "x": "canary"}}});
    let request = [
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=canary"),
        ("Cookie", "a=canary"),
        ("X-Canary", "canary"),
        ("User-Agent", "canary"),
        ("Via", "canary"),
        ("Proxy-Authorization", "canary"),
        ("TE", "trailers"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Portcullis-Client-Id", "canary"),
        ("Baggage", "canary"),
    ]
    .into_iter()
    .fold(post(AGENT, &message), |request, (name, value)| request.with(name, value));
    assert_eq!(guarded.server.send(&request).await.unwrap().status, 200);
    let sent = |received: &Received| (frame(received), received.target.clone(), received.body.clone());
    let received: Vec<_> = guarded.backend.take().iter().map(sent).collect();
    assert_eq!(received, [sent(&plain)]);
}
