//! The steps of a reconcile against a fake API server, with kinds of objects that are not built otherwise.

mod put_back;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::controller::queue::Queue;
use crate::{
    build::{BuiltKind, CONFIG_MAP, KINDS, Settings},
    cluster::{
        Cluster, FIELD_MANAGER,
        drift::ListRules,
        fence::Fence,
        kind::ObjectKind,
        received::ReceivedObject,
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
    guards: &[],
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
    guards: &[],
    build: |input| {
        let is_built = input.spec.is_some_and(|spec| spec.replicas() > 1);
        let object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata("crm")});
        if is_built { vec![object] } else { Vec::new() }
    },
};

const WITH_BOTH: &[BuiltKind] = &[KINDS[0], KINDS[1], KINDS[2], KINDS[3], KINDS[4], ROUTE, BUDGET];

pub(super) fn metadata(name: &str) -> Value {
    let owner = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpServer", "name": "crm", "uid": "uid-of-crm", "controller": true,
    });
    json!({
        "name": name, "namespace": "sales", "ownerReferences": [owner],
        "labels": {"app.kubernetes.io/instance": "crm"},
    })
}

pub(super) fn object(value: Value) -> ReceivedObject {
    ReceivedObject::parse(&value.to_string()).unwrap()
}

pub(super) fn crm() -> NamespacedName {
    NamespacedName { namespace: "sales".into(), name: "crm".into() }
}

/// What the operator has watched so far: one server.
pub(super) fn context(api: &FakeApi, backend: &str) -> Arc<Context> {
    context_of(api.client(), backend)
}

pub(super) fn context_of(client: kube::Client, backend: &str) -> Arc<Context> {
    let settings = Settings::of_tests();
    let cluster = Cluster::new(client, Fence::open());
    let context = Context::new(cluster, settings, WITH_BOTH, Scopes::all());
    let _ = context.servers.event(object(server(backend, "1", "Answers.")).into());
    context
}

pub(super) fn server(backend: &str, version: &str, description: &str) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpServer",
        "metadata": {"name": "crm", "namespace": "sales", "uid": "uid-of-crm", "generation": 1, "resourceVersion": version},
        "spec": {
            "backends": [{"name": "fixed", "static": {}}],
            "tools": [{"name": "ping", "description": description, "backend": backend, "static": {"text": "pong"}}],
        },
    })
}

/// Reconciles the server in this lane.
pub(super) async fn reconciled(context: &Arc<Context>, lane: Lane) -> Result<Duration, Error> {
    let queue: Arc<Queue<ReconcileKey>> = Arc::default();
    queue.add_at(ReconcileKey::Server(crm()), Instant::now(), lane);
    let work = queue.next().await;
    reconcile(context, &crm(), &work).await
}

/// What was written, as `METHOD path` without the API's prefix and the namespace.
pub(super) fn writes(api: &FakeApi) -> Vec<String> {
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
    reconciled(&context, Lane::Others).await.unwrap();
    let expected = ["configmaps", "secrets", "serviceaccounts", "services", "deployments"];
    let expected: Vec<String> = expected.map(|plural| format!("POST {plural}")).into();
    assert_eq!(writes(&api), [expected, vec!["PATCH mcpservers/crm/status".into()]].concat());
}

#[tokio::test]
async fn a_write_that_fails_holds_up_what_needs_the_object_and_nothing_else() {
    let api = storing(|request| refused(request, "serviceaccounts")).await;
    let context = context(&api, "fixed");
    let error = reconciled(&context, Lane::Others).await.unwrap_err();
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
            let _ = context.owned.answer(&BUDGET.object, budget(name, &format!("uid-of-{name}"), owner, manager));
        }
        let _ = reconciled(&context, Lane::Others).await;
        let deletions = writes(&api).into_iter().filter(|write| write.starts_with("DELETE"));
        assert_eq!(deletions.collect::<Vec<_>>(), expected, "{backend}");
    }
    let deletion = api.requests().into_iter().find(|request| request.method == "DELETE").unwrap();
    assert_eq!(deletion.body["preconditions"]["uid"], "uid-of-crm");
}

/// The published policy of an earlier run: the server's half, and one entry for each of these clients with these further fields.
pub(super) fn published(clients: &[(&str, &str)]) -> ReceivedObject {
    let entry = |(name, more): &(&str, &str)| {
        format!(
            "{{id: {name}, uid: uid-of-{name}, tools: [ping], maxRecordsPerQuery: 1, limits: [{{requests: 60, per: 1m}}]{more}}}"
        )
    };
    let clients: Vec<_> = clients.iter().map(entry).collect();
    let policy = format!(
        "contract: 1
server: {{namespace: sales, name: crm}}
spec:
  backends: [{{name: fixed, static: {{}}}}]
  tools: [{{name: ping, description: Answers., backend: fixed, static: {{text: pong}}}}]
clients: [{}]",
        clients.join(", ")
    );
    let mut metadata = metadata("crm-policy-v1");
    metadata["uid"] = json!("uid-of-policy");
    object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"policy.yaml": policy}}))
}

