//! The scenarios, each with the words that it provokes.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{TestServer, call, post, rpc};
use portcullis_tests::{PATIENCE, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::backends::{server_with_busy_backend, with_read};
use crate::fixtures::*;

/// Something that happens to a server, and what the server says of it.
pub struct Scenario {
    pub what: &'static str,
    pub words: &'static [&'static str],
    pub run: fn() -> LocalBoxFuture<'static, TestServer>,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        what: "a call and a notification",
        words: &[
            "event=server_started",
            "event=policy_loaded",
            "event=auth_success",
            "event=tool_call_start",
            "event=tool_call_success",
            "reloads.outcome=loaded",
            "authentications.outcome=success",
            "tool_calls.outcome=success",
            "responses.status=200",
            "responses.status=202",
        ],
        run: || served().boxed_local(),
    },
    Scenario {
        what: "callers that are not authenticated",
        words: &[
            "event=auth_failed",
            "auth_failed.reason=missing",
            "auth_failed.reason=unknown_key",
            "auth_failed.reason=ambiguous",
            "authentications.outcome=failed",
            "responses.status=401",
        ],
        run: || unauthenticated().boxed_local(),
    },
    Scenario {
        what: "clients without access",
        words: &[
            "event=client_refused",
            "client_refused.reason=not_recognised",
            "client_refused.reason=suspended",
            "client_refused.reason=expired",
            "authentications.outcome=refused",
            "responses.status=403",
        ],
        run: || clients_without_access().boxed_local(),
    },
    Scenario {
        what: "requests that are refused for their form",
        words: &[
            "event=request_refused",
            "responses.status=400",
            "responses.status=404",
            "responses.status=405",
            "responses.status=406",
            "responses.status=408",
            "responses.status=413",
            "responses.status=415",
            "responses.status=421",
        ],
        run: || malformed_requests().boxed_local(),
    },
    Scenario {
        what: "calls of tools that are denied, and with arguments that do not fit",
        words: &[
            "event=tool_access_denied",
            "tool_access_denied.reason=not_granted",
            "tool_access_denied.reason=write_not_allowed",
            "tool_access_denied.reason=unknown",
            "event=arguments_refused",
            "tool_calls.outcome=denied",
            "tool_calls.outcome=invalid",
        ],
        run: || refused_calls().boxed_local(),
    },
    Scenario {
        what: "calls over each limit",
        words: &[
            "event=rate_limit_exceeded",
            "rate_limit_exceeded.limit=tool",
            "rate_limit_exceeded.limit=client",
            "rate_limit_exceeded.limit=share",
            "rate_limit_exceeded.limit=global",
            "rate_limit_exceeded.limit=request_allowance",
            "tool_calls.outcome=limited",
            "responses.status=429",
        ],
        run: || calls_over_limits().boxed_local(),
    },
    Scenario {
        what: "too many calls in flight",
        words: &["rate_limit_exceeded.limit=in_flight"],
        run: || calls_in_flight().boxed_local(),
    },
    Scenario {
        what: "calls that fail at their backend",
        words: &[
            "event=tool_call_error",
            "tool_call_error.error=backend_status",
            "tool_call_error.error=backend_timeout",
            "tool_call_error.error=answer_malformed",
            "tool_call_error.error=answer_too_large",
            "tool_call_error.error=records_missing",
            "tool_call_error.error=disconnected",
            "tool_calls.outcome=error",
        ],
        run: || failed_calls().boxed_local(),
    },
    Scenario {
        what: "a backend that is down",
        words: &["tool_call_error.error=backend_unreachable", "tool_call_error.error=backend_suspended"],
        run: || backend_down().boxed_local(),
    },
    Scenario {
        what: "a backend with all the calls that it may have",
        words: &["tool_call_error.error=backend_busy"],
        run: || server_with_busy_backend().boxed_local(),
    },
    Scenario {
        what: "a log that is blocked",
        words: &["tool_call_error.error=audit_blocked", "tool_calls.outcome=blocked", "responses.status=503"],
        run: || blocked_log().boxed_local(),
    },
    Scenario {
        what: "a blocked log under a policy that drops records",
        words: &["event=records_dropped"],
        run: || dropped_records().boxed_local(),
    },
    Scenario {
        what: "documents that are refused",
        words: &[
            "event=policy_refused",
            "policy_refused.document=policy",
            "policy_refused.document=credentials",
            "reloads.outcome=refused",
        ],
        run: || refused_documents().boxed_local(),
    },
    Scenario { what: "a stop", words: &["event=server_stopping"], run: || stopped().boxed_local() },
];

