//! `/health` reports everything that the server depends on, to anyone who addresses the server.

use std::process::Command;

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::Request;
use portcullis_tests::{PATIENCE, binary};
use rustix::process::Signal;
use serde_json::{Map, Value, json};

use crate::expected::*;
use crate::fixtures::*;

/// The status code of `/health`, the overall status, and the status of each check.
async fn health(document: &Value) -> Value {
    let server = start(document).await;
    let found = server.send(&Request::get("/health")).await.unwrap();
    let body = found.json();
    assert!(body["uptime"].is_u64() && body["checks"]["api"]["latencyMs"].is_number(), "{body}");
    let checks = body["checks"].as_object().unwrap().iter();
    let checks: Map<String, Value> = checks.map(|(name, check)| (name.clone(), check["status"].clone())).collect();
    json!([found.status, body["status"], checks])
}

#[tokio::test]
async fn a_backend_that_is_down_degrades_the_server_and_a_critical_one_makes_it_unhealthy() {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let checks = |api: &str| json!({"api": api, "audit": "healthy", "fixed": "healthy", "policy": "healthy"});
    assert_eq!(health(&document(&backend.url())).await, json!([200, "healthy", checks("healthy")]));
    let mut document = document(NOWHERE);
    assert_eq!(health(&document).await, json!([200, "degraded", checks("unhealthy")]));
    document["spec"]["backends"][0]["critical"] = json!(true);
    assert_eq!(health(&document).await, json!([503, "unhealthy", checks("unhealthy")]));
}

#[tokio::test]
async fn health_is_read_under_any_host_and_not_by_web_pages() {
    let server = start(&document(NOWHERE)).await;
    let get = Request::get("/health");
    for host in ["localhost", "crm.sales.svc:3000", "127.0.0.1:80", "10.0.0.7:3000", "balancer.example"] {
        for method in ["GET", "HEAD"] {
            let request = get.clone().method(method).replacing("Host", host);
            assert_eq!(server.send(&request).await.unwrap().status, 200, "{method} for {host}");
        }
    }
    for (what, request, expected) in [
        (
            "a web page",
            get.clone().with("Origin", "https://evil.example"),
            plain_refusal(403, "Requests from web pages are not served"),
        ),
        (
            "another method",
            get.method("POST"),
            response_with(405, "allow", "GET, HEAD", json!({"error": "Method not allowed; use GET or HEAD"})),
        ),
    ] {
        assert_eq!(server.send(&request).await.unwrap().to_value(), expected, "{what}");
    }
}

#[tokio::test]
async fn the_health_command_tells_a_live_server_from_one_that_is_gone_or_hangs() {
    // Its backend is down, which no restart would mend.
    let mut server = start(&document(NOWHERE)).await;
    let admin = server.admin.to_string();
    let health = async || {
        let mut command = Command::new(binary("portcullis-server").unwrap());
        command.arg("health").env("PORTCULLIS_ADMIN", &admin);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let line = |text: &str| format!("http://{admin}/livez: {text}\n");
    let nothing = String::new();
    assert_eq!(health().await, (Some(0), line("200 OK: ok"), nothing.clone()));
    server.signal(Signal::STOP).unwrap();
    assert_eq!(health().await, (Some(1), nothing.clone(), line("no answer within 3s")));
    server.signal(Signal::KILL).unwrap();
    server.ended(PATIENCE).await.unwrap();
    assert_eq!(health().await, (Some(1), nothing, line("Connection refused (os error 111)")));
}
