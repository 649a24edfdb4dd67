//! kill -9 after each write in turn, before its answer arrives: the same end, and no key changed.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams};
use portcullis_crds::{McpClient, McpServer};
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::world::{World, condition, expect, until};

/// What must be the same however often the operator was killed: all but names of revisions and times.
async fn end_state(world: &World, namespace: &str) -> Result<Value, String> {
    let served = world.served(namespace).await?;
    let server = world.api::<McpServer>(namespace).get("crm").await.map_err(|error| error.to_string())?;
    let status = server.status.ok_or("no status")?;
    expect(status.observed_generation, server.metadata.generation)?;
    let mut clients = BTreeMap::new();
    for client in world.api::<McpClient>(namespace).list(&ListParams::default()).await.unwrap() {
        let status = client.status.ok_or("no status")?;
        let access = status.servers.first().ok_or("nothing about the server")?;
        let granted = access.granted.as_ref().map(|granted| granted.tools);
        let says = (condition(&status.conditions, "CredentialsReady")?.0, condition(&access.conditions, "Accepted")?.0);
        clients.insert(client.metadata.name, (says, granted));
    }
    let policy = status.policy.ok_or("no policy in the status")?;
    expect(policy.revision.as_str(), world.policy(namespace).await?.revision.as_str())?;
    expect(policy.credentials_revision.as_str(), world.credentials(namespace).await?.revision.as_str())?;
    Ok(json!({
        "served": served,
        "accepted": condition(&status.conditions, "Accepted")?.0,
        "ready": condition(&status.conditions, "Ready")?.0,
        "pods": status.pods.map(|pods| pods.total),
        "clients": clients.into_values().collect::<Vec<_>>(),
    }))
}

/// All keys that there are: the clients' own, and the server's.
async fn keys(world: &World, namespace: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for secret in world.api::<Secret>(namespace).list(&ListParams::default()).await.unwrap() {
        let name = secret.metadata.name.unwrap();
        if let Ok(key) = world.key(namespace, &name).await {
            keys.insert(name, key);
        }
    }
    if let Ok(credentials) = world.credentials(namespace).await {
        keys.insert("server".to_owned(), serde_json::to_string(&credentials.keys).unwrap());
    }
    keys
}

/// Starts the operator, kills it after that many writes, and starts it again. Whether it came to that many.
async fn is_killed_after(world: &mut World, gate: &Gate, writes: usize, settled: impl AsyncFn(&World) -> bool) -> bool {
    gate.let_through(writes);
    world.start_operator();
    gate.kills(world.operator.as_ref().unwrap().pid());
    let mut operator = world.operator.take().unwrap();
    let mut quiet = 0;
    let was_killed = loop {
        if operator.ended(Duration::from_millis(200)).await.is_ok() {
            break true;
        }
        quiet = if settled(world).await { quiet + 1 } else { 0 };
        if quiet > 15 {
            operator.signal(rustix::process::Signal::KILL).unwrap();
            operator.ended(Duration::from_secs(5)).await.unwrap();
            break false;
        }
    };
    gate.let_through(usize::MAX);
    was_killed
}

#[tokio::test]
async fn killed_after_any_write_it_comes_to_the_same_end_and_changes_no_key() {
    let mut world = World::without_operator().await;
    let gate = Gate::start(&world.kubeconfig, world.cluster.folder()).await;
    world.kubeconfig = gate.kubeconfig.clone();
    let created = json!({
        "served": ["customer-service-agent", "readonly-dashboard", "reporting-agent"],
        "accepted": "True/Valid", "ready": "False/Progressing", "pods": 2,
        "clients": [
            [["True/KeyIssued", "True/Granted"], 3], [["True/KeyIssued", "True/Granted"], 1], [["True/KeyIssued", "True/Granted"], 3],
        ],
    });
    let narrowed = json!({
        "served": ["customer-service-agent", "reporting-agent"],
        "accepted": "True/Valid", "ready": "False/Progressing", "pods": 2,
        "clients": [[["True/KeyIssued", "True/Granted"], 3], [["True/KeyIssued", "True/Granted"], 1]],
    });
    let mut kills = [0, 0];
    for writes in 1..60 {
        let namespace = format!("run-{writes}");
        world.crm(&namespace).await;
        let is_created = async |world: &World| end_state(world, &namespace).await.as_ref() == Ok(&created);
        let was_killed = is_killed_after(&mut world, &gate, writes, is_created).await;
        kills[0] += usize::from(was_killed);
        let before = keys(&world, &namespace).await;
        world.start_operator();
        until(30, async || expect(end_state(&world, &namespace).await?, created.clone())).await;
        world.settled(Duration::from_millis(700)).await;
        let after = keys(&world, &namespace).await;
        assert_eq!(after.len(), 4);
        assert!(before.iter().all(|(name, key)| after.get(name) == Some(key)), "a key changed after write {writes}");
        world.kill_operator().await;

        let clients = world.api::<McpClient>(&namespace);
        clients.delete("readonly-dashboard", &DeleteParams::default()).await.unwrap();
        let fewer = json!({"spec": {"access": [{"serverRef": {"name": "crm"}, "tools": ["get_deal_summary"], "maxRecordsPerQuery": 5}]}});
        world.patch::<McpClient>(&namespace, "reporting-agent", fewer).await;
        let is_narrowed = async |world: &World| end_state(world, &namespace).await.as_ref() == Ok(&narrowed);
        let was_killed_again = is_killed_after(&mut world, &gate, writes, is_narrowed).await;
        kills[1] += usize::from(was_killed_again);
        world.start_operator();
        until(30, async || expect(end_state(&world, &namespace).await?, narrowed.clone())).await;
        let last = keys(&world, &namespace).await;
        assert!(last.iter().all(|(name, key)| after.get(name) == Some(key)), "a key changed after write {writes}");
        world.kill_operator().await;
        let server = world.api::<McpServer>(&namespace);
        server.delete("crm", &DeleteParams::default()).await.unwrap();
        world.cluster.kubectl(["delete", "mcpc", "--all", "-n", &namespace]).unwrap();
        if !was_killed && !was_killed_again {
            break;
        }
    }
    assert!(kills[0] >= 10 && kills[1] >= 4, "there were more writes than {kills:?} to be killed after");
}