async fn send_all(server: &TestServer, requests: impl IntoIterator<Item = Request>) {
    for request in requests {
        server.send(&request).await.unwrap();
    }
}

fn ping(key: &str) -> Request {
    post(key, &rpc("ping", json!({})))
}

async fn served() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    send_all(&server, [call(AGENT, "echo", json!({"text": "x"})), post(AGENT, &notification)]).await;
    server
}

async fn unauthenticated() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    let missing = ping("").without("x-api-key");
    send_all(&server, [missing, ping("unknown"), ping(AGENT).with("x-api-key", AGENT)]).await;
    server
}

async fn clients_without_access() -> TestServer {
    let mut document = document(NOWHERE);
    client_of(&mut document, "agent")["suspended"] = json!(true);
    client_of(&mut document, "reader")["expiresAt"] = json!("2020-01-01T00:00:00Z");
    let ids = ["agent", "reader", "removed"];
    let server = start_for(&document, &ids).await;
    send_all(&server, ids.map(|id| ping(&key_of(id)))).await;
    server
}

async fn malformed_requests() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    let requests = [
        Request::post("/mcp", "{").with("x-api-key", AGENT),
        post(AGENT, &rpc("unknown/method", json!({}))),
        ping(AGENT).method("PUT"),
        ping(AGENT).replacing("Accept", "text/html"),
        ping(AGENT).replacing("Content-Type", "text/plain"),
        ping(AGENT).replacing("Host", "evil.example"),
        Request::post("/mcp", " ".repeat(1024 * 1024 + 1)).with("x-api-key", AGENT),
    ];
    send_all(&server, requests).await;
    let mut slow = Connection::open(server.listen).await.unwrap();
    let head = Request::post("/mcp", "").with("x-api-key", AGENT).with("Content-Length", "1000");
    slow.write(&head.bytes()).await.unwrap();
    slow.response().await.unwrap();
    server
}

async fn refused_calls() -> TestServer {
    let mut document = document(NOWHERE);
    client_of(&mut document, "reader")["tools"] = json!(["note"]);
    let server = start(&document).await;
    let calls = [
        call(READER, "echo", json!({"text": "x"})),
        call(READER, "note", json!({"id": "7", "text": "x"})),
        call(READER, "unknown", json!({})),
        call(AGENT, "echo", json!({"text": 5})),
    ];
    send_all(&server, calls).await;
    server
}

async fn calls_over_limits() -> TestServer {
    let an_hour = |requests: u32| json!({"requests": requests, "per": "1h"});
    let mut document = document(NOWHERE);
    tool_of(&mut document, "find")["expensive"] = json!(true);
    document["spec"]["limits"]["expensiveTools"] = an_hour(1);
    document["spec"]["limits"]["global"] = json!({"requests": 10, "per": "1h", "maxShare": 30});
    let ids = ["a", "b", "c", "d", "e"];
    let clients = ids.map(|id| client(id, &["echo", "find"], 10, false));
    document["clients"] = clients.into();
    client_of(&mut document, "a")["limits"] = json!([an_hour(1)]);
    let server = start_for(&document, &ids).await;
    let echo = |id: &str| call(&key_of(id), "echo", json!({"text": "x"}));
    let find = |id: &str| call(&key_of(id), "find", json!({"query": "x"}));
    // `a` may make one call, so that its allowance for other requests is ten.
    send_all(&server, [echo("a"), echo("a")]).await;
    send_all(&server, vec![ping(&key_of("a")); 11]).await;
    // `b` may call the expensive tool once, and has a share of three calls of all.
    send_all(&server, [find("b"), find("b"), echo("b"), echo("b"), echo("b")]).await;
    // With the shares of `c` and `d`, all ten calls are used.
    send_all(&server, vec![echo("c"); 3]).await;
    send_all(&server, vec![echo("d"); 3]).await;
    send_all(&server, [echo("e")]).await;
    server
}

