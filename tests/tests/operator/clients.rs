//! Which access clients are granted, and how fast it is taken away.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use portcullis_crds::{McpClient, McpServer};
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, condition, expect_eq, repository, until};
use serde_json::{Value, json};

/// Waits until the policy has no such client, and returns how long that took.
async fn lost(cluster: &TestCluster, namespace: &str, id: &str) -> Duration {
    let start = Instant::now();
    until(PATIENCE, async || {
        let policy = cluster.policy(namespace).await?;
        expect_eq(policy.clients.iter().any(|client| client.id.as_str() == id), false)
    })
    .await;
    start.elapsed()
}

/// The manifest of a client of the example's server.
fn client(namespace: &str, name: &str, server: Value, tools: Value) -> String {
    let access = json!({"serverRef": server, "tools": tools, "maxRecordsPerQuery": 100, "allowWrite": true});
    let spec = json!({"access": [access], "credentials": {"apiKey": {"secretName": format!("{name}-key")}}});
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient", "metadata": metadata, "spec": spec})
        .to_string()
}

#[tokio::test]
async fn a_removal_is_published_promptly_even_if_the_server_is_invalid() {
    let cluster = TestCluster::start_with_crm().await;
    let clients = cluster.api::<McpClient>("sales");

    clients.delete("readonly-dashboard", &DeleteParams::default()).await.unwrap();
    let took = lost(&cluster, "sales", "readonly-dashboard").await;
    assert!(took < PROMPTLY, "{took:?}");

    // A spec that the API server accepts and the operator's checks refuse.
    let broken = json!({"spec": {"limits": {"perClient": {"requests": 1, "per": "1m"}}}});
    cluster.patch::<McpServer>("sales", "crm", broken).await;
    let (condition, message) = until(PATIENCE, async || {
        let found = cluster.server_condition("sales", "Accepted").await?;
        expect_eq(found.0.as_str(), "False/Invalid")?;
        Ok::<_, String>(found)
    })
    .await;
    assert!(message.contains("spec.limits.perClient.requests: "), "{condition} {message}");
    clients.delete("reporting-agent", &DeleteParams::default()).await.unwrap();
    let took = lost(&cluster, "sales", "reporting-agent").await;
    assert!(took < PROMPTLY, "{took:?}");
    let policy = cluster.policy("sales").await.unwrap();
    assert_eq!(policy.server.unwrap().readable.spec.limits.per_client.requests, 60, "the last valid half stays");

    // A suspended client stays in the policy, marked as suspended.
    cluster.patch::<McpClient>("sales", "customer-service-agent", json!({"spec": {"suspended": true}})).await;
    until(PROMPTLY, async || {
        expect_eq(cluster.policy("sales").await?.clients.iter().all(|client| client.suspended), true)
    })
    .await;
    cluster.until_client_condition("sales", "customer-service-agent", "Ready", "True/Suspended").await;
}

/// The pause between many changes, so that they keep coming while the operator publishes.
const BETWEEN_CHANGES: Duration = Duration::from_millis(40);

#[tokio::test]
async fn many_changes_are_published_together_and_soon() {
    let cluster = TestCluster::start_with_crm().await;
    cluster.until_quiet(Duration::from_secs(2)).await;
    let mark = cluster.control_plane.audit().mark().unwrap();
    let start = Instant::now();
    for n in 0..60 {
        let manifest = client("sales", &format!("agent-{n}"), json!({"name": "crm"}), json!(["*"]));
        let client: McpClient = serde_json::from_str(&manifest).unwrap();
        cluster.api("sales").create(&PostParams::default(), &client).await.unwrap();
        // Starts a reconcile of the server, as the operator's own write of the policy does if the watch delivers it early.
        let annotation = json!({"metadata": {"annotations": {"example.com/changes": n.to_string()}}});
        cluster.patch::<Service>("sales", "crm", annotation).await;
        tokio::time::sleep(BETWEEN_CHANGES).await;
    }
    let applied_in = start.elapsed();
    until(PATIENCE, async || {
        let (policy, credentials) = (cluster.policy("sales").await?, cluster.credentials("sales").await?);
        let keys = credentials.clients.iter().filter(|client| !client.api_keys.is_empty()).count();
        expect_eq((policy.clients.len(), keys), (63, 63))
    })
    .await;
    let took = start.elapsed();
    println!("60 changes in {applied_in:?} were published after {took:?}");
    // One by one, at one a second, they would take a minute.
    assert!(took < applied_in + Duration::from_secs(20), "{took:?} after {applied_in:?}");
    let policies = cluster.writes(mark).iter().filter(|write| write.resource == "configmaps").count();
    // In each second one is due, one has what changed while that was written, and at most one is by a reconcile that had just
    // started for another reason. If every reconcile published, there would be one for nearly every change.
    let most = 3 * (1 + took.as_secs() as usize);
    assert!(policies <= most, "{policies} writes of the policy in {took:?}");
}

