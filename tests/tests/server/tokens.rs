//! Tokens of OAuth for backends: asked for once, kept, replaced, and told to nobody, whatever the endpoint answers.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use portcullis_tests::{
    PATIENCE,
    backend::{Backend, Gate, Received, Reply},
    http::{self, Request},
    server::{LOOPBACK, TestServer},
    until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::expected::*;
use crate::fixtures::*;

/// The client secret, which only the token endpoint may see.
const SECRET: &str = "canary s3cr3t:/+";
/// What an endpoint says, which nobody may see.
const CANARY: &str = "canary-of-the-endpoint";

struct Fixture {
    server: TestServer,
    secrets: TempDir,
}

async fn start_with(api: &Backend, endpoint: &Backend) -> Fixture {
    start_with_timeout(api, endpoint, "30s").await
}

async fn start_with_timeout(api: &Backend, endpoint: &Backend, timeout: &str) -> Fixture {
    let secrets = tempfile::tempdir().unwrap();
    fs::create_dir(secrets.path().join("crm-oauth")).unwrap();
    fs::write(secrets.path().join("crm-oauth/secret"), format!("{SECRET}\n")).unwrap();
    let mut document = document(&api.url());
    tool_of(&mut document, "find")["timeout"] = json!(timeout);
    document["spec"]["backends"][0]["credentials"] = json!({"clientCredentials": {
        "tokenUrl": format!("{}/oauth/token", endpoint.url()), "clientId": "crm guard",
        "clientSecretRef": {"name": "crm-oauth", "key": "secret"}, "audience": "crm", "scopes": ["a:read", "b"],
    }});
    let arguments = [LOOPBACK, "--secrets", secrets.path().to_str().unwrap()];
    let server = TestServer::start_with(&parsed(&document), &keys(), &arguments).await.unwrap();
    Fixture { server, secrets }
}

async fn find(server: &TestServer) -> Value {
    server.call(AGENT, "find", json!({"query": "x"})).await.unwrap().to_value()
}