async fn calls_in_flight() -> TestServer {
    let backend = Backend::start(|_| Reply::Silence).await.unwrap();
    let server = start(&document(&backend.url())).await;
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let address = server.listen;
        calls.spawn(async move {
            let request = call(AGENT, "find", json!({"query": "x"}));
            portcullis_tests::http::send(address, &request).await
        });
    }
    server.log.at_least(32, "tool_call_start", PATIENCE).await.unwrap();
    send_all(&server, [call(AGENT, "echo", json!({"text": "x"}))]).await;
    server
}

async fn failed_calls() -> TestServer {
    let backend = Backend::start(|request| match request.target.trim_start_matches("/things/") {
        "status" => Reply::Json(500, json!({})),
        "malformed" => Reply::response(200, "{"),
        "large" => Reply::response(200, format!("[{}1]", "1,".repeat(3 * 1024 * 1024))),
        "silent" => Reply::Silence,
        _ => Reply::Json(200, json!({"no": "list"})),
    })
    .await
    .unwrap();
    let server = start(&with_read(&backend.url())).await;
    let read = |id: &str| call(AGENT, "read", json!({"id": id}));
    send_all(&server, ["status", "malformed", "large", "silent"].map(read)).await;
    send_all(&server, [call(AGENT, "find", json!({"query": "x"}))]).await;
    let calls = server.log.events("tool_call_start").unwrap().len();
    let mut connection = Connection::open(server.listen).await.unwrap();
    connection.write(&read("silent").bytes()).await.unwrap();
    server.log.at_least(calls + 1, "tool_call_start", PATIENCE).await.unwrap();
    server
}

async fn backend_down() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    send_all(&server, vec![call(AGENT, "find", json!({"query": "x"})); 6]).await;
    server
}

async fn blocked_log() -> TestServer {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let server = start(&document(&backend.url())).await;
    server.log.pause().await.unwrap();
    // More records than the pipe takes.
    send_all(&server, vec![call(READER, "echo", json!({"text": "x"})); 150]).await;
    send_all(&server, [call(AGENT, "note", json!({"id": "7", "text": "x"}))]).await;
    server.log.resume();
    server
}

/// Fills the 32 MiB that may wait for the log with the records of calls whose arguments have long names.
async fn dropped_records() -> TestServer {
    let names: Vec<String> = (0..16).map(|n| format!("{n}{}", "x".repeat(90))).collect();
    let arguments: Value = names.iter().map(|name| (name.clone(), json!(1))).collect();
    let properties: Value = names.iter().map(|name| (name.clone(), json!({}))).collect();
    let mut document = document(NOWHERE);
    document["spec"]["audit"] = json!({"onOverflow": "Drop"});
    tool_of(&mut document, "echo")["inputSchema"] = json!({"type": "object", "properties": properties});
    tool_of(&mut document, "echo")["static"] = json!({"text": "x"});
    let server = start(&document).await;
    server.log.pause().await.unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (address, request) = (server.listen, call(AGENT, "echo", arguments.clone()));
        callers.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            loop {
                connection.send(&request).await.unwrap();
            }
        });
    }
    let is_dropped = |page: &str| !page.contains("portcullis_audit_records_dropped_total 0\n");
    eventually(PATIENCE, async || {
        let page = server.admin("/metrics").await.map_err(|error| error.to_string())?.text();
        if is_dropped(&page) { Ok(()) } else { Err(format!("no record is dropped:\n{page}")) }
    })
    .await
    .unwrap();
    callers.shutdown().await;
    server.log.resume();
    server
}

async fn refused_documents() -> TestServer {
    let server = start(&document(NOWHERE)).await;
    server.config.write_text(Some("contract: 2"), Some("contract: 2")).unwrap();
    server
}

async fn stopped() -> TestServer {
    let mut server = start(&document(NOWHERE)).await;
    server.signal(Signal::TERM).unwrap();
    server.ended(PATIENCE).await.unwrap();
    server
}
