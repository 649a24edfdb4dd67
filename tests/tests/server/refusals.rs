//! Every row of the table of refusals, over the wire: its status, its headers, its words.

use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{Server, call, policy, post, rpc};
use serde_json::{Value, json};

use crate::common::*;

struct Case {
    what: &'static str,
    request: Request,
    expected: Value,
}

fn case(what: &'static str, request: Request, expected: Value) -> Case {
    Case { what, request, expected }
}

fn plain(status: u16, words: &str) -> Value {
    answer(status, json!({"error": words}))
}

async fn check(server: &Server, cases: Vec<Case>) {
    for Case { what, request, expected } in cases {
        let found = server.ask(&request).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(whole(&found), expected, "{what}");
    }
}

fn list() -> Value {
    rpc("tools/list", json!({}))
}

#[tokio::test]
async fn who_does_not_prove_who_it_is_gets_a_401_in_the_words_of_its_mistake() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let required = plain(401, "API key required");
    let invalid = plain(401, "Invalid API key");
    let nobody = Request::post("/mcp", list().to_string());
    check(
        &server,
        vec![
            case("nothing", nobody.clone(), required.clone()),
            case("another header", nobody.clone().with("Authorization", &format!("Bearer {AGENT}")), required.clone()),
            case("an unknown key", post("wrong", &list()), invalid.clone()),
            case("an empty key", post("", &list()), required.clone()),
            case("a key and more", post(&format!("{AGENT}x"), &list()), invalid.clone()),
            case("a key and less", post(&AGENT[1..], &list()), invalid.clone()),
            case(
                "a digest for the key",
                post(&portcullis_crds::credentials::KeyDigest::of(AGENT.as_bytes()).key_id(), &list()),
                invalid.clone(),
            ),
            case("a key twice", post(AGENT, &list()).with("x-api-key", AGENT), invalid.clone()),
            case("two keys", post(AGENT, &list()).with("x-api-key", READER), invalid.clone()),
            case("a key and a token", post(AGENT, &list()).with("Authorization", "Bearer x"), invalid),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_client_that_is_suspended_or_expired_gets_a_403_with_a_good_key() {
    for change in ["suspended: true, id: agent", "expiresAt: \"2020-01-01T00:00:00Z\", id: agent"] {
        let text = policy_text(NOWHERE).replace("id: agent", change);
        let server = Server::start(&policy(&text).unwrap(), &keys()).await.unwrap();
        for request in [post(AGENT, &list()), call(AGENT, "echo", json!({"text": "x"}))] {
            let found = server.ask(&request).await.unwrap();
            assert_eq!(whole(&found), plain(403, "Client not recognised"), "{change}");
        }
        assert_eq!(server.call(READER, "echo", json!({"text": "x"})).await.unwrap().status, 200, "another client");
    }
}

#[tokio::test]
async fn a_tool_that_is_denied_and_one_that_is_not_there_get_the_same_words() {
    let text = policy_text(NOWHERE)
        .replace("uid: uid-reader, tools: [echo, find, note]", "uid: uid-reader, tools: [find, note]");
    let server = Server::start(&policy(&text).unwrap(), &keys()).await.unwrap();
    let denied = |name: &str| answer(200, error(-32602, &format!("Tool '{name}' is not permitted for this client")));
    check(
        &server,
        vec![
            case("not granted", call(READER, "echo", json!({"text": "x"})), denied("echo")),
            case("it writes", call(READER, "note", json!({"id": "1", "text": "x"})), denied("note")),
            case("unknown", call(READER, "delete_everything", json!({})), denied("delete_everything")),
            case("unknown to all", call(AGENT, "delete_everything", json!({})), denied("delete_everything")),
            case("another case", call(AGENT, "Echo", json!({"text": "x"})), denied("Echo")),
            case(
                "denied before its arguments are looked at",
                call(READER, "echo", json!({"wrong": 1})),
                denied("echo"),
            ),
        ],
    )
    .await;
    let listed = server.ask(&post(READER, &list())).await.unwrap().json();
    let names: Vec<&str> =
        listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["find"]);
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_named_by_keyword_and_path_and_never_by_value() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let canary = "canary-7f3a";
    for (what, arguments, keyword, place) in [
        ("none", json!({}), "required", ""),
        ("a wrong type", json!({"text": {"canary-7f3a": "canary-7f3a"}}), "type", "/text"),
        ("too long", json!({"text": canary.repeat(30)}), "maxLength", "/text"),
        ("one that is not declared", json!({"text": "x", "canary-7f3a": "canary-7f3a"}), "additionalProperties", ""),
    ] {
        let found = server.call(AGENT, "echo", arguments).await.unwrap();
        let body = found.json();
        let message = body["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(whole(&found), answer(200, error(-32602, &message)), "{what}");
        assert!(message.contains(keyword) && message.contains(place), "{what}: {message}");
        assert!(!message.contains(canary), "{what}: {message}");
    }
    for arguments in [json!([]), json!("x"), json!(null), json!(1)] {
        let found = server.call(AGENT, "echo", arguments.clone()).await.unwrap();
        assert_eq!(found.status, 200, "{arguments}: {}", found.text());
        assert_eq!(found.json()["error"]["code"], -32602, "{arguments}: {}", found.text());
    }
}

#[tokio::test]
async fn over_a_limit_it_is_a_429_that_says_when_to_come_back() {
    let text = policy_text(NOWHERE).replace("uid: uid-agent, tools", "uid: uid-agent, x: 1, tools");
    let text = text.replace("x: 1, ", "").replacen("{requests: 1000000, per: 1s}", "{requests: 1, per: 1h}", 1);
    let server = Server::start(&policy(&text).unwrap(), &keys()).await.unwrap();
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200);
    let request = post(
        AGENT,
        &json!({"jsonrpc": "2.0", "id": "é\"", "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": "x"}}}),
    );
    let found = server.ask(&request).await.unwrap();
    let seconds: u64 = found.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    let message = format!("Rate limit exceeded. Retry after {seconds} seconds.");
    let body = json!({"jsonrpc": "2.0", "id": "é\"", "error": {"code": 429, "message": message}});
    assert_eq!(whole(&found), answer_with(429, "retry-after", &seconds.to_string(), body));
}