/// An endpoint that grants `token-1`, `token-2` and so on.
async fn granting() -> Backend {
    let granted = AtomicUsize::new(0);
    let grant = move |_: &Received| {
        let token = format!("token-{}", granted.fetch_add(1, SeqCst) + 1);
        Reply::Json(200, json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
    };
    Backend::start(grant).await.unwrap()
}

fn authorizations(backend: &Backend) -> Vec<String> {
    let calls = backend.take().into_iter().filter(|request| !request.target.starts_with("/healthz"));
    calls.map(|request| request.header("authorization").unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn one_request_gets_the_token_for_all_calls_that_wait_and_it_is_kept() {
    let (api, endpoint) = (Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap(), granting().await);
    let fixture = start_with(&api, &endpoint).await;
    join_all((0..8).map(|_| find(&fixture.server))).await;
    find(&fixture.server).await;
    assert_eq!(authorizations(&api), vec!["Bearer token-1"; 9]);
    let requests = endpoint.take();
    let of = |request: &Received| {
        let header = |name| request.header(name).unwrap_or_default().to_owned();
        let body = String::from_utf8(request.body.clone()).unwrap();
        (request.method.clone(), request.target.clone(), header("authorization"), header("content-type"), body)
    };
    // The Base64 of `crm+guard:canary+s3cr3t%3A%2F%2B`.
    let basic = "Basic Y3JtK2d1YXJkOmNhbmFyeStzM2NyM3QlM0ElMkYlMkI=";
    let body = "grant_type=client_credentials&audience=crm&scope=a%3Aread+b";
    let expected = ["POST", "/oauth/token", basic, "application/x-www-form-urlencoded", body].map(str::to_owned);
    let [method, target, basic, form, body] = expected;
    assert_eq!(requests.iter().map(of).collect::<Vec<_>>(), [(method, target, basic, form, body)]);
}

#[tokio::test]
async fn a_token_that_the_backend_refuses_is_replaced_once_and_the_call_is_not_repeated() {
    let refuse = |request: &Received| {
        Reply::response(401, format!("not {}", request.header("authorization").unwrap_or_default()))
    };
    let (api, endpoint) = (Backend::start(refuse).await.unwrap(), granting().await);
    let fixture = start_with(&api, &endpoint).await;
    let message = "Backend 'api' responded with status 401: not Bearer [redacted]";
    for _ in 0..3 {
        let answer = find(&fixture.server).await;
        assert_eq!(answer, response(200, rpc_result(tool_error(message))), "the token is not told");
    }
    assert_eq!(authorizations(&api), ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);
    assert_eq!(endpoint.take().len(), 2);
}

#[tokio::test]
async fn whatever_an_endpoint_answers_calls_fail_without_a_word_of_it_and_it_is_not_asked_at_once_again() {
    let other = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let location = other.url();
    let status = |status: u16| format!("the token endpoint responded with status {status}");
    let response_is = |what: &str| format!("the response of the token endpoint {what}");
    let token = |token: &str| json!({"access_token": token, "token_type": "bearer"});
    let redirect = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let mac = json!({"access_token": CANARY, "token_type": "mac"});
    let huge = token(&"t".repeat(100 * 1024)).to_string();
    let breaking = token(&format!("{CANARY}\r\nX-Admin: 1"));
    for (reply, why) in [
        (Reply::response(400, format!("{{\"error_description\": \"{CANARY}\"}}")), status(400)),
        (Reply::response(500, CANARY), status(500)),
        (Reply::Bytes(redirect.into()), status(307)),
        (Reply::response(200, CANARY), response_is("is not JSON")),
        (Reply::response(200, huge), response_is("is incomplete or larger than 64 KiB")),
        (Reply::Json(200, mac), response_is("has another token_type than bearer")),
        (Reply::Json(200, breaking), response_is("has an access_token that no header can have")),
        (Reply::Close, "the token endpoint could not be reached".to_owned()),
    ] {
        let api = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
        let endpoint = Backend::start(move |_| reply.clone()).await.unwrap();
        let Fixture { server, secrets: _secrets } = start_with(&api, &endpoint).await;
        let message = format!("Backend 'api' was not called: {why}.");
        let began = std::time::Instant::now();
        for answer in [find(&server).await, find(&server).await] {
            assert_eq!(answer, response(200, rpc_result(tool_error(&message))));
        }
        if began.elapsed().as_millis() < 900 {
            assert_eq!(endpoint.take().len(), 1, "{why}");
        }
        let record = server.log.event("tool_call_error", PATIENCE).await.unwrap();
        assert_eq!(record["error"], "backend_credentials");
        let health = http::send(server.admin, &Request::get("/health")).await.unwrap();
        assert_eq!(health.json()["checks"]["api"]["status"], "degraded", "{why}");
        let echo = server.call(AGENT, "echo", json!({"text": "a"})).await.unwrap();
        assert_eq!(echo.to_value(), response(200, rpc_result(echoed("a"))));
        let metrics = http::send(server.admin, &Request::get("/metrics")).await.unwrap();
        let seen = [server.log.lines(), server.log.stderr(), vec![health.text(), metrics.text()]].concat().concat();
        assert!(!seen.contains("canary"), "{why}: {seen}");
        assert!(authorizations(&api).is_empty(), "no call is sent without its token");
    }
    assert_eq!(other.received(), [], "no redirect is followed");
}

/// An endpoint whose tokens are valid for so many seconds, and that fails from the second request on until it is told to recover.
async fn failing_once_granted(seconds: u64, is_down: Arc<AtomicBool>) -> Backend {
    let granted = AtomicUsize::new(0);
    let grant = move |_: &Received| {
        if granted.load(SeqCst) > 0 && is_down.load(SeqCst) {
            return Reply::response(503, CANARY);
        }
        let token = format!("token-{}", granted.fetch_add(1, SeqCst) + 1);
        Reply::Json(200, json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds}))
    };
    Backend::start(grant).await.unwrap()
}

#[tokio::test]
async fn a_token_serves_until_it_expires_while_the_endpoint_is_down_and_calls_go_on_once_it_is_back() {
    let is_down = Arc::new(AtomicBool::new(true));
    let api = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
    let endpoint = failing_once_granted(10, is_down.clone()).await;
    let Fixture { server, secrets: _secrets } = start_with(&api, &endpoint).await;
    let is_served = async || find(&server).await["body"]["result"]["isError"] == false;
    let began = Instant::now();
    assert!(is_served().await);
    // Another one is asked for after 8 s, which fails.
    until(PATIENCE, async || {
        let served = is_served().await;
        match endpoint.received().len() {
            1 if served => Err("no other token was asked for"),
            _ => Ok(()),
        }
    })
    .await;
    if began.elapsed() < Duration::from_secs(9) {
        assert!(is_served().await, "the token is valid");
    }
    until(PATIENCE, async || if is_served().await { Err("it is still served") } else { Ok(()) }).await;
    assert!(began.elapsed() >= Duration::from_secs(10));
    is_down.store(false, SeqCst);
    until(PATIENCE, async || if is_served().await { Ok(()) } else { Err("it is not served again") }).await;
    let sent = authorizations(&api);
    assert_eq!(
        (sent.first().map(String::as_str), sent.last().map(String::as_str)),
        (Some("Bearer token-1"), Some("Bearer token-2"))
    );
}

#[tokio::test]
async fn a_slow_endpoint_costs_a_call_no_more_than_its_timeout_and_a_caller_that_leaves_takes_no_token_from_others() {
    let gate = Gate::closed();
    let held = gate.clone();
    let api = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
    let endpoint =
        Backend::start(move |_| Reply::Json(200, json!({"access_token": "late", "token_type": "bearer"})).held(&held));
    let endpoint = endpoint.await.unwrap();
    let fixture = start_with_timeout(&api, &endpoint, "500ms").await;
    let began = Instant::now();
    let answer = find(&fixture.server).await;
    assert_eq!(answer["body"]["result"]["isError"], true, "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(500));
    gate.open();
    until(PATIENCE, async || {
        if find(&fixture.server).await["body"]["result"]["isError"] == false { Ok(()) } else { Err("no token") }
    })
    .await;
    assert_eq!(endpoint.take().len(), 1, "the request that the first call began gave the token");
}

#[tokio::test]
async fn the_secret_of_the_client_is_replaced_without_a_restart() {
    // The Base64 of `crm+guard:new`.
    let refuse = |request: &Received| match request.header("authorization") == Some("Basic Y3JtK2d1YXJkOm5ldw==") {
        true => Reply::Json(200, json!({"access_token": "granted", "token_type": "bearer"})),
        false => Reply::response(401, CANARY),
    };
    let api = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
    let endpoint = Backend::start(refuse).await.unwrap();
    let Fixture { server, secrets } = start_with(&api, &endpoint).await;
    assert_eq!(find(&server).await["body"]["result"]["isError"], true);
    fs::write(secrets.path().join("crm-oauth/secret"), "new").unwrap();
    until(PATIENCE, async || {
        if find(&server).await["body"]["result"]["isError"] == false { Ok(()) } else { Err("it is not served") }
    })
    .await;
    assert_eq!(authorizations(&api).last().map(String::as_str), Some("Bearer granted"));
}
