//! Changes of the two documents while the server runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::{
    os::unix::fs::symlink,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Server, client, credentials, eventually, key, policy};

const BACKEND: &str = "http://127.0.0.1:1";

fn status(server: &Server, id: &str) -> u16 {
    server.call(&key(id), "greet", &json!({"name": "x"})).status
}

/// Waits until both documents are in force.
fn settle(server: &Server, policy: &Value, credentials: &Value) {
    let before = server.events("policy_loaded").len();
    server.write("policy.yaml", policy);
    server.write("credentials.yaml", credentials);
    eventually("a reload", || {
        std::thread::sleep(Duration::from_millis(100));
        (server.events("policy_loaded").len() > before).then_some(())
    });
}

#[test]
fn a_change_is_in_force_within_a_quarter_of_a_second() {
    let server = Server::start(&policy(BACKEND, &[client("a", &["greet"])]), &credentials(&["a"]));
    let mut times = Vec::new();
    for round in 0..6 {
        let tools: &[&str] = if round % 2 == 0 { &[] } else { &["greet"] };
        let expected = if round % 2 == 0 { Some(-32602) } else { None };
        server.write("policy.yaml", &policy(BACKEND, &[client("a", tools)]));
        let from = Instant::now();
        eventually("enforcement", || {
            let answer = server.call(&key("a"), "greet", &json!({"name": "x"}));
            assert_eq!(answer.status, 200, "no call fails meanwhile");
            (answer.verdict().1 == expected).then_some(())
        });
        times.push(from.elapsed());
    }
    times.sort_unstable();
    // The median: this machine may be busy with other tests.
    assert!(times[2] < Duration::from_millis(250), "{times:?}");
}

#[test]
fn a_refused_document_leaves_the_last_good_one_and_says_so() {
    let good = policy(BACKEND, &[client("a", &["greet"])]);
    let server = Server::start(&good, &credentials(&["a"]));
    let state = || {
        let policy = server.get(server.admin, "/policy").json();
        let health = server.get(server.main, "/health");
        (
            policy["policyError"].clone(),
            policy["credentialsError"].clone(),
            health.json()["checks"]["policy"]["status"].clone(),
        )
    };
    let well = (json!(false), json!(false), json!("healthy"));
    assert_eq!(state(), well);
    let mut bad = good.clone();
    bad["spec"]["tools"][0]["backend"] = json!("nowhere");
    server.write("policy.yaml", &bad);
    eventually("a refusal", || (state() == (json!(true), json!(false), json!("degraded"))).then_some(()));
    assert_eq!(server.event("policy_refused")["field"], "spec.tools[0].backend");
    assert_eq!(status(&server, "a"), 200);
    server.write("credentials.yaml", &json!({"contract": 1, "clients": "canary"}));
    eventually("a refusal", || (state() == (json!(true), json!(true), json!("degraded"))).then_some(()));
    assert_eq!(status(&server, "a"), 200);
    // Each keeps its own: a good one comes into force beside a bad one.
    server.write("credentials.yaml", &credentials(&[]));
    eventually("a removal", || (status(&server, "a") == 401).then_some(()));
    server.write("policy.yaml", &good);
    server.write("credentials.yaml", &credentials(&["a"]));
    eventually("recovery", || (state() == well && status(&server, "a") == 200).then_some(()));
    assert!(!format!("{:?}", server.log()).contains("canary"));
}