#[tokio::test]
async fn a_backend_that_fails_is_a_tool_result_that_says_so() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let found = server.call(AGENT, "find", json!({"query": "x"})).await.unwrap();
    let words = text(&found);
    assert!(!words.is_empty(), "{}", found.text());
    let result = json!({"content": [{"type": "text", "text": words}], "isError": true});
    assert_eq!(whole(&found), answer(200, json!({"jsonrpc": "2.0", "id": 1, "result": result})));
}

#[tokio::test]
async fn what_is_wrong_with_the_request_line_and_its_headers_has_a_status_of_its_own() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let good = post(AGENT, &list());
    let not_allowed = answer_with(405, "allow", "POST", json!({"error": "Method not allowed; MCP is served by POST"}));
    let not_found = plain(404, "Not found; MCP is served at /mcp");
    let misdirected = plain(421, "This server is not addressed by that host");
    let foreign = plain(403, "Requests from web pages are not served");
    let not_acceptable = plain(406, "The answer is application/json; Accept must admit it");
    let unsupported = plain(415, "The body must be application/json, without a content encoding");
    check(
        &server,
        vec![
            case("another method", good.clone().method("PUT"), not_allowed.clone()),
            case(
                "GET of a stream",
                Request::get("/mcp").with("x-api-key", AGENT).with("Accept", "text/event-stream"),
                not_allowed.clone(),
            ),
            case("a method nobody knows", good.clone().method("BREW"), not_allowed),
            case("another path", good.clone().target("/"), not_found.clone()),
            case("a path below", good.clone().target("/mcp/"), not_found.clone()),
            case("a path in other letters", good.clone().target("/MCP"), not_found),
            case("a foreign host", good.clone().replacing("Host", "evil.example"), misdirected.clone()),
            case("a host that begins well", good.clone().replacing("Host", "localhost.evil.example"), misdirected),
            case("a foreign origin", good.clone().with("Origin", "https://evil.example"), foreign.clone()),
            case("its own origin", good.clone().with("Origin", &format!("http://{}", server.listen)), foreign.clone()),
            case("no origin at all", good.clone().with("Origin", "null"), foreign),
            case("only text wanted", good.clone().replacing("Accept", "text/html"), not_acceptable),
            case("text sent", good.clone().replacing("Content-Type", "text/plain"), unsupported.clone()),
            case(
                "a form sent",
                good.clone().replacing("Content-Type", "application/x-www-form-urlencoded"),
                unsupported.clone(),
            ),
            case("compressed", good.clone().with("Content-Encoding", "gzip"), unsupported),
        ],
    )
    .await;
    for host in ["crm.sales.svc", "crm.sales.svc:3000", "CRM.sales.svc", "127.0.0.1:1", "[::1]:3000", "localhost:3000"]
    {
        let found = server.ask(&good.clone().replacing("Host", host)).await.unwrap();
        assert_eq!(found.status, 200, "{host}: {}", found.text());
    }
    for accept in ["application/json", "*/*", "application/*", "text/event-stream;q=0.5, application/json"] {
        let found = server.ask(&good.clone().replacing("Accept", accept)).await.unwrap();
        assert_eq!(found.status, 200, "{accept}: {}", found.text());
    }
}

