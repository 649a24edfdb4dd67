//! Policy and credentials are two files, and one may be newer than the other. No mix of two states gives access that neither of
//! them gave.

use portcullis_crds::contract::{Credentials, Policy};
use portcullis_tests::server::{ClientKey, TestServer, credentials, post, rpc};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

/// One state of both files.
struct State {
    policy: Policy,
    credentials: Credentials,
}

/// The key of `agent` after it was created again.
const NEW_KEY: &str = "portcullis_again-again-again-again-again-again-0";

fn state(document: &Value, agent: Option<(&str, &str)>) -> State {
    let mut keys = vec![ClientKey { client: "reader", uid: "uid-reader", key: READER }];
    keys.extend(agent.map(|(uid, key)| ClientKey { client: "agent", uid, key }));
    State { policy: parsed(document), credentials: credentials(&keys).unwrap() }
}

fn both_clients() -> State {
    state(&document(NOWHERE), Some(("uid-agent", AGENT)))
}

fn without_agent() -> State {
    let mut document = document(NOWHERE);
    document["clients"].as_array_mut().unwrap().retain(|client| client["id"] != "agent");
    state(&document, None)
}

/// With another UID, another key and one tool for a client of the same name.
fn agent_created_again() -> State {
    let mut document = document(NOWHERE);
    let agent = client_of(&mut document, "agent");
    (agent["uid"], agent["tools"]) = (json!("uid-again"), json!(["find"]));
    state(&document, Some(("uid-again", NEW_KEY)))
}

/// What a key gives access to: the tools in its list, or the refusal of list and call.
async fn access(server: &TestServer, key: &str) -> Value {
    let list = server.send(&post(key, &rpc("tools/list", json!({})))).await.unwrap();
    let echo = server.call(key, "echo", json!({"text": "x"})).await.unwrap().to_value();
    if list.status != 200 {
        assert_eq!(echo, list.to_value(), "list and call agree");
        return echo;
    }
    let names = tool_names(&list);
    let is_listed = names.iter().any(|name| name == "echo");
    let expected = if is_listed { response(200, rpc_result(echoed("x"))) } else { denied("echo") };
    assert_eq!(echo, expected, "list and call agree");
    json!(names)
}

async fn accesses(server: &TestServer, keys: &[&str]) -> Vec<Value> {
    let mut found = Vec::new();
    for key in keys {
        found.push(access(server, key).await);
    }
    found
}

/// What the keys give access to in each mix: old and old, old policy with new credentials, new policy with old credentials, new
/// and new. A server that starts with a mix and one that comes to it by a change of either file agree.
async fn mixes(old: &State, new: &State, keys: &[&str]) -> [Vec<Value>; 4] {
    let mut found = Vec::new();
    for (policy, credentials) in [
        (&old.policy, &old.credentials),
        (&old.policy, &new.credentials),
        (&new.policy, &old.credentials),
        (&new.policy, &new.credentials),
    ] {
        let started = TestServer::start(policy, credentials).await.unwrap();
        let expected = accesses(&started, keys).await;
        drop(started);
        for from in [old, new] {
            let changed = TestServer::start(&from.policy, &from.credentials).await.unwrap();
            changed.config.write_policy(policy).unwrap();
            changed.config.write_credentials(credentials).unwrap();
            changed.serves(policy.revision().as_str(), credentials.revision().as_str()).await.unwrap();
            assert_eq!(accesses(&changed, keys).await, expected);
        }
        found.push(expected);
    }
    found.try_into().unwrap()
}

fn unknown_key() -> Value {
    plain_refusal(401, "Invalid API key")
}

fn not_recognised() -> Value {
    plain_refusal(403, "Client not recognised")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_removed_loses_its_access_with_the_first_of_the_two_files() {
    let all = json!(["echo", "find", "note"]);
    let readable = || json!(["echo", "find"]);
    let expected = [
        vec![all, readable()],
        vec![unknown_key(), readable()],
        vec![not_recognised(), readable()],
        vec![unknown_key(), readable()],
    ];
    assert_eq!(mixes(&both_clients(), &without_agent(), &[AGENT, READER]).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_created_again_inherits_no_access_and_passes_none_on() {
    let expected = [
        vec![json!(["echo", "find", "note"]), unknown_key()],
        // The new key with the old policy, and the old key with the new policy: the UIDs differ.
        vec![unknown_key(), not_recognised()],
        vec![not_recognised(), unknown_key()],
        vec![unknown_key(), json!(["find"])],
    ];
    assert_eq!(mixes(&both_clients(), &agent_created_again(), &[AGENT, NEW_KEY]).await, expected);
}
