//! Whatever an argument is, it reaches the backend unchanged as data, or is refused. A backend records what it received:
//! the method, the path's structure, the host and the headers never move.

use portcullis_crds::Policy;
use portcullis_tests::backend::{Backend, Received, Reply};
use portcullis_tests::http::Request;
use portcullis_tests::server::{Server, policy, post};
use serde_json::{Value, json};

use crate::common::*;

fn tools(api: &str) -> Policy {
    let any = "inputSchema: {type: object, required: [v], properties: {v: {}, other: {}}}";
    policy(&format!(
        r#"
contract: 1
server: {{namespace: sales, name: crm}}
spec:
  backends: [{{name: api, http: {{url: "{api}/base"}}}}]
  limits:
    global: {{requests: 1000000, per: 1s, maxShare: 100}}
    perClient: {{requests: 1000000, per: 1s}}
    expensiveTools: {{requests: 1000000, per: 1s}}
  tools:
    - {{name: path, description: P., backend: api, http: {{method: GET, path: "/contacts/{{v}}/history"}}, {any}}}
    - {{name: part, description: P., backend: api, http: {{method: DELETE, path: "/contacts/id-{{v}}.json"}}, {any}}}
    - {{name: query, description: Q., backend: api, http: {{method: GET, path: /search, query: {{q: "{{v}}", fixed: "1"}}}}, {any}}}
    - {{name: body, description: B., backend: api, http: {{method: POST, path: /notes, body: {{whole: "{{v}}", text: "<{{v}}>", in: {{list: [1, "{{v}}"]}}}}}}, {any}}}
clients:
  - {{id: agent, uid: uid-agent, tools: [path, part, query, body], maxRecordsPerQuery: 10, allowWrite: true, limits: [{{requests: 1000000, per: 1s}}]}}
"#
    ))
    .unwrap()
}

/// Texts that mean something to somebody on the way.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "plain",
        "",
        ".",
        "..",
        "...",
        "../..",
        "..\\..",
        "%2e",
        "%2e%2e",
        "%2E%2E%2F",
        "%252e",
        "%",
        "%zz",
        "%00",
        "/",
        "//",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "?",
        "a?b=c",
        "#",
        "a#b",
        "&",
        "a&limit=9999",
        "a=b",
        ";",
        "a;b",
        "+",
        "a b",
        "\r\n",
        "a\r\nX-Injected: 1\r\n\r\n",
        "a\nb",
        "\0",
        "a\0b",
        "\"",
        "'",
        "\"}, \"admin\": true, \"x\": {\"",
        "' OR 1=1 --",
        "<script>",
        "{other}",
        "{v}",
        "{{",
        "}}",
        "${v}",
        "$(id)",
        "`id`",
        "@",
        "a@evil.example",
        "http://evil.example/",
        "//evil.example",
        ":",
        ":80",
        "*",
        "[",
        "]",
        "\u{e9}",
        "日本語",
        "😀",
        "\u{202e}abc",
        "\u{0}\u{1}\u{1f}\u{7f}\u{80}",
        "\u{feff}",
        "\u{fffd}",
        "ＡＢ",
        "．．",
        "／",
        "\u{2024}\u{2024}",
        "__proto__",
        "constructor",
        "null",
        "true",
        "0",
        "-0",
        "1e400",
        "x-api-key",
        "HTTP/1.1",
        " leading",
        "trailing ",
        "\t",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(30_000));
    texts.push("é".repeat(10_000));
    texts.push("../".repeat(10_000));
    texts
}

/// Those that a path has no place for: they would be another path to whoever reads it.
fn is_no_segment(text: &str) -> bool {
    matches!(text, "" | "." | "..")
}