#[tokio::test]
async fn headers_and_body_of_the_stateless_revision_must_agree() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}, "io.modelcontextprotocol/clientCapabilities": {}});
    let body = rpc("tools/call", json!({"name": "echo", "arguments": {"text": "x"}, "_meta": meta}));
    let good = post(AGENT, &body)
        .with("MCP-Protocol-Version", "2026-07-28")
        .with("Mcp-Method", "tools/call")
        .with("Mcp-Name", "echo");
    let served = server.ask(&good).await.unwrap();
    let result = json!({"resultType": "complete", "content": [{"type": "text", "text": "you said x"}]});
    let mut found = whole(&served);
    // Who serves may be said or not; what is served is what counts here.
    found["body"]["result"].as_object_mut().unwrap().retain(|key, _| key != "_meta" && key != "isError");
    assert_eq!(found, answer(200, json!({"jsonrpc": "2.0", "id": 1, "result": result})));
    for (what, request) in [
        ("another version", good.clone().replacing("MCP-Protocol-Version", "2025-11-25")),
        ("no version", good.clone().without("MCP-Protocol-Version")),
        ("another method", good.clone().replacing("Mcp-Method", "tools/list")),
        ("no method", good.clone().without("Mcp-Method")),
        ("another name", good.clone().replacing("Mcp-Name", "find")),
        ("no name", good.clone().without("Mcp-Name")),
        ("a name twice", good.clone().with("Mcp-Name", "echo")),
        ("a method in other letters", good.clone().replacing("Mcp-Method", "Tools/Call")),
    ] {
        let found = server.ask(&request).await.unwrap();
        let message = found.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(whole(&found), answer(400, error(-32020, &message)), "{what}");
        assert!(message.starts_with("Header mismatch"), "{what}: {message}");
    }
    let old = server.ask(&post(AGENT, &list()).with("MCP-Protocol-Version", "1999-01-01")).await.unwrap();
    let data =
        json!({"supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"], "requested": "1999-01-01"});
    let mut expected = error(-32022, "Unsupported protocol version");
    expected["error"]["data"] = data;
    assert_eq!(whole(&old), answer(400, expected));
    let unknown = server.ask(&post(AGENT, &rpc("tools/delete", json!({})))).await.unwrap();
    assert_eq!(whole(&unknown), answer(404, error(-32601, "Method not found")));
}

#[tokio::test]
async fn too_much_is_a_413_or_a_431_and_others_are_served_meanwhile() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    let limit = 1024 * 1024;
    let body = |length: usize| {
        let mut text = rpc("ping", json!({})).to_string();
        text.push_str(&" ".repeat(length - text.len()));
        text
    };
    let at_the_bound = server.ask(&Request::post("/mcp", body(limit)).with("x-api-key", AGENT)).await.unwrap();
    assert_eq!(whole(&at_the_bound), answer(200, json!({"jsonrpc": "2.0", "id": 1, "result": {}})));

    // The length is said first; nothing of the body need be read.
    let mut connection = Connection::open(server.listen).await.unwrap();
    let request = Request::post("/mcp", "").with("x-api-key", AGENT).with("Content-Length", &(limit + 1).to_string());
    connection.send(&request.bytes()).await.unwrap();
    assert_eq!(connection.answer().await.unwrap().status, 413);

    // The length is not said; the body is refused as it passes the bound.
    let mut connection = Connection::open(server.listen).await.unwrap();
    let request = Request::post("/mcp", "").with("x-api-key", AGENT).with("Transfer-Encoding", "chunked");
    connection.send(&request.bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", limit + 1, " ".repeat(limit + 1));
    // It may be answered, and closed, before all of it is sent.
    let _ = connection.send(chunk.as_bytes()).await;
    assert_eq!(connection.answer().await.unwrap().status, 413);

    let large = server.ask(&post(AGENT, &list()).with("x-large", &"x".repeat(16 * 1024))).await.unwrap();
    assert_eq!(large.status, 431, "{}", large.text());
    let long = server.ask(&post(AGENT, &list()).target(&format!("/{}", "x".repeat(17 * 1024)))).await.unwrap();
    assert_eq!(long.status, 431, "{}", long.text());
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200);
}
