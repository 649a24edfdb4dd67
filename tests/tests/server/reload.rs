//! A change of a document takes effect while calls go on: none fails, and none sees half of it. A bad document changes nothing.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis_tests::http::{Connection, Request};
use portcullis_tests::server::{ConfigFolder, LOOPBACK, TestServer, call};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;

/// How often the server looks at its documents if nothing tells it that they have changed.
const POLL: Duration = Duration::from_secs(2);

/// The document in which `agent` may or may not call `echo`.
fn with_echo(is_granted: bool) -> Value {
    let mut document = document(NOWHERE);
    if !is_granted {
        client_of(&mut document, "agent")["tools"] = json!(["find", "note"]);
    }
    document
}

async fn can_echo(server: &TestServer) -> bool {
    let found = server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().to_value();
    if found == denied("echo") {
        return false;
    }
    assert_eq!(found, response(200, rpc_result(echoed("x"))));
    true
}

/// Waits until `agent` can call `echo`, or cannot.
async fn until_echo(server: &TestServer, is_granted: bool) {
    until(PATIENCE, async || expect_eq(can_echo(server).await, is_granted)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_takes_effect_without_waiting_for_a_poll_and_no_call_fails_meanwhile() {
    let server = start(&with_echo(true)).await;
    let address = server.listen;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let is_over = Arc::clone(&is_over);
        callers.spawn(async move {
            // A client that no change concerns.
            let mut connection = Connection::open(address).await.unwrap();
            let mut calls = 0;
            while !is_over.load(Ordering::Relaxed) {
                let found = connection.send(&call(READER, "echo", json!({"text": "x"}))).await.unwrap();
                assert_eq!(found.to_value(), response(200, rpc_result(echoed("x"))), "call {calls}");
                calls += 1;
                // The pace of the caller; without it the callers take all of a small machine.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            calls
        });
    }
    let mut times = Vec::new();
    for edit in 0..20 {
        let is_granted = edit % 2 == 1;
        server.config.write_policy(&parsed(&with_echo(is_granted))).unwrap();
        let began = Instant::now();
        until_echo(&server, is_granted).await;
        times.push(began.elapsed());
        for _ in 0..5 {
            assert_eq!(can_echo(&server).await, is_granted, "no call goes back to an older policy");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let calls: usize = callers.join_all().await.into_iter().sum();
    assert!(calls > 50, "{calls} calls meanwhile");
    times.sort();
    println!("{} changes in force after {:?} at the median, {:?} at worst", times.len(), times[10], times[19]);
    // The fastest quarter, because a busy machine can delay any of them. Each begins when the one before was seen, so that polls
    // alone would take nearly as long as they are apart.
    assert!(times[4] < POLL / 2, "{times:?}");
}

/// Waits until the server reports whether the policy and the credentials in the folder are bad.
async fn until_bad(server: &TestServer, [policy, credentials]: [bool; 2]) {
    let status = if policy || credentials { "degraded" } else { "healthy" };
    until(PATIENCE, async || {
        let found = server.admin("/policy").await.map_err(|error| error.to_string())?.json();
        let health = server.send(&Request::get("/health")).await.map_err(|error| error.to_string())?;
        let checks = health.json()["checks"].clone();
        expect_eq(
            json!([found["policyError"], found["credentialsError"], health.status, checks["policy"]["status"]]),
            json!([policy, credentials, 200, status]),
        )
    })
    .await;
}

/// The document without its revision, as it is after an edit by hand.
fn unstamped(document: &str) -> String {
    document.lines().filter(|line| !line.starts_with("revision:")).map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_document_keeps_the_last_good_one_in_force_and_is_reported() {
    let policy = parsed(&with_echo(true));
    let server = start(&with_echo(true)).await;
    let good = (policy.text().to_owned(), keys().text().to_owned());
    let bad_policies = [
        good.0.replace("contract: 1", "contract: 2"),
        good.0.replace("clients:", "cleints:"),
        good.0.replacen("contract: 1", "contract: 1\nrevision: 0000", 1),
        unstamped(&good.0).replace("backend: fixed", "backend: nowhere"),
        format!("{}\n}}{{", good.0),
        String::new(),
        "---\n---\n".into(),
        // An editor has not finished it: a client that it does not contain yet is not removed.
        "contract: 1\n".into(),
        good.0.replace("agent", "AGENT!"),
    ];
    for bad in &bad_policies {
        assert_ne!(*bad, good.0);
        server.config.write_text(Some(bad), None).unwrap();
        until_bad(&server, [true, false]).await;
        assert!(can_echo(&server).await);
        assert_eq!(server.admin("/readyz").await.unwrap().status, 200, "an old policy is better than none");
        server.config.write_policy(&policy).unwrap();
        until_bad(&server, [false, false]).await;
    }
    server.config.write_text(None, Some("contract: 2\nclients: canary")).unwrap();
    until_bad(&server, [false, true]).await;
    assert!(can_echo(&server).await);
    let refused = server.log.at_least(bad_policies.len() + 1, "policy_refused", PATIENCE).await.unwrap();
    let documents: Vec<&Value> = refused.iter().map(|record| &record["document"]).collect();
    assert_eq!(documents, [vec!["policy"; bad_policies.len()], vec!["credentials"]].concat());
    assert_eq!(refused[3]["field"], "spec.tools[0].backend");
    assert!(!server.log.lines().join("\n").contains("canary"), "the log repeats a value of the credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_document_takes_effect_beside_a_bad_one() {
    let server = start(&with_echo(true)).await;
    server.config.write_text(None, Some("contract: 2\nclients: agent")).unwrap();
    until_bad(&server, [false, true]).await;
    server.config.write_policy(&parsed(&with_echo(false))).unwrap();
    until_echo(&server, false).await;

    server.config.write_text(Some("contract: 2"), Some(keys().text())).unwrap();
    until_bad(&server, [true, false]).await;
    server.config.write_credentials(&keys_of(&[])).unwrap();
    let invalid = plain_refusal(401, "Invalid API key");
    until(PATIENCE, async || {
        let found = server.call(AGENT, "echo", json!({"text": "x"})).await.map_err(|error| error.to_string())?;
        expect_eq(found.to_value(), invalid.clone())
    })
    .await;

    server.config.write(&parsed(&with_echo(true)), &keys()).unwrap();
    until_bad(&server, [false, false]).await;
    until_echo(&server, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_denies_its_client_and_no_other() {
    let server = start(&with_echo(true)).await;
    let policy = parsed(&with_echo(true));
    let restricted = unstamped(policy.text()).replacen("- id: agent\n", "- id: agent\n  newRestriction: []\n", 1);
    server.config.write_text(Some(&restricted), None).unwrap();
    until_bad(&server, [true, false]).await;
    let revisions = server.admin("/policy").await.unwrap().json();
    let reported = ["policyRevision", "clientsRevision"].map(|name| revisions[name].is_string());
    assert_eq!(reported, [false, true], "a policy is not in force as a whole if a part of it is refused: {revisions}");
    let denied = server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap();
    assert_eq!(denied.to_value(), plain_refusal(403, "Client not recognised"));
    let other = server.call(READER, "echo", json!({"text": "x"})).await.unwrap();
    assert_eq!(other.to_value(), response(200, rpc_result(echoed("x"))));
    let refused = server.log.event("policy_refused", PATIENCE).await.unwrap();
    assert_eq!(refused["field"], "clients[0].newRestriction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_without_a_revision_that_is_written_slowly_grants_nothing_by_its_beginning() {
    let mut document = with_echo(true);
    client_of(&mut document, "agent")["suspended"] = json!(true);
    let complete = unstamped(parsed(&document).text());
    // The beginning is a valid policy, in which the client is not suspended and the second client does not exist yet.
    let restriction = "  suspended: true\n";
    let (beginning, rest) = complete.split_at(complete.find(restriction).unwrap());
    let config = ConfigFolder::new().unwrap();
    config.write_text(None, Some(keys().text())).unwrap();
    let (rounds, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writing = std::thread::spawn({
        let (path, beginning, rest) = (config.path().join("policy.yaml"), beginning.to_owned(), rest.to_owned());
        let (rounds, is_over) = (Arc::clone(&rounds), Arc::clone(&is_over));
        move || {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                // Since before a write, so that a pause in or after it counts too.
                let mut since = Instant::now();
                std::fs::write(&path, &beginning).unwrap();
                let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
                for piece in rest.as_bytes().chunks(rest.len().div_ceil(4)) {
                    // The pace of the writer.
                    std::thread::sleep(Duration::from_millis(50));
                    let next = Instant::now();
                    std::io::Write::write_all(&mut file, piece).unwrap();
                    longest = longest.max(since.elapsed());
                    since = next;
                }
                std::thread::sleep(Duration::from_millis(500));
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            longest
        }
    });
    let server = TestServer::start_in(config, &[LOOPBACK]).await.unwrap();
    let (mut statuses, mut refused_in) = (BTreeSet::new(), BTreeSet::new());
    let began = Instant::now();
    while refused_in.len() < 3 {
        assert!(began.elapsed() < PATIENCE, "the complete document must count: {statuses:?}");
        let status = server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status;
        statuses.insert(status);
        if status == 403 {
            refused_in.insert(rounds.load(Ordering::Relaxed));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    // On a machine that stops the writer for as long as a document may stay the same, the beginning is a document.
    let is_valid = writing.join().unwrap() < Duration::from_millis(150);
    assert!(!(is_valid && statuses.contains(&200)), "{statuses:?}");
    until(PATIENCE, async || {
        let found = server.call(READER, "echo", json!({"text": "x"})).await.map_err(|error| error.to_string())?;
        expect_eq(found.status, 200)
    })
    .await;
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 403);
    let mut reported = server.log.events("policy_refused").unwrap();
    // A server that had no processor for long saw nothing but changes.
    reported.retain(|record| !record["message"].as_str().unwrap().contains("keeps changing"));
    assert!(!is_valid || reported.is_empty(), "what is half written is not reported: {reported:?}");
}

#[tokio::test]
async fn a_server_without_documents_is_not_ready_and_serves_nobody_until_they_exist() {
    let config = ConfigFolder::new().unwrap();
    let server = TestServer::start_in(config, &[LOOPBACK, "--pod-uid", "pod-1"]).await.unwrap();
    let policy = parsed(&with_echo(true));
    let request = call(AGENT, "echo", json!({"text": "x"}));
    let no_policy = response_with(503, "retry-after", "1", json!({"error": "No policy is loaded yet"}));
    assert_eq!(server.send(&request).await.unwrap().to_value(), no_policy);
    let status = async |path| server.admin(path).await.unwrap().status;
    assert_eq!([status("/livez").await, status("/readyz").await, status("/health").await], [200, 503, 503]);

    server.config.write_text(Some(policy.text()), None).unwrap();
    until(PATIENCE, async || expect_eq(status("/readyz").await, 200)).await;
    let invalid = plain_refusal(401, "Invalid API key");
    assert_eq!(server.send(&request).await.unwrap().to_value(), invalid, "a policy alone authenticates nobody");

    server.config.write(&policy, &keys()).unwrap();
    server.serves(policy.revision().as_str(), keys().revision().as_str()).await.unwrap();
    assert_eq!(server.send(&request).await.unwrap().to_value(), response(200, rpc_result(echoed("x"))));
    assert_eq!(server.send(&Request::get("/health")).await.unwrap().status, 200);
    let revisions = server.admin("/policy").await.unwrap().json();
    assert_eq!((&revisions["contract"], &revisions["podUid"]), (&json!(1), &json!("pod-1")));
}

#[tokio::test]
async fn a_file_that_is_replaced_in_place_is_read_too() {
    let config = ConfigFolder::new().unwrap();
    let replace = |name: &str, text: &str| {
        let next = config.path().join(".next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, config.path().join(name)).unwrap();
    };
    replace("policy.yaml", parsed(&with_echo(false)).text());
    replace("credentials.yaml", keys().text());
    let path = config.path().to_owned();
    let server = TestServer::start_in(config, &[LOOPBACK]).await.unwrap();
    assert!(!can_echo(&server).await);
    for is_granted in [true, false] {
        let next = path.join(".next");
        std::fs::write(&next, parsed(&with_echo(is_granted)).text()).unwrap();
        std::fs::rename(next, path.join("policy.yaml")).unwrap();
        until_echo(&server, is_granted).await;
    }
}

#[tokio::test]
async fn a_file_that_never_ends_delays_neither_the_other_file_nor_the_end_of_the_server() {
    let mut server = start(&with_echo(true)).await;
    let pipe = server.config.path().join(".pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(pipe, server.config.path().join("policy.yaml")).unwrap();
    server.log.event("policy_refused", PATIENCE).await.unwrap();
    assert!(can_echo(&server).await);
    let next = server.config.path().join(".next");
    std::fs::write(&next, keys_of(&[]).text()).unwrap();
    std::fs::rename(next, server.config.path().join("credentials.yaml")).unwrap();
    until(PATIENCE, async || {
        let found = server.call(AGENT, "echo", json!({"text": "x"})).await.map_err(|error| error.to_string())?;
        expect_eq(found.status, 401)
    })
    .await;
    server.signal(rustix::process::Signal::TERM).unwrap();
    assert!(server.ended(PATIENCE).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn access_ends_when_it_expires_without_a_change_of_a_document() {
    let mut document = document(NOWHERE);
    let server = start(&document).await;
    assert!(can_echo(&server).await);
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    client_of(&mut document, "agent")["expiresAt"] = json!(expires);
    server.reconfigure(&parsed(&document), &keys()).await.unwrap();
    until(PATIENCE, async || {
        let is_over = jiff::Timestamp::now() >= expires;
        let found = server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().to_value();
        if found == plain_refusal(403, "Client not recognised") {
            return Ok(());
        }
        assert_eq!(found, response(200, rpc_result(echoed("x"))));
        assert!(!is_over, "served after {expires}");
        Err("not expired yet")
    })
    .await;
    // The times of Kubernetes are whole seconds.
    assert!(jiff::Timestamp::now().as_second() >= expires.as_second(), "refused before {expires}");
    let refused = server.log.event("client_refused", PATIENCE).await.unwrap();
    assert_eq!((&refused["clientId"], &refused["reason"]), (&json!("agent"), &json!("expired")));
}