fn decoded(text: &str) -> String {
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

/// What must be the same for every call of a tool: the method, and every header but the body's length.
fn frame(received: &Received) -> Value {
    let mut headers: Vec<(String, &str)> =
        received.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect();
    for (name, value) in &mut headers {
        if name == "content-length" {
            *value = "(some)";
        }
    }
    headers.sort();
    json!([received.method, headers])
}

struct Guarded {
    backend: Backend,
    server: Server,
}

impl Guarded {
    async fn start() -> Self {
        let backend = Backend::start(|_| Reply::Json(200, json!({"done": true}))).await.unwrap();
        let server = Server::start(&tools(&backend.url()), &keys_of_agent()).await.unwrap();
        Self { backend, server }
    }

    /// Calls with these arguments, as JSON text. What the backend received, or the code of the refusal.
    async fn call(&self, tool: &str, arguments: &str) -> Result<Received, i64> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        );
        let answer = self.server.ask(&Request::post("/mcp", body).with("x-api-key", AGENT)).await.unwrap();
        let mut received = self.backend.take();
        let shown: String = arguments.chars().take(100).collect();
        match answer.json()["error"]["code"].as_i64() {
            Some(code) => {
                assert!(matches!((answer.status, code), (200, -32602) | (400, -32600 | -32700)), "{shown}: {answer:?}");
                assert_eq!(received, [], "{tool} {shown}: refused, and yet the backend was asked");
                Err(code)
            }
            None => {
                assert_eq!((answer.status, received.len()), (200, 1), "{tool} {shown}: {}", answer.text());
                assert_ne!(answer.json()["result"]["isError"], true, "{tool} {shown}: {}", answer.text());
                Ok(received.remove(0))
            }
        }
    }
}