/// A client of the server. It cannot be decoded if `tools` is not a list.
pub(super) fn client(name: &str, tools: Value) -> ReceivedObject {
    let metadata = json!({"name": name, "namespace": "sales", "uid": format!("uid-of-{name}"), "resourceVersion": "1"});
    let access = json!([{"serverRef": {"name": "crm"}, "tools": tools, "maxRecordsPerQuery": 1}]);
    let spec = json!({"access": access, "credentials": {"apiKey": {"secretName": format!("{name}-key")}}});
    object(json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient", "metadata": metadata, "spec": spec}))
}

#[tokio::test]
async fn after_a_restart_each_entry_of_the_published_policy_counts_by_itself() {
    let api = storing(|_| None).await;
    let context = context(&api, "nowhere");
    let entries = [("kept", ""), ("unreadable", ", later: true"), ("gone", ""), ("valid", "")];
    let _ = context.owned.answer(&CONFIG_MAP.object, published(&entries));
    for (name, tools) in [("kept", json!("all")), ("unreadable", json!("all")), ("valid", json!(["ping", "other"]))] {
        let change = context.clients.event(client(name, tools).into()).unwrap();
        context.client_changed(&change);
    }
    // The credentials wait for keys that are not known yet.
    let _ = reconciled(&context, Lane::Others).await;
    let memory = context.of_servers.of(&crm());
    let policy = lock(&memory).published.policy.clone().unwrap();
    let clients: Vec<_> = policy.clients.iter().map(|client| (client.id.as_str(), client.tools.len())).collect();
    assert_eq!(clients, [("kept", 1), ("valid", 1)]);
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_not_written_and_hold_up_no_policy() {
    let is_refused = Arc::new(AtomicBool::new(true));
    let api = storing({
        let is_refused = Arc::clone(&is_refused);
        move |request| {
            let reads_secret = request.method == "GET" && request.path.contains("/secrets/");
            (reads_secret && is_refused.load(Ordering::SeqCst)).then(|| refusal(403))
        }
    })
    .await;
    let context = context(&api, "fixed");
    let error = reconciled(&context, Lane::Others).await.unwrap_err();
    assert_eq!(error.to_string(), "reading Secret sales/crm-credentials-v1: forbidden (HTTP 403)");
    let expected = ["POST configmaps", "POST serviceaccounts", "POST services"];
    assert_eq!(writes(&api)[..3], expected, "a Secret is not written: keys that are in use would be replaced");
    assert!(!writes(&api).iter().any(|write| write.contains("secrets") || write.contains("deployments")));

    is_refused.store(false, Ordering::SeqCst);
    reconciled(&context, Lane::Others).await.unwrap();
    is_refused.store(true, Ordering::SeqCst);
    let before = writes(&api).len();
    let _ = context.servers.event(object(server("fixed", "2", "Answers differently.")).into());
    let error = reconciled(&context, Lane::Others).await.unwrap_err();
    assert_eq!(error.to_string(), "reading Secret sales/crm-credentials-v1: forbidden (HTTP 403)");
    let later = writes(&api).split_off(before);
    assert!(later.iter().any(|write| write == "PATCH configmaps/crm-policy-v1"), "{later:?}");
    assert!(!later.iter().any(|write| write.contains("secrets") || write.contains("deployments")), "{later:?}");
}

#[tokio::test]
async fn while_changes_are_collected_a_reconcile_writes_nothing_unless_one_of_them_may_not_wait() {
    collects(false).await;
}

/// Such as one that is tried again, or that the poller found.
#[tokio::test]
async fn a_removal_waits_for_no_changes_that_are_being_collected_whatever_started_it() {
    collects(true).await;
}

async fn collects(is_retried: bool) {
    let api = storing(|_| None).await;
    let context = context(&api, "fixed");
    reconciled(&context, Lane::Others).await.unwrap();
    let before = writes(&api).len();
    tokio::time::pause();
    let change = context.clients.event(client("agent", json!(["ping"])).into()).unwrap();
    context.client_changed(&change);
    let wait = reconciled(&context, Lane::Others).await.unwrap();
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    assert_eq!(writes(&api)[before..], [] as [&str; 0]);

    tokio::time::resume();
    if !is_retried {
        context.publish(crm(), false);
    }
    reconciled(&context, if is_retried { Lane::Removals } else { Lane::Others }).await.unwrap();
    assert!(writes(&api)[before..].contains(&"PATCH configmaps/crm-policy-v1".to_owned()));
}

/// After a restart, with a client whose Secret was not read yet.
#[tokio::test]
async fn credentials_are_not_replaced_while_a_served_client_s_key_is_unknown_and_its_suspension_is_published() {
    let secret = |data: Value| {
        let mut metadata = metadata("crm-credentials-v1");
        metadata["uid"] = json!("uid-of-credentials");
        metadata["resourceVersion"] = json!("1");
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data})
    };
    let garbage = |text: &str| json!({"credentials.yaml": STANDARD.encode(text)});
    for (what, answer) in [
        ("forbidden", refusal(403)),
        ("an error", refusal(500)),
        ("deleted", refusal(404)),
        ("emptied", (200, secret(json!({})))),
        ("not YAML", (200, secret(garbage("}{")))),
        ("of another contract", (200, secret(garbage("contract: 99")))),
        ("not UTF-8", (200, secret(json!({"credentials.yaml": "//8="})))),
    ] {
        let api = storing(move |request| {
            (request.method == "GET" && request.path.contains("/secrets/")).then(|| answer.clone())
        })
        .await;
        let context = context(&api, "fixed");
        let _ = context.owned.answer(&CONFIG_MAP.object, published(&[("agent", "")]));
        let mut suspended: Value = serde_json::from_str(client("agent", json!(["ping"])).json()).unwrap();
        suspended["spec"]["suspended"] = json!(true);
        let change = context.clients.event(object(suspended).into()).unwrap();
        context.client_changed(&change);
        reconciled(&context, Lane::Others).await.unwrap_err();
        let memory = context.of_servers.of(&crm());
        let policy = lock(&memory).published.policy.clone().unwrap();
        assert!(policy.clients.iter().all(|client| client.suspended), "{what}");
        let secrets = writes(&api).into_iter().filter(|write| write.contains("secrets"));
        assert_eq!(secrets.collect::<Vec<_>>(), [] as [&str; 0], "{what}");

        // Once the key is known nothing is held back any more, unless the Secret cannot be read.
        let of_client = context.of_clients.of(&NamespacedName::new("sales", "agent"));
        lock(&of_client).of_client("uid-of-agent").issued.insert("apiKey", Vec::new());
        let _ = reconciled(&context, Lane::Others).await;
        let is_written = writes(&api).iter().any(|write| write.contains("secrets"));
        assert_eq!(is_written, !["forbidden", "an error"].contains(&what), "{what}");
    }
}

