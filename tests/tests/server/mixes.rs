//! Policy and credentials are two files, and one may be newer than the other. In no mix of them is there access that neither
//! of the two states allowed.

use portcullis_crds::{Credentials, Policy};
use portcullis_tests::http::Request;
use portcullis_tests::server::{ClientKey, Server, call, credentials, policy, post, rpc};
use serde_json::{Value, json};

use crate::common::*;

/// One state of both files.
struct State {
    policy: Policy,
    credentials: Credentials,
}

/// The other key of `agent`, after it was made again.
const AGAIN: &str = "portcullis_again-again-again-again-again-again-0";

fn state(policy_text: &str, agent: Option<(&str, &str)>) -> State {
    let mut keys = vec![ClientKey { client: "reader", uid: "uid-reader", key: READER }];
    if let Some((uid, key)) = agent {
        keys.push(ClientKey { client: "agent", uid, key });
    }
    State { policy: policy(policy_text).unwrap(), credentials: credentials(&keys).unwrap() }
}

fn both() -> State {
    state(&policy_text(NOWHERE), Some(("uid-agent", AGENT)))
}

fn without_agent() -> State {
    let text: Vec<String> =
        policy_text(NOWHERE).lines().filter(|line| !line.contains("id: agent")).map(str::to_owned).collect();
    state(&text.join("\n"), None)
}

/// The same name, made again: another UID, another key, and only one tool.
fn made_again() -> State {
    let text =
        policy_text(NOWHERE).replace("uid: uid-agent, tools: [echo, find, note]", "uid: uid-again, tools: [find]");
    state(&text, Some(("uid-again", AGAIN)))
}

/// What a key may do: the tools that it lists and the one call that needs no backend, or the words that refuse it.
async fn access(server: &Server, key: &str) -> Value {
    let list = server.ask(&post(key, &rpc("tools/list", json!({})))).await.unwrap();
    let echo = server.call(key, "echo", json!({"text": "x"})).await.unwrap();
    let names: Value = list.json()["result"]["tools"]
        .as_array()
        .map(|tools| tools.iter().map(|tool| tool["name"].clone()).collect())
        .unwrap_or(Value::Null);
    match list.status {
        200 => json!({"tools": names, "echo": echo.json()["result"]["content"][0]["text"] == "you said x"}),
        status => {
            assert_eq!((status, list.json()), (echo.status, echo.json()), "list and call agree");
            json!([status, list.json()["error"]])
        }
    }
}

async fn accesses(server: &Server, keys: &[&str]) -> Vec<Value> {
    let mut found = Vec::new();
    for key in keys {
        found.push(access(server, key).await);
    }
    found
}

/// Goes through all four mixes, once as a reload of each file by itself and once as a start on the mix, and says what the
/// keys may do in each: old and old, old policy with new credentials, new policy with old credentials, new and new.
async fn mixes(old: &State, new: &State, keys: &[&str]) -> [Vec<Value>; 4] {
    let mut found = Vec::new();
    for (policy, credentials) in [
        (&old.policy, &old.credentials),
        (&old.policy, &new.credentials),
        (&new.policy, &old.credentials),
        (&new.policy, &new.credentials),
    ] {
        let started = Server::start(policy, credentials).await.unwrap();
        let here = accesses(&started, keys).await;
        drop(started);
        // From each end, with the file that differs swapped alone.
        for from in [old, new] {
            let reloaded = Server::start(&from.policy, &from.credentials).await.unwrap();
            accesses(&reloaded, keys).await;
            reloaded.config.write_policy(policy).unwrap();
            reloaded.config.write_credentials(credentials).unwrap();
            reloaded.serves(policy.revision(), credentials.revision()).await.unwrap();
            assert_eq!(accesses(&reloaded, keys).await, here, "a reload comes to the same as a start");
        }
        found.push(here);
    }
    found.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_removed_has_no_access_as_soon_as_either_file_says_so() {
    let (unknown, stranger) = (json!([401, "Invalid API key"]), json!([403, "Client not recognised"]));
    let full = json!({"tools": ["echo", "find", "note"], "echo": true});
    let reader = json!({"tools": ["echo", "find"], "echo": true});
    let found = mixes(&both(), &without_agent(), &[AGENT, READER]).await;
    let expected = [
        vec![full, reader.clone()],
        vec![unknown.clone(), reader.clone()],
        vec![stranger, reader.clone()],
        vec![unknown, reader],
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_made_again_inherits_nothing_and_lends_nothing() {
    let (unknown, stranger) = (json!([401, "Invalid API key"]), json!([403, "Client not recognised"]));
    let old = json!({"tools": ["echo", "find", "note"], "echo": true});
    let new = json!({"tools": ["find"], "echo": false});
    let found = mixes(&both(), &made_again(), &[AGENT, AGAIN]).await;
    let expected = [
        vec![old, unknown.clone()],
        // The new key with the old policy, and the old key with the new one: the UIDs disagree.
        vec![unknown.clone(), stranger.clone()],
        vec![stranger, unknown.clone()],
        vec![unknown, new],
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_server_without_files_is_not_ready_and_serves_nobody_until_they_come() {
    let config = portcullis_tests::server::ConfigFolder::new().unwrap();
    let server = Server::start_in(config, &[]).await.unwrap();
    let state = both();
    let request = call(AGENT, "echo", json!({"text": "x"}));
    assert_eq!(server.ask(&request).await.unwrap().status, 503);
    assert_eq!(server.admin("/readyz").await.unwrap().status, 503);
    assert_eq!(server.admin("/livez").await.unwrap().status, 200);
    server.config.write_text(Some(&state.policy.print().unwrap()), None).unwrap();
    assert!([401, 503].contains(&server.ask(&request).await.unwrap().status), "a policy alone lets nobody in");
    server.config.write(&state.policy, &state.credentials).unwrap();
    server.serves(state.policy.revision(), state.credentials.revision()).await.unwrap();
    assert_eq!(server.ask(&request).await.unwrap().status, 200);
    assert_eq!(server.ask(&Request::get("/health")).await.unwrap().status, 200);
}
