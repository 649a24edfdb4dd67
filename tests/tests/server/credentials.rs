//! Headers and credentials of backends: values of Secrets are sent, taken up without a restart, and told to nobody.

use std::{fs, path::Path};

use portcullis_tests::{
    PATIENCE,
    backend::{Backend, Received, Reply},
    http::{self, Request},
    server::{LOOPBACK, TestServer},
    until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::expected::*;
use crate::fixtures::*;

/// What must be seen nowhere but at the backend.
const CANARY: &str = "canary-4f1c9d\"/<e7>";
const KEY_CANARY: &str = "kanarie-77aa01bb";

/// The document of which the backend gets a bearer token, a header from a Secret, the caller's id and a header as it is.
fn with_credentials(api: &str) -> Value {
    let mut document = document(api);
    let backend = &mut document["spec"]["backends"][0];
    backend["headers"] = json!([
        {"name": "X-Client", "identity": "ClientId"},
        {"name": "X-Key", "secretKeyRef": {"name": "crm-key", "key": "key"}},
        {"name": "X-Version", "value": "2"},
    ]);
    backend["credentials"] = json!({"bearerSecretRef": {"name": "crm-token", "key": "token"}});
    document
}

fn write(secrets: &TempDir, file: &str, value: &str) {
    let path = secrets.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let draft = path.with_extension("draft");
    fs::write(&draft, value).unwrap();
    fs::rename(draft, path).unwrap();
}

fn secrets() -> TempDir {
    let secrets = tempfile::tempdir().unwrap();
    write(&secrets, "crm-token/token", &format!("{CANARY}\n"));
    write(&secrets, "crm-key/key", KEY_CANARY);
    secrets
}

async fn start_with(document: &Value, secrets: &Path) -> TestServer {
    let arguments = [LOOPBACK, "--secrets", secrets.to_str().unwrap()];
    TestServer::start_with(&parsed(document), &keys(), &arguments).await.unwrap()
}

async fn find(server: &TestServer) -> Value {
    server.call(AGENT, "find", json!({"query": "x"})).await.unwrap().to_value()
}

fn sent(request: &Received) -> [Option<&str>; 4] {
    ["authorization", "x-key", "x-client", "x-version"].map(|name| request.header(name))
}

/// The calls of a backend, without the checks of its health.
fn calls(backend: &Backend) -> Vec<Received> {
    backend.take().into_iter().filter(|request| !request.target.starts_with("/healthz")).collect()
}

async fn health(server: &TestServer) -> Value {
    http::send(server.admin, &Request::get("/health")).await.unwrap().json()
}

async fn until_degraded(server: &TestServer) {
    until(PATIENCE, async || {
        let status = health(server).await["checks"]["api"]["status"].clone();
        if status == "degraded" { Ok(()) } else { Err(status) }
    })
    .await;
}

async fn until_sent(server: &TestServer, backend: &Backend, authorization: &str) {
    until(PATIENCE, async || {
        find(server).await;
        let sent = calls(backend).pop().and_then(|call| call.header("authorization").map(str::to_owned));
        if sent.as_deref() == Some(authorization) { Ok(()) } else { Err(format!("{sent:?}")) }
    })
    .await;
}

#[tokio::test]
async fn each_call_has_the_headers_and_a_value_that_changes_is_taken_up_without_a_restart() {
    let backend = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
    let secrets = secrets();
    let server = start_with(&with_credentials(&backend.url()), secrets.path()).await;
    find(&server).await;
    let bearer = format!("Bearer {CANARY}");
    let expected = [Some(bearer.as_str()), Some(KEY_CANARY), Some("agent"), Some("2")];
    assert_eq!(calls(&backend).iter().map(sent).collect::<Vec<_>>(), [expected]);
    assert_eq!(health(&server).await["checks"]["api"]["status"], "healthy");
    let checks: Vec<Received> = backend.take();
    assert!(checks.iter().all(|check| sent(check) == [None; 4]), "a check of health has no credential");

    write(&secrets, "crm-token/token", "another");
    until_sent(&server, &backend, "Bearer another").await;

    // Gone: the last value stays in use, and health says that something is wrong.
    fs::remove_file(secrets.path().join("crm-token/token")).unwrap();
    until_degraded(&server).await;
    find(&server).await;
    assert_eq!(calls(&backend)[0].header("authorization"), Some("Bearer another"));
}

#[tokio::test]
async fn a_secret_that_never_was_there_fails_the_calls_of_its_backend_alone_and_is_named() {
    let backend = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
    let secrets = secrets();
    fs::remove_file(secrets.path().join("crm-token/token")).unwrap();
    let server = start_with(&with_credentials(&backend.url()), secrets.path()).await;
    let message = "Backend 'api' was not called: key `token` of Secret `crm-token` has no value that can be used.";
    assert_eq!(find(&server).await, response(200, rpc_result(tool_error(message))));
    assert_eq!(calls(&backend).len(), 0);
    let record = server.log.event("tool_call_error", PATIENCE).await.unwrap();
    assert_eq!((&record["error"], &record["backend"]), (&json!("backend_credentials"), &json!("api")));
    let health = health(&server).await;
    assert_eq!((&health["status"], &health["checks"]["api"]["status"]), (&json!("degraded"), &json!("degraded")));
    let echo = server.call(AGENT, "echo", json!({"text": "a"})).await.unwrap();
    assert_eq!(echo.to_value(), response(200, rpc_result(echoed("a"))));

    write(&secrets, "crm-token/token", "late");
    until_sent(&server, &backend, "Bearer late").await;
}

#[tokio::test]
async fn a_pod_that_mounts_no_secrets_serves_what_needs_none() {
    let backend = Backend::start(|_| Reply::Json(200, json!({"items": []}))).await.unwrap();
    let server = start(&with_credentials(&backend.url())).await;
    assert!(find(&server).await.to_string().contains("was not called: key `token` of Secret `crm-token`"));
    let echo = server.call(AGENT, "echo", json!({"text": "a"})).await.unwrap();
    assert_eq!(echo.to_value(), response(200, rpc_result(echoed("a"))));
}

/// A backend that repeats the headers of its request in every way that services do, and fails in every way that they do.
async fn hostile(other: String) -> Backend {
    let script = move |request: &Received| {
        let echoed: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let json = json!({"error": {"headers": request.headers.iter().map(|(_, value)| value).collect::<Vec<_>>()}});
        let query = request.target.rsplit_once("q=").map_or("", |(_, query)| query);
        let page = |text: &str| {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            format!("<!doctype html><html><body><pre>{text}</pre></body></html>")
        };
        match query {
            "plain" => Reply::response(401, echoed),
            "json" => Reply::Json(400, json),
            "page" => Reply::response(500, page(&echoed)),
            "long" => Reply::response(403, format!("{}{echoed}", "x".repeat(4_080))),
            "redirect" => Reply::Bytes(
                format!("HTTP/1.1 302 Found\r\nLocation: {other}/?t={CANARY}\r\nContent-Length: 0\r\n\r\n").into(),
            ),
            "garbage" => Reply::Bytes(format!("{echoed}\r\n\r\n").into()),
            "halfway" => Reply::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{echoed}").into()),
            _ => Reply::response(200, "{\"items\": ["),
        }
    };
    Backend::start(script).await.unwrap()
}

#[tokio::test]
async fn no_value_of_a_secret_is_told_to_anybody_but_its_backend() {
    let other = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let backend = hostile(other.url()).await;
    let secrets = secrets();
    let server = start_with(&with_credentials(&backend.url()), secrets.path()).await;
    let mut told = String::new();
    for how in ["plain", "json", "page", "long", "redirect", "garbage", "halfway", "malformed"] {
        let answer = server.call(AGENT, "find", json!({"query": how})).await.unwrap();
        told.push_str(&answer.text());
    }
    let calls = calls(&backend);
    assert!(calls.len() >= 8 && calls.iter().all(|call| call.header("x-key") == Some(KEY_CANARY)));
    assert_eq!(other.received(), [], "no redirect is followed");
    assert!(told.contains("[redacted]"), "{told}");
    // A value that cannot be used is named by its key, and not repeated.
    write(&secrets, "crm-key/key", &format!("{KEY_CANARY}\nsecond line"));
    until_degraded(&server).await;
    for target in ["/health", "/metrics", "/policy", "/readyz"] {
        told.push_str(&http::send(server.admin, &Request::get(target)).await.unwrap().text());
    }
    told.extend(server.log.lines());
    told.extend(server.log.stderr());
    for canary in ["canary-4f1c9d", KEY_CANARY] {
        assert!(!told.contains(canary), "{told}");
    }
}
