//! A caller whose access ends while its request is on its way: nothing is done for it that had not begun before.

use portcullis_tests::backend::{Backend, Gate, Reply};
use portcullis_tests::http::Connection;
use portcullis_tests::server::{TestServer, call};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::expected::*;
use crate::fixtures::*;

/// The names say what will have happened to the clients.
const CLIENTS: [&str; 6] = ["suspended", "revoked", "removed", "narrowed", "reading", "kept"];

/// The policy of these clients, who may all write.
fn of_clients(api: &str, clients: &[&str]) -> Value {
    let mut document = document(api);
    document["clients"] = clients.iter().map(|id| client(id, &["echo", "note"], 10, true)).collect();
    document
}

#[tokio::test]
async fn a_body_that_was_half_sent_when_access_ended_has_no_effect() {
    let backend = Backend::start(|_| Reply::Json(200, json!({}))).await.unwrap();
    let server = start_for(&of_clients(&backend.url(), &CLIENTS), &CLIENTS).await;
    let mut waiting = Vec::new();
    for id in CLIENTS {
        let request = call(&key_of(id), "note", json!({"id": id, "text": "x".repeat(9_000)})).bytes();
        let (most, rest) = request.split_at(request.len() - 10);
        let mut connection = Connection::open(server.listen).await.unwrap();
        connection.write(most).await.unwrap();
        waiting.push((id, connection, rest.to_vec()));
    }
    server.log.at_least(CLIENTS.len(), "auth_success", PATIENCE).await.unwrap();

    let mut document = of_clients(&backend.url(), &["suspended", "revoked", "narrowed", "reading", "kept"]);
    client_of(&mut document, "suspended")["suspended"] = json!(true);
    client_of(&mut document, "narrowed")["tools"] = json!(["echo"]);
    client_of(&mut document, "reading")["allowWrite"] = json!(false);
    let policy = parsed(&document);
    let with_key = CLIENTS.into_iter().filter(|id| *id != "revoked").collect::<Vec<_>>();
    server.reconfigure(&policy, &keys_of(&with_key)).await.unwrap();

    for (id, mut connection, rest) in waiting {
        connection.write(&rest).await.unwrap();
        let found = connection.response().await.unwrap().to_value();
        let expected = match id {
            "suspended" | "removed" => plain_refusal(403, "Client not recognised"),
            "revoked" => plain_refusal(401, "Invalid API key"),
            "narrowed" | "reading" => denied("note"),
            _ => response(200, found["body"].clone()),
        };
        assert_eq!(found, expected, "{id}");
    }
    let received: Vec<_> = backend.received().into_iter().map(|request| request.target).collect();
    assert_eq!(received, ["/contacts/kept/notes"]);
    let started = server.log.events("tool_call_start").unwrap();
    let started: Vec<_> = started.iter().map(|record| (&record["clientId"], &record["revision"])).collect();
    assert_eq!(started, [(&json!("kept"), &json!(policy.revision().as_str()))]);
}

/// Suspends `agent` while its call waits for a connection to the backend, all of which the calls of `reader` have.
pub async fn server_that_withdrew_a_call() -> TestServer {
    server_that_withdrew(true).await
}

/// The same. The caller stays for the response, or disconnects before the suspension.
async fn server_that_withdrew(stays: bool) -> TestServer {
    loop {
        // On a busy machine the call may not wait for as long as the suspension takes: once more.
        if let Some(server) = try_to_withdraw_a_call(stays).await {
            return server;
        }
    }
}

async fn try_to_withdraw_a_call(stays: bool) -> Option<TestServer> {
    let gate = Gate::closed();
    let script = gate.clone();
    let backend = Backend::start(move |_| Reply::Json(200, json!({"items": []})).held(&script)).await.unwrap();
    let mut document = document(&backend.url());
    // A process that may open so many files has 20 connections to one backend.
    let server = TestServer::start_limited(&parsed(&document), &keys(), 160).await.unwrap();
    let address = server.listen;
    let mut reading = JoinSet::new();
    for n in 0..20 {
        // And 5 connections of one address.
        let mut reader = Connection::open_from([127, 0, 0, 2 + n / 4].into(), address).await.unwrap();
        reading.spawn(async move { reader.send(&call(READER, "find", json!({"query": "x"}))).await.unwrap().status });
    }
    until(PATIENCE, async || expect_eq(backend.received().len(), 20)).await;
    let note = call(AGENT, "note", json!({"id": "1", "text": "x"}));
    let mut writing = Connection::open(address).await.unwrap();
    writing.write(&note.bytes()).await.unwrap();
    server.log.at_least(21, "tool_call_start", PATIENCE).await.unwrap();
    let writing = match stays {
        true => Some(writing),
        false => writing.reset().map(|()| None).unwrap(),
    };
    let connections = format!("portcullis_connections {}\n", 20 + usize::from(stays));
    until(PATIENCE, async || match server.admin("/metrics").await.unwrap().text() {
        metrics if metrics.contains(&connections) => Ok(()),
        _ => Err("other connections"),
    })
    .await;
    client_of(&mut document, "agent")["suspended"] = json!(true);
    server.reconfigure(&parsed(&document), &keys()).await.unwrap();
    if let Some(mut writing) = writing {
        let found = writing.response().await.unwrap().to_value();
        if found == response(200, rpc_result(tool_error("Backend 'api' is busy. Try again."))) {
            return None;
        }
        let ended = tool_error("The access to this tool has ended; nothing was done.");
        assert_eq!(found, response(200, rpc_result(ended)));
    }
    if server.log.event("tool_call_error", PATIENCE).await.unwrap()["error"] == "backend_busy" {
        return None;
    }
    gate.open();
    assert_eq!(reading.join_all().await, [200; 20], "the calls of others go on");
    assert!(backend.received().iter().all(|request| request.method == "GET"), "the call that writes was not sent");
    Some(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_a_connection_when_access_ends_is_not_sent() {
    for stays in [true, false] {
        let server = server_that_withdrew(stays).await;
        let end = server.log.event("tool_call_error", PATIENCE).await.unwrap();
        assert_eq!((&end["clientId"], &end["error"]), (&json!("agent"), &json!("access_ended")), "{stays}");
    }
}
