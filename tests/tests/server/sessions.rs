//! The id of a session is a sealed token: every replica can open it, and only its owner can use it.

use portcullis_tests::http::Request;
use portcullis_tests::server::{ClientKey, credentials, post, rpc};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;
use crate::revisions::{initialize, session_of};

/// A request in a session.
fn within(session: &str, key: &str) -> Request {
    post(key, &rpc("tools/list", json!({}))).with("Mcp-Session-Id", session).with("MCP-Protocol-Version", "2025-11-25")
}

fn not_found() -> Value {
    response(404, rpc_error(-32600, "Session not found; initialize again"))
}

#[tokio::test]
async fn a_session_of_one_replica_is_served_by_another_and_by_one_that_starts_later() {
    let document = document(NOWHERE);
    let (first, second) = (start(&document).await, start(&document).await);
    let session = session_of(&first.send(&initialize(AGENT, "2025-11-25")).await.unwrap());
    let tools = ["echo", "find", "note"];
    assert_eq!(tool_names(&first.send(&within(&session, AGENT)).await.unwrap()), tools);
    assert_eq!(tool_names(&second.send(&within(&session, AGENT)).await.unwrap()), tools);
    drop((first, second));
    let third = start(&document).await;
    assert_eq!(tool_names(&third.send(&within(&session, AGENT)).await.unwrap()), tools);
}

#[tokio::test]
async fn a_session_that_is_not_the_callers_is_a_404() {
    let mut document = document(NOWHERE);
    let server = start(&document).await;
    let session = session_of(&server.send(&initialize(AGENT, "2025-11-25")).await.unwrap());
    assert_eq!(server.send(&within(&session, AGENT)).await.unwrap().status, 200);

    let stolen = server.send(&within(&session, READER)).await.unwrap();
    assert_eq!(stolen.to_value(), not_found(), "another client's");
    let mut forged: Vec<String> =
        ["x", "null", "0", "=?base64?eA==?=", "a b", "../..", &"A".repeat(4000)].map(str::to_owned).into();
    forged.push(format!("{session}A"));
    forged.push(session[1..].to_owned());
    // Every part of a sealed token is protected.
    for at in (0..session.len()).step_by(session.len() / 16) {
        let mut bytes = session.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(bytes).unwrap());
    }
    for forged in forged {
        assert_eq!(server.send(&within(&forged, AGENT)).await.unwrap().to_value(), not_found(), "{forged}");
    }

    client_of(&mut document, "agent")["uid"] = json!("uid-again");
    let again = ClientKey { client: "agent", uid: "uid-again", key: "another-key-of-the-same-name" };
    server.reconfigure(&parsed(&document), &credentials(&[again]).unwrap()).await.unwrap();
    let found = server.send(&within(&session, again.key)).await.unwrap();
    assert_eq!(found.to_value(), not_found(), "that of an earlier client with the same name");
}

#[tokio::test]
async fn a_session_is_not_a_credential() {
    let server = start(&document(NOWHERE)).await;
    let session = session_of(&server.send(&initialize(AGENT, "2025-11-25")).await.unwrap());
    let found = server.send(&within(&session, "wrong")).await.unwrap();
    assert_eq!(found.to_value(), plain_refusal(401, "Invalid API key"));
    let found = server.send(&within(&session, AGENT).without("x-api-key")).await.unwrap();
    assert_eq!(found.to_value(), plain_refusal(401, "API key required"));
}

#[tokio::test]
async fn the_revision_of_a_session_binds_its_requests() {
    let server = start(&document(NOWHERE)).await;
    let pong = response(200, rpc_result(json!({})));
    let mut refused = 0;
    for agreed in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let session = session_of(&server.send(&initialize(AGENT, agreed)).await.unwrap());
        let ping = || post(AGENT, &rpc("ping", json!({}))).with("Mcp-Session-Id", &session);
        // Before 2025-06-18 there is no such header.
        assert_eq!(server.send(&ping()).await.unwrap().to_value(), pong, "{agreed}");
        for named in ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "1999-01-01"] {
            let found = server.send(&ping().with("MCP-Protocol-Version", named)).await.unwrap();
            if named == agreed {
                assert_eq!(found.to_value(), pong, "{agreed}");
                continue;
            }
            let message = format!(
                "Invalid request: the session is of protocol version {agreed}, and the request names {named}; send \
                 `MCP-Protocol-Version: {agreed}`, or initialize again"
            );
            assert_eq!(found.to_value(), response(400, rpc_error(-32600, &message)));
            refused += 1;
        }
        // The session goes on, and the same client may begin another one.
        assert_eq!(server.send(&ping()).await.unwrap().to_value(), pong, "{agreed}");
        let again = initialize(AGENT, "2025-06-18").with("Mcp-Session-Id", &session);
        let again = server.send(&again.with("MCP-Protocol-Version", agreed)).await.unwrap();
        assert_eq!(again.json()["result"]["protocolVersion"], "2025-06-18");
        // A session that is not the caller's binds nobody.
        let stolen = ping().replacing("x-api-key", READER).with("MCP-Protocol-Version", "2025-06-18");
        assert_eq!(server.send(&stolen).await.unwrap().to_value(), not_found());
    }
    // Records that are many and equal are counted in one.
    until(PATIENCE, async || {
        let records = server.log.events("request_refused").unwrap();
        let of_agent = records.iter().filter(|it| (&it["clientId"], &it["code"]) == (&json!("agent"), &json!(-32600)));
        expect_eq(of_agent.map(|it| it["count"].as_u64().unwrap_or(1)).sum::<u64>(), refused)
    })
    .await;
}
