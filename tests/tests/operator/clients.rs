//! Who gets what, and how fast it is taken away.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use portcullis_crds::{McpClient, McpServer};
use serde_json::json;

use crate::world::{World, client, condition, expect, until};

/// Waits until the policy has no such client, and says how long that took.
async fn lost(world: &World, namespace: &str, id: &str) -> Duration {
    let start = Instant::now();
    until(10, async || {
        let policy = world.policy(namespace).await?;
        expect(policy.clients.iter().any(|client| client.id.as_str() == id), false)
    })
    .await;
    start.elapsed()
}

#[tokio::test]
async fn a_removal_is_published_within_two_seconds_whatever_state_the_server_is_in() {
    let world = World::start().await;
    world.crm("sales").await;
    until(20, async || expect(world.served("sales").await?.len(), 3)).await;
    let clients = world.api::<McpClient>("sales");

    clients.delete("readonly-dashboard", &DeleteParams::default()).await.unwrap();
    let took = lost(&world, "sales", "readonly-dashboard").await;
    assert!(took < Duration::from_secs(2), "{took:?}");

    // A spec that the API server takes and the checks refuse: its schema is no schema.
    let broken = json!({"spec": {"limits": {"perClient": {"requests": 1, "per": "1m"}}}});
    world.patch::<McpServer>("sales", "crm", broken).await;
    let (condition, message) = until(10, async || {
        let found = world.server_condition("sales", "Accepted").await?;
        expect(found.0.as_str(), "False/Invalid")?;
        Ok(found)
    })
    .await;
    assert!(message.contains("spec.limits.perClient.requests: "), "{condition} {message}");
    clients.delete("reporting-agent", &DeleteParams::default()).await.unwrap();
    let took = lost(&world, "sales", "reporting-agent").await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let policy = world.policy("sales").await.unwrap();
    assert_eq!(policy.server.unwrap().spec.limits.per_client.requests, 60, "the last valid half stays");

    // Suspended: still in the policy, as nobody.
    world.patch::<McpClient>("sales", "customer-service-agent", json!({"spec": {"suspended": true}})).await;
    until(2, async || expect(world.policy("sales").await?.clients.iter().all(|client| client.suspended), true)).await;
    until(5, async || {
        let found = world.client_condition("sales", "customer-service-agent", "Ready").await?;
        expect(found.0.as_str(), "True/Suspended")
    })
    .await;
}

#[tokio::test]
async fn many_changes_are_published_together_and_none_waits_for_more_than_a_second() {
    let world = World::start().await;
    world.crm("sales").await;
    until(20, async || expect(world.served("sales").await?.len(), 3)).await;
    world.settled(Duration::from_secs(2)).await;
    let mark = world.cluster.audit().mark().unwrap();
    let start = Instant::now();
    let many: Vec<String> =
        (0..60).map(|n| client("sales", &format!("agent-{n}"), json!({"name": "crm"}), json!(["*"]))).collect();
    world.apply(&many.join("\n---\n"));
    let made_in = start.elapsed();
    until(20, async || {
        let (policy, credentials) = (world.policy("sales").await?, world.credentials("sales").await?);
        let keys = credentials.clients.iter().filter(|client| !client.api_keys.is_empty()).count();
        expect((policy.clients.len(), keys), (63, 63))
    })
    .await;
    let took = start.elapsed();
    assert!(took < made_in + Duration::from_secs(6), "{took:?} after {made_in:?}");
    let policies = world.writes(mark).iter().filter(|write| write.resource == "configmaps").count();
    assert!(policies <= 6 + 2 * took.as_secs() as usize, "{policies} writes of the policy in {took:?}");
}

#[tokio::test]
async fn a_client_of_another_namespace_gets_what_the_rule_for_it_grants() {
    let world = World::start().await;
    world.crm("sales").await;
    world.namespace("marketing").await;
    let server = json!({"name": "crm", "namespace": "sales"});
    world.apply(&client("marketing", "agent", server, json!(["*"])));
    until(15, async || {
        let status = world.api::<McpClient>("marketing").get("agent").await.unwrap().status.unwrap_or_default();
        let access = status.servers.first().ok_or("nothing about the server yet")?;
        expect(condition(&access.conditions, "Accepted")?.0.as_str(), "False/NotAllowed")
    })
    .await;

    let rules = json!([
        {"namespaces": {"from": "Same"}},
        {"namespaces": {"from": "All"}, "allow": {"tools": ["search_contacts", "create_note"], "effects": ["Read"], "maxRecordsPerQuery": 5}},
    ]);
    world.patch::<McpServer>("sales", "crm", json!({"spec": {"clients": rules}})).await;
    until(10, async || {
        let policy = world.policy("sales").await?;
        let agent =
            policy.clients.iter().find(|client| client.id.as_str() == "marketing/agent").ok_or("not in it yet")?;
        let tools: Vec<&str> = agent.tools.iter().map(|tool| tool.as_str()).collect();
        expect((tools, agent.max_records_per_query, agent.allow_write), (vec!["search_contacts"], 5, false))
    })
    .await;
    until(10, async || {
        let status = world.api::<McpClient>("marketing").get("agent").await.unwrap().status.unwrap_or_default();
        let access = status.servers.first().ok_or("nothing about the server yet")?;
        expect(condition(&access.conditions, "Accepted")?.0.as_str(), "True/Narrowed")
    })
    .await;
}

