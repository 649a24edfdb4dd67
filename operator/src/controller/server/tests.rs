//! The steps of a reconcile against a fake API server, with kinds of objects that are not built otherwise.

use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::{
    build::{BuiltKind, KINDS, Settings},
    cluster::{
        Cluster, FIELD_MANAGER,
        drift::ListRules,
        fence::Fence,
        kind::ObjectKind,
        scope::Scopes,
        testing::{Answer, FakeApi, Request, refusal, storing},
    },
};

/// A kind that the cluster lacks.
const ROUTE: BuiltKind = BuiltKind {
    object: ObjectKind::watched_if_served("example.com", "v1", "Route", "routes", ListRules::BUILT_IN),
    is_document: false,
    needs: &[],
    is_pruned: true,
    build: |input| {
        vec![json!({"apiVersion": "example.com/v1", "kind": "Route", "metadata": metadata(input.server.name())})]
    },
};

/// A kind of which a server has an object only while it has more than one replica.
const BUDGET: BuiltKind = BuiltKind {
    object: ObjectKind::watched("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    is_document: false,
    needs: &[],
    is_pruned: true,
    build: |input| {
        let is_built = input.spec.is_some_and(|spec| spec.replicas() > 1);
        let object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata("crm")});
        if is_built { vec![object] } else { Vec::new() }
    },
};

const WITH_BOTH: &[BuiltKind] = &[KINDS[0], KINDS[1], KINDS[2], KINDS[3], KINDS[4], ROUTE, BUDGET];

fn metadata(name: &str) -> Value {
    let owner = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpServer", "name": "crm", "uid": "uid-of-crm", "controller": true,
    });
    json!({
        "name": name, "namespace": "sales", "ownerReferences": [owner],
        "labels": {"app.kubernetes.io/instance": "crm"},
    })
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn crm() -> NamespacedName {
    NamespacedName { namespace: "sales".into(), name: "crm".into() }
}

/// What the operator has watched so far: one server.
fn context(api: &FakeApi, backend: &str) -> Arc<Context> {
    let settings = Settings { server_image: "image".into(), image_pull_policy: "Never".into() };
    let cluster = Cluster::new(api.client(), Fence::open());
    let context = Context::new(cluster, settings, WITH_BOTH, Scopes::all());
    let server = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpServer",
        "metadata": {"name": "crm", "namespace": "sales", "uid": "uid-of-crm", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "backends": [{"name": "fixed", "static": {}}],
            "tools": [{"name": "ping", "description": "Answers.", "backend": backend, "static": {"text": "pong"}}],
        },
    });
    context.servers.update(object(server).into());
    context
}

/// What was written, as `METHOD path` without the API's prefix and the namespace.
fn writes(api: &FakeApi) -> Vec<String> {
    let write = |request: Request| {
        let path = request.path.split('?').next().unwrap_or_default();
        let name = path.rsplit("/sales/").next().unwrap_or_default().to_owned();
        (request.method != "GET").then(|| format!("{} {name}", request.method))
    };
    let events = |write: &String| !write.ends_with("events");
    api.requests().into_iter().filter_map(write).filter(events).collect()
}

fn refused(request: &Request, path: &str) -> Answer {
    (request.method == "POST" && request.path.contains(path)).then(|| refusal(403))
}

#[tokio::test]
async fn a_kind_that_the_cluster_lacks_holds_up_nothing() {
    let api = storing(|_| None).await;
    let context = context(&api, "fixed");
    reconcile(&context, &crm()).await.unwrap();
    let expected = ["configmaps", "secrets", "serviceaccounts", "services", "deployments"];
    let expected: Vec<String> = expected.map(|plural| format!("POST {plural}")).into();
    assert_eq!(writes(&api), [expected, vec!["PATCH mcpservers/crm/status".into()]].concat());
}

#[tokio::test]
async fn a_write_that_fails_holds_up_what_needs_the_object_and_nothing_else() {
    let api = storing(|request| refused(request, "serviceaccounts")).await;
    let context = context(&api, "fixed");
    let error = reconcile(&context, &crm()).await.unwrap_err();
    assert_eq!(error.to_string(), "creating ServiceAccount sales/crm: forbidden (HTTP 403)");
    let expected = ["POST configmaps", "POST secrets", "POST serviceaccounts", "POST services"];
    assert_eq!(writes(&api)[..5], [&expected[..], &["PATCH mcpservers/crm/status"]].concat());
}

#[tokio::test]
async fn an_object_that_is_no_longer_built_is_deleted_if_it_is_the_operator_s_own_and_the_spec_is_valid() {
    let api = storing(|_| None).await;
    let budget = |name: &str, uid: &str, owner: &str, manager: &str| {
        let mut metadata = metadata(name);
        metadata["uid"] = json!(uid);
        metadata["resourceVersion"] = json!("1");
        metadata["ownerReferences"][0]["uid"] = json!(owner);
        metadata["managedFields"] = json!([{"manager": manager, "operation": "Apply"}]);
        object(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata}))
    };
    for (backend, expected) in [("nowhere", vec![]), ("fixed", vec!["DELETE poddisruptionbudgets/crm"])] {
        let context = context(&api, backend);
        for (name, owner, manager) in [
            ("crm", "uid-of-crm", FIELD_MANAGER),
            ("of-another-server", "uid-of-another", FIELD_MANAGER),
            ("copied", "uid-of-crm", "kubectl"),
        ] {
            context.owned.update(&BUDGET.object, budget(name, &format!("uid-of-{name}"), owner, manager));
        }
        let _ = reconcile(&context, &crm()).await;
        let deletions = writes(&api).into_iter().filter(|write| write.starts_with("DELETE"));
        assert_eq!(deletions.collect::<Vec<_>>(), expected, "{backend}");
    }
    let deletion = api.requests().into_iter().find(|request| request.method == "DELETE").unwrap();
    assert_eq!(deletion.body["preconditions"]["uid"], "uid-of-crm");
}