#[tokio::test]
async fn a_client_of_another_namespace_gets_what_the_rule_for_it_grants() {
    let cluster = TestCluster::start().await;
    cluster.crm("sales").await;
    cluster.namespace("marketing").await;
    let server = json!({"name": "crm", "namespace": "sales"});
    cluster.apply(&client("marketing", "agent", server, json!(["*"])));
    until(PATIENCE, async || {
        let status = cluster.api::<McpClient>("marketing").get("agent").await.unwrap().status.unwrap_or_default();
        let access = status.servers.first().ok_or("nothing about the server yet")?;
        expect_eq(condition(&access.conditions, "Accepted")?.0.as_str(), "False/NotAllowed")
    })
    .await;

    let rules = json!([
        {"namespaces": {"from": "Same"}},
        {"namespaces": {"from": "All"}, "allow": {"tools": ["search_contacts", "create_note"], "effects": ["Read"], "maxRecordsPerQuery": 5}},
    ]);
    cluster.patch::<McpServer>("sales", "crm", json!({"spec": {"clients": rules}})).await;
    until(PATIENCE, async || {
        let policy = cluster.policy("sales").await?;
        let agent = policy
            .clients
            .iter()
            .find(|client| client.id.as_str() == "marketing/agent")
            .ok_or("the client is not in the policy yet")?;
        let tools: Vec<&str> = agent.tools.iter().map(|tool| tool.as_str()).collect();
        expect_eq((tools, agent.max_records_per_query, agent.allow_write), (vec!["search_contacts"], 5, false))
    })
    .await;
    until(PATIENCE, async || {
        let status = cluster.api::<McpClient>("marketing").get("agent").await.unwrap().status.unwrap_or_default();
        let access = status.servers.first().ok_or("nothing about the server yet")?;
        expect_eq(condition(&access.conditions, "Accepted")?.0.as_str(), "True/Narrowed")
    })
    .await;
}