#[tokio::test]
async fn an_object_that_cannot_be_decoded_is_reported_and_keeps_its_access_and_harms_no_other() {
    let world = World::start().await;
    world.crm("sales").await;
    until(20, async || expect(world.served("sales").await?.len(), 3)).await;

    // A cluster whose schema lets more pass than this operator can read.
    let crds: Api<CustomResourceDefinition> = Api::all(world.cluster.client());
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}});
    let mut crd = serde_json::to_value(crds.get("mcpclients.portcullis.dev").await.unwrap()).unwrap();
    crd["spec"]["versions"][0]["schema"] = schema;
    let patch = json!({"spec": {"versions": crd["spec"]["versions"]}});
    crds.patch("mcpclients.portcullis.dev", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    until(20, async || {
        let broken = json!({"spec": {"access": "everything"}});
        let clients = world.api::<McpClient>("sales");
        let patched = clients.patch_metadata("reporting-agent", &PatchParams::default(), &Patch::Merge(broken)).await;
        patched.map(drop).map_err(|error| error.to_string())
    })
    .await;

    // The others go on, and the one keeps what it had.
    let clients = world.api::<McpClient>("sales");
    until(10, async || {
        let gone = clients.delete("readonly-dashboard", &DeleteParams::default()).await;
        gone.map(drop).map_err(|error| error.to_string())
    })
    .await;
    lost(&world, "sales", "readonly-dashboard").await;
    let policy = world.policy("sales").await.unwrap();
    let ids: Vec<&str> = policy.clients.iter().map(|client| client.id.as_str()).collect();
    assert_eq!(ids, ["customer-service-agent", "reporting-agent"]);
    until(10, async || {
        let arguments = ["get", "mcpc", "reporting-agent", "-n", "sales", "-o", "json"];
        let printed: serde_json::Value = serde_json::from_str(&world.cluster.kubectl(arguments).unwrap()).unwrap();
        let accepted = &printed["status"]["conditions"][0];
        let says = (accepted["reason"].as_str(), accepted["message"].as_str().map(|it| it.contains("spec.access: ")));
        expect(says, (Some("Invalid"), Some(true)))
    })
    .await;

    // Deleted, it is cut off like any other.
    world.cluster.kubectl(["delete", "mcpc", "reporting-agent", "-n", "sales"]).unwrap();
    let took = lost(&world, "sales", "reporting-agent").await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(world.api::<ConfigMap>("sales").get("crm-policy-v1").await.is_ok());
}

#[tokio::test]
async fn nothing_is_published_while_a_definition_is_missing() {
    let mut world = World::without_operator().await;
    world.cluster.kubectl(["delete", "crd", "mcpclients.portcullis.dev"]).unwrap();
    world.namespace("sales").await;
    let server = crate::world::repository("examples/crm/server.yaml");
    world.cluster.kubectl(["apply", "-f", &server]).unwrap();
    world.start_operator();
    let operator = world.operator.as_ref().unwrap();
    operator.line("CustomResourceDefinition is missing", Duration::from_secs(10)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.policy("sales").await.is_err(), "an empty list of clients would cut everybody off");

    let crds = crate::world::repository("crds");
    world.cluster.kubectl(["apply", "--server-side", "-f", &crds]).unwrap();
    until(40, async || world.policy("sales").await.map(drop)).await;
}

#[tokio::test]
async fn a_server_that_waits_for_its_end_still_hears_of_revocations_and_is_given_nothing_new() {
    let world = World::start().await;
    world.crm("sales").await;
    let client = async |name: &str| {
        let policy = world.policy("sales").await?;
        Ok::<_, String>(policy.clients.iter().any(|client| client.id.as_str().ends_with(name)))
    };
    until(20, async || expect(client("reporting-agent").await?, true)).await;
    world.patch::<McpServer>("sales", "crm", json!({"metadata": {"finalizers": ["example.com/wait"]}})).await;
    world.api::<McpServer>("sales").delete("crm", &DeleteParams::default()).await.unwrap();
    until(20, async || {
        let (condition, _) = world.client_condition("sales", "reporting-agent", "Ready").await?;
        expect(condition, "False/ServerNotFound".into())
    })
    .await;
    world.api::<McpClient>("sales").delete("reporting-agent", &DeleteParams::default()).await.unwrap();
    until(20, async || expect(client("reporting-agent").await?, false)).await;
    let services = world.api::<Service>("sales");
    services.delete("crm", &DeleteParams::default()).await.unwrap();
    world.settled(Duration::from_secs(3)).await;
    assert!(services.get_opt("crm").await.unwrap().is_none(), "what is gone stays gone");
}