/// An API server that creates everything but the ServiceAccount, about which it never answers.
async fn hanging() -> FakeApi {
    FakeApi::start(|request| match request.method.as_str() {
        "GET" => Some(refusal(404)),
        _ if request.path.contains("serviceaccounts") => None,
        _ => {
            let mut object = request.body.clone();
            object["metadata"]["uid"] = json!("uid");
            object["metadata"]["resourceVersion"] = json!("2");
            Some((200, object))
        }
    })
    .await
}

#[tokio::test]
async fn a_removal_waits_for_no_other_write_of_its_server() {
    let api = hanging().await;
    let context = context(&api, "fixed");
    let queue: Arc<Queue<ReconcileKey>> = Arc::default();
    queue.add(ReconcileKey::Server(crm()));
    let work = queue.next().await;
    let hangs = async {
        while !writes(&api).contains(&"POST serviceaccounts".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        queue.add_at(ReconcileKey::Server(crm()), Instant::now(), Lane::Removals);
    };
    let crm = crm();
    let (given_up, ()) = tokio::join!(reconcile(&context, &crm, &work), hangs);
    assert_eq!(given_up.unwrap(), Duration::ZERO);
    drop(work);
    let before = writes(&api).len();
    let _ = context.servers.event(object(server("fixed", "3", "Answers differently.")).into());
    let removal = queue.next().await;
    assert_eq!(removal.lane, Lane::Removals);
    reconcile(&context, &crm, &removal).await.unwrap();
    assert_eq!(writes(&api)[before..], ["PATCH configmaps/crm-policy-v1", "POST secrets"], "nothing else");
}

#[tokio::test]
async fn a_policy_does_not_wait_for_credentials_whose_read_is_not_answered() {
    let api = FakeApi::start(|request| {
        (!request.path.contains("/secrets/")).then(|| refusal(if request.method == "GET" { 404 } else { 500 }))
    })
    .await;
    let context = context(&api, "fixed");
    let reconcile = tokio::spawn(async move { reconciled(&context, Lane::Others).await });
    while !writes(&api).contains(&"POST configmaps".to_owned()) {
        assert!(!reconcile.is_finished(), "the policy was not written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!reconcile.is_finished(), "the credentials are still waited for");
    reconcile.abort();
}