#[tokio::test]
async fn a_client_that_cannot_be_decoded_is_reported_and_keeps_its_access_and_the_others_go_on() {
    let cluster = TestCluster::start_with_crm().await;

    // The schema of this cluster accepts more than the operator can decode.
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.control_plane.client());
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}});
    let mut crd = serde_json::to_value(crds.get("mcpclients.portcullis.dev").await.unwrap()).unwrap();
    crd["spec"]["versions"][0]["schema"] = schema;
    let patch = json!({"spec": {"versions": crd["spec"]["versions"]}});
    crds.patch("mcpclients.portcullis.dev", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    until(PATIENCE, async || {
        let broken = json!({"spec": {"access": "everything"}});
        let clients = cluster.api::<McpClient>("sales");
        let patched = clients.patch_metadata("reporting-agent", &PatchParams::default(), &Patch::Merge(broken)).await;
        patched.map(drop).map_err(|error| error.to_string())
    })
    .await;

    // The other clients go on, and this one keeps what it had.
    let clients = cluster.api::<McpClient>("sales");
    until(PATIENCE, async || {
        let deleted = clients.delete("readonly-dashboard", &DeleteParams::default()).await;
        deleted.map(drop).map_err(|error| error.to_string())
    })
    .await;
    lost(&cluster, "sales", "readonly-dashboard").await;
    let policy = cluster.policy("sales").await.unwrap();
    let ids: Vec<&str> = policy.clients.iter().map(|client| client.id.as_str()).collect();
    assert_eq!(ids, ["customer-service-agent", "reporting-agent"]);
    until(PATIENCE, async || {
        let arguments = ["get", "mcpc", "reporting-agent", "-n", "sales", "-o", "json"];
        let printed = cluster.control_plane.kubectl(arguments).map_err(|error| error.to_string())?;
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let accepted = &printed["status"]["conditions"][0];
        let message = accepted["message"].as_str().unwrap_or_default();
        expect_eq((accepted["reason"].as_str(), message.contains("spec.access: ")), (Some("Invalid"), true))
    })
    .await;

    // What takes access away counts, although the rest still cannot be decoded.
    let suspended = json!({"spec": {"suspended": true}});
    cluster
        .api::<McpClient>("sales")
        .patch_metadata("reporting-agent", &PatchParams::default(), &Patch::Merge(suspended))
        .await
        .unwrap();
    until(PATIENCE, async || {
        let policy = cluster.policy("sales").await?;
        let suspended = policy.clients.iter().filter(|client| client.suspended).map(|client| client.id.as_str());
        expect_eq(suspended.collect::<Vec<_>>(), vec!["reporting-agent"])
    })
    .await;

    // When it is deleted it loses its access like any other.
    cluster.control_plane.kubectl(["delete", "mcpc", "reporting-agent", "-n", "sales"]).unwrap();
    let took = lost(&cluster, "sales", "reporting-agent").await;
    assert!(took < PROMPTLY, "{took:?}");
    assert!(cluster.api::<ConfigMap>("sales").get("crm-policy-v1").await.is_ok());
}

#[tokio::test]
async fn nothing_is_published_while_a_definition_is_missing() {
    let mut cluster = TestCluster::without_operator().await;
    cluster.control_plane.kubectl(["delete", "crd", "mcpclients.portcullis.dev"]).unwrap();
    cluster.namespace("sales").await;
    let server = repository("examples/crm/server.yaml");
    cluster.control_plane.kubectl(["apply", "-f", &server]).unwrap();
    cluster.start_operator();
    let operator = cluster.operator.as_ref().unwrap();
    operator.line("CustomResourceDefinition mcpclients.portcullis.dev is missing", PATIENCE).await.unwrap();
    cluster.until_quiet(Duration::from_secs(2)).await;
    assert!(
        cluster.policy("sales").await.is_err(),
        "a missing list is not an empty one, which would cut every client off"
    );

    let crds = repository("crds");
    cluster.control_plane.kubectl(["apply", "--server-side", "-f", &crds]).unwrap();
    // The first one may have ended: it waits for its definitions for a few seconds.
    cluster.start_operator();
    until(PATIENCE, async || cluster.policy("sales").await.map(drop)).await;
}

#[tokio::test]
async fn a_server_with_a_finalizer_still_takes_up_revocations_after_its_deletion_and_nothing_is_created_for_it() {
    let cluster = TestCluster::start().await;
    cluster.crm("sales").await;
    let client = async |name: &str| {
        let policy = cluster.policy("sales").await?;
        Ok::<_, String>(policy.clients.iter().any(|client| client.id.as_str().ends_with(name)))
    };
    until(PATIENCE, async || expect_eq(client("reporting-agent").await?, true)).await;
    // It is written after the policy, and the last of the objects.
    cluster.until_server_condition("sales", "Accepted", "True/Valid").await;
    cluster.patch::<McpServer>("sales", "crm", json!({"metadata": {"finalizers": ["example.com/wait"]}})).await;
    cluster.api::<McpServer>("sales").delete("crm", &DeleteParams::default()).await.unwrap();
    cluster.until_client_condition("sales", "reporting-agent", "Ready", "False/ServerNotFound").await;
    cluster.api::<McpClient>("sales").delete("reporting-agent", &DeleteParams::default()).await.unwrap();
    until(PATIENCE, async || expect_eq(client("reporting-agent").await?, false)).await;
    let services = cluster.api::<Service>("sales");
    services.delete("crm", &DeleteParams::default()).await.unwrap();
    cluster.until_quiet(Duration::from_secs(3)).await;
    assert!(services.get_opt("crm").await.unwrap().is_none(), "what was deleted is not created again");
}