fn keys_of_agent() -> portcullis_crds::Credentials {
    let agent = portcullis_tests::server::ClientKey { client: "agent", uid: "uid-agent", key: AGENT };
    portcullis_tests::server::credentials(&[agent]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_one_segment_of_a_path_or_is_refused() {
    let guarded = Guarded::start().await;
    for (tool, method, before, after) in
        [("path", "GET", "/base/contacts/", "/history"), ("part", "DELETE", "/base/contacts/id-", ".json")]
    {
        let plain = guarded.call(tool, r#"{"v":"plain"}"#).await.unwrap();
        assert_eq!((plain.method.as_str(), plain.target.clone()), (method, format!("{before}plain{after}")));
        assert_eq!(plain.header("host"), Some(guarded.backend.authority().as_str()));
        for text in texts() {
            let shown: String = text.chars().take(60).collect();
            let found = guarded.call(tool, &json!({"v": text, "other": "OTHER"}).to_string()).await;
            if tool == "path" && is_no_segment(&text) {
                assert_eq!(found, Err(-32602), "{shown:?}");
                continue;
            }
            let received = found.unwrap_or_else(|code| panic!("{tool} {shown:?}: {code}"));
            assert_eq!(frame(&received), frame(&plain), "{shown:?}");
            let argument = received.target.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            let argument = argument.unwrap_or_else(|| panic!("{shown:?} moved the path: {}", received.target));
            let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$'()*,;:@&=+".contains(&byte);
            assert!(argument.bytes().all(unreserved), "{shown:?} is not one segment: {argument}");
            assert_eq!(decoded(argument), text, "{shown:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_one_value_of_a_query() {
    let guarded = Guarded::start().await;
    let plain = guarded.call("query", r#"{"v":"plain"}"#).await.unwrap();
    assert_eq!(plain.target, "/base/search?fixed=1&q=plain");
    for text in texts() {
        let shown: String = text.chars().take(60).collect();
        let received = guarded.call("query", &json!({"v": text, "other": "OTHER"}).to_string()).await;
        let received = received.unwrap_or_else(|code| panic!("{shown:?}: {code}"));
        assert_eq!(frame(&received), frame(&plain), "{shown:?}");
        let pairs: Vec<(&str, &str)> = received
            .target
            .strip_prefix("/base/search?")
            .unwrap()
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        let [("fixed", "1"), ("q", value)] = pairs[..] else {
            panic!("{shown:?} moved the query: {}", received.target)
        };
        assert!(!value.contains(['#', ' ', '+']), "{shown:?}: {value}");
        assert_eq!(decoded(value), text, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_a_string_in_a_body() {
    let guarded = Guarded::start().await;
    let plain = guarded.call("body", r#"{"v":"plain"}"#).await.unwrap();
    for text in texts() {
        let shown: String = text.chars().take(60).collect();
        let received = guarded.call("body", &json!({"v": text, "other": "OTHER"}).to_string()).await;
        let received = received.unwrap_or_else(|code| panic!("{shown:?}: {code}"));
        assert_eq!(frame(&received), frame(&plain), "{shown:?}");
        assert_eq!(received.target, "/base/notes");
        let expected = json!({"whole": text, "text": format!("<{text}>"), "in": {"list": [1, text]}});
        assert_eq!(received.json(), expected, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_other_types_keep_their_digits_and_their_keys() {
    let guarded = Guarded::start().await;
    let deep = format!("{}1{}", "[".repeat(59), "]".repeat(59));
    for value in [
        "null",
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
        let received = guarded.call("body", &format!(r#"{{"v":{value},"other":"OTHER"}}"#)).await;
        let text = match received {
            // A list or an object has no place in the middle of a text: the call may be refused, and was before any effect.
            Err(code) => {
                assert!(value.starts_with(['[', '{']) || value == "null", "{value}: {code}");
                continue;
            }
            Ok(received) => String::from_utf8(received.body).unwrap(),
        };
        let whole = format!(r#""whole":{value}"#);
        assert!(text.contains(&whole), "{value} is not whole in {text}");
        assert!(text.contains(&format!(r#"[1,{value}]"#)), "{value} is not in its list in {text}");
    }
    for (value, code) in
        [("1e400", -32600), ("-1e400", -32600), ("01", -32700), ("NaN", -32700), ("\"\\ud800\"", -32700)]
    {
        for tool in ["body", "query", "path"] {
            assert_eq!(guarded.call(tool, &format!(r#"{{"v":{value}}}"#)).await, Err(code), "{tool} {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_larger_than_their_bound_are_refused() {
    let guarded = Guarded::start().await;
    let fits = "x".repeat(64 * 1024 - 100);
    assert_eq!(guarded.call("body", &json!({"v": fits}).to_string()).await.unwrap().json()["whole"], fits);
    for length in [64 * 1024, 100_000, 1_000_000] {
        assert_eq!(guarded.call("body", &json!({"v": "x".repeat(length)}).to_string()).await, Err(-32602), "{length}");
        assert_eq!(guarded.call("body", &json!({"v": 1, "other": "x".repeat(length)}).to_string()).await, Err(-32602));
    }
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "body", "arguments": {"v": "x".repeat(1024 * 1024)}}});
    assert_eq!(guarded.server.ask(&post(AGENT, &message)).await.unwrap().status, 413);
    assert_eq!(guarded.backend.received(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_sends_beside_the_arguments_reaches_no_backend() {
    let guarded = Guarded::start().await;
    let plain = guarded.call("path", r#"{"v":"plain"}"#).await.unwrap();
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "path", "arguments": {"v": "plain"}, "_meta": {"progressToken": 1, "x": "canary"}}});
    let mut request = post(AGENT, &message);
    for (name, value) in [
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=canary"),
        ("Cookie", "a=canary"),
        ("X-Canary", "canary"),
        ("User-Agent", "canary"),
        ("Via", "canary"),
        ("Proxy-Authorization", "canary"),
        ("TE", "trailers"),
        ("X-HTTP-Method-Override", "DELETE"),
    ] {
        request = request.with(name, value);
    }
    assert_eq!(guarded.server.ask(&request).await.unwrap().status, 200);
    let received = guarded.backend.take();
    assert_eq!(received.len(), 1);
    assert_eq!((received[0].target.as_str(), frame(&received[0])), ("/base/contacts/plain/history", frame(&plain)));
    let names: Vec<String> = received[0].headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    for name in &names {
        assert!(
            ["host", "accept", "user-agent", "accept-encoding", "content-type"].contains(&name.as_str()),
            "{names:?}"
        );
    }
}