#[test]
fn no_mix_of_old_and_new_documents_gives_an_access_that_neither_gave() {
    let both = [client("a", &["greet"]), client("b", &["greet"])];
    let with = (policy(BACKEND, &both), credentials(&["a", "b"]));
    let without = (policy(BACKEND, &both[..1]), credentials(&["a"]));
    // The same name with another UID and another key: deleted and made again.
    let mut again = with.clone();
    again.0["clients"][1]["uid"] = json!("other");
    again.1["clients"][1]["uid"] = json!("other");
    again.1["clients"][1]["apiKeys"] = credentials(&["new"])["clients"][0]["apiKeys"].clone();
    let server = Server::start(&with.0, &with.1);
    for (policy, credentials, old_key, new_key) in [
        (&with.0, &with.1, 200, 401),
        (&with.0, &without.1, 401, 401),
        (&without.0, &with.1, 403, 401),
        (&without.0, &without.1, 401, 401),
        (&with.0, &again.1, 401, 403),
        (&again.0, &with.1, 403, 401),
        (&again.0, &again.1, 401, 200),
    ] {
        if server.events("policy_loaded").len() > 1 || old_key != 200 {
            settle(&server, policy, credentials);
        }
        eventually("the mix", || ((status(&server, "b"), status(&server, "new")) == (old_key, new_key)).then_some(()));
        assert_eq!(status(&server, "a"), 200);
    }
}

#[test]
fn before_a_policy_nothing_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_in(directory);
    assert_eq!(status(&server, "a"), 503);
    assert_eq!(server.get(server.admin, "/readyz").status, 503);
    assert_eq!(server.get(server.admin, "/livez").status, 200);
    assert_eq!(server.get(server.admin, "/health").status, 503);
    server.write("policy.yaml", &policy(BACKEND, &[client("a", &["greet"])]));
    eventually("readiness", || (server.get(server.admin, "/readyz").status == 200).then_some(()));
    assert_eq!(status(&server, "a"), 401);
    server.write("credentials.yaml", &credentials(&["a"]));
    eventually("service", || (status(&server, "a") == 200).then_some(()));
    let answer = server.get(server.admin, "/policy").json();
    assert_eq!((&answer["contract"], &answer["podUid"]), (&json!(1), &json!("pod-1")));
}

#[test]
fn a_volume_that_is_swapped_as_kubelet_does_it_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    let publish = |n: u32, tools: &[&str]| {
        let version = root.join(format!("..{n}"));
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("policy.yaml"), policy(BACKEND, &[client("a", tools)]).to_string()).unwrap();
        std::fs::write(version.join("credentials.yaml"), credentials(&["a"]).to_string()).unwrap();
        symlink(format!("..{n}"), root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    publish(1, &[]);
    for name in ["policy.yaml", "credentials.yaml"] {
        symlink(format!("..data/{name}"), root.join(name)).unwrap();
    }
    let server = Server::start_in(directory);
    let code = || server.call(&key("a"), "greet", &json!({"name": "x"})).verdict().1;
    assert_eq!(code(), Some(-32602));
    publish(2, &["greet"]);
    eventually("the swap", || code().is_none().then_some(()));
    publish(3, &[]);
    eventually("the next swap", || (code() == Some(-32602)).then_some(()));
}

#[test]
fn limits_outlive_a_policy() {
    let mut few = client("a", &["greet"]);
    few["limits"] = json!([{"requests": 2, "per": "1m"}]);
    let server = Server::start(&policy(BACKEND, std::slice::from_ref(&few)), &credentials(&["a"]));
    assert_eq!([status(&server, "a"), status(&server, "a"), status(&server, "a")], [200, 200, 429]);
    few["maxRecordsPerQuery"] = json!(7);
    settle(&server, &policy(BACKEND, &[few]), &credentials(&["a"]));
    assert_eq!(status(&server, "a"), 429);
}

#[test]
fn a_file_that_never_ends_keeps_neither_the_other_one_nor_the_server_waiting() {
    let mut server = Server::start(&policy(BACKEND, &[client("a", &["greet"])]), &credentials(&["a"]));
    let pipe = server.directory.path().join(".pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(pipe, server.directory.path().join("policy.yaml")).unwrap();
    eventually("a refusal", || server.events("policy_refused").pop());
    assert_eq!(status(&server, "a"), 200);
    server.write("credentials.yaml", &credentials(&[]));
    eventually("a removal", || (status(&server, "a") == 401).then_some(()));
    server.signal("TERM");
    assert_eq!(server.wait(), 0);
}
