//! A session is a sealed token: every replica can open it, and nobody but its owner can use it.

use portcullis_tests::http::{Answer, Request};
use portcullis_tests::server::{Server, policy, post, rpc};
use serde_json::json;

use crate::common::*;

fn initialize(key: &str, version: &str) -> Request {
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    post(key, &rpc("initialize", params))
}

/// The session that this answer begins.
fn session(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("mcp-session-id").unwrap_or_else(|| panic!("no session in {answer:?}")).to_owned()
}

fn within(session: &str, key: &str) -> Request {
    post(key, &rpc("tools/list", json!({}))).with("Mcp-Session-Id", session).with("MCP-Protocol-Version", "2025-11-25")
}

fn not_found() -> serde_json::Value {
    answer(404, error(-32600, "Session not found; initialize again"))
}

#[tokio::test]
async fn a_session_opened_on_one_replica_serves_on_another_and_on_one_that_started_later() {
    let (policy, keys) = (unlimited(NOWHERE), keys());
    let first = Server::start(&policy, &keys).await.unwrap();
    let second = Server::start(&policy, &keys).await.unwrap();
    let session = session(&first.ask(&initialize(AGENT, "2025-11-25")).await.unwrap());
    let here = first.ask(&within(&session, AGENT)).await.unwrap();
    let there = second.ask(&within(&session, AGENT)).await.unwrap();
    assert_eq!(here.status, 200, "{}", here.text());
    assert_eq!(whole(&there), whole(&here));
    drop((first, second));
    let third = Server::start(&policy, &keys).await.unwrap();
    assert_eq!(
        whole(&third.ask(&within(&session, AGENT)).await.unwrap()),
        whole(&here),
        "a replica's death ends nothing"
    );
}

#[tokio::test]
async fn a_session_of_another_or_of_nobody_is_a_404() {
    let (policy_here, keys) = (unlimited(NOWHERE), keys());
    let server = Server::start(&policy_here, &keys).await.unwrap();
    let session = session(&server.ask(&initialize(AGENT, "2025-11-25")).await.unwrap());
    assert_eq!(server.ask(&within(&session, AGENT)).await.unwrap().status, 200);

    let stolen = server.ask(&within(&session, READER)).await.unwrap();
    assert_eq!(whole(&stolen), not_found(), "of another client");
    let mut wrong: Vec<String> =
        ["x", "null", "0", "=?base64?eA==?=", "a b", "../..", &"A".repeat(4000)].map(str::to_owned).into();
    wrong.push(format!("{session}A"));
    wrong.push(session[1..].to_owned());
    // Any bit of a sealed token matters.
    for at in (0..session.len()).step_by(session.len() / 16) {
        let mut bytes = session.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        wrong.push(String::from_utf8(bytes).unwrap());
    }
    for wrong in wrong {
        assert_eq!(whole(&server.ask(&within(&wrong, AGENT)).await.unwrap()), not_found(), "{wrong}");
    }
    assert_eq!(server.ask(&within(&session, "wrong")).await.unwrap().status, 401, "a session is no credential");
    let without_key = within(&session, AGENT).without("x-api-key");
    assert_eq!(server.ask(&without_key).await.unwrap().status, 401, "a session is no credential");

    // A client made again under the same name is another one.
    let again = policy(&policy_text(NOWHERE).replace("uid: uid-agent", "uid: uid-again")).unwrap();
    let new =
        portcullis_tests::server::ClientKey { client: "agent", uid: "uid-again", key: "another-key-of-the-same-name" };
    let new_keys = portcullis_tests::server::credentials(&[new]).unwrap();
    server.reconfigure(&again, &new_keys).await.unwrap();
    assert_eq!(
        whole(&server.ask(&within(&session, new.key)).await.unwrap()),
        not_found(),
        "of a client of the same name"
    );
}

#[tokio::test]
async fn every_revision_is_agreed_upon_and_an_unknown_one_gets_the_newest_with_sessions() {
    let server = Server::start(&unlimited(NOWHERE), &keys()).await.unwrap();
    for (asked, agreed) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
        ("2999-01-01", "2025-11-25"),
    ] {
        let found = server.ask(&initialize(AGENT, asked)).await.unwrap();
        assert_eq!(found.json()["result"]["protocolVersion"], agreed, "{asked}: {}", found.text());
        let session = session(&found);
        let initialized = post(AGENT, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .with("Mcp-Session-Id", &session)
            .with("MCP-Protocol-Version", agreed);
        let accepted = server.ask(&initialized).await.unwrap();
        assert_eq!((accepted.status, accepted.text()), (202, String::new()), "{asked}");
        let listed = server.ask(&within(&session, AGENT).replacing("MCP-Protocol-Version", agreed)).await.unwrap();
        assert_eq!(listed.status, 200, "{asked}: {}", listed.text());
    }
    assert_eq!(server.call(AGENT, "echo", json!({"text": "x"})).await.unwrap().status, 200, "and without a session");
}
