//! A reconcile of a client against a fake API server.

mod keys;

use std::sync::Arc;

use portcullis_crds::{Findings, condition::Reason};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    build::{KINDS, Settings},
    cluster::{
        Cluster,
        fence::Fence,
        ownership::NotOwned,
        received::ReceivedObject,
        scope::Scopes,
        testing::{FakeApi, refusal, storing},
    },
    condition::{ConditionState, ConditionStatus},
    controller::{
        context::ReconcileKey,
        memory::{ReportBasis, ServerReport},
        queue::{Lane, Queue},
        server::Confirmation,
    },
    credentials,
    sync::lock,
    validate::ClientOutcome,
};

fn name(name: &str) -> NamespacedName {
    NamespacedName::new("sales", name)
}

fn object(kind: &str, name: &str, spec: Value, status: Value) -> ReceivedObject {
    let metadata = json!({
        "name": name, "namespace": "sales", "uid": format!("uid-of-{name}"), "generation": 1, "resourceVersion": "1",
    });
    let object = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status,
    });
    ReceivedObject::parse(&object.to_string()).unwrap()
}

/// What the operator has watched so far: one server, and one client of it with this status.
fn context(api: &FakeApi, status: Value) -> Arc<Context> {
    let settings = Settings::of_tests();
    let context = Context::new(Cluster::new(api.client(), Fence::open()), settings, KINDS, Scopes::all());
    let server = json!({
        "backends": [{"name": "fixed", "static": {}}],
        "tools": [{"name": "ping", "description": "Answers.", "backend": "fixed", "static": {"text": "pong"}}],
    });
    let _ = context.servers.event(object("McpServer", "crm", server, json!({})).into());
    let client = json!({
        "access": [{"serverRef": {"name": "crm"}, "tools": ["ping"], "maxRecordsPerQuery": 1}],
        "credentials": {"apiKey": {"secretName": "bot-key"}},
    });
    let change = context.clients.event(object("McpClient", "bot", client, status).into()).unwrap();
    context.client_changed(&change);
    context
}

/// The server reports on the client as it is now, with these keys.
fn report(context: &Context, is_pending: bool) {
    let state = |reason| ConditionState::of_reason(ConditionStatus::True, reason);
    let synced = match is_pending {
        true => ConditionState::unknown(Reason::NoPods, "no pod is running"),
        false => state(Reason::Synced),
    };
    let outcome = ClientOutcome {
        granted: None,
        findings: Findings::default(),
        accepted: state(Reason::Granted),
        resolved_refs: state(Reason::Resolved),
    };
    let client = context.clients.get(&name("bot")).unwrap();
    let issued = context.of_clients.known(&name("bot")).and_then(|memory| lock(&memory).issued_to(&client.object));
    let basis = Some(ReportBasis::new(&client.object, issued));
    let confirmation = Confirmation { synced, is_stalled: false, is_unserved: false };
    let memory = context.of_servers.of(&name("crm"));
    let report = ServerReport { basis, outcome: Some(outcome), confirmation };
    lock(&memory).reports.get_or_insert_default().insert(name("bot"), report);
}

/// Reconciles a client in this lane.
async fn reconciled(context: &Context, name: &NamespacedName, lane: Lane) -> Result<Duration, Error> {
    let queue: Arc<Queue<ReconcileKey>> = Arc::default();
    queue.add_at(ReconcileKey::Client(name.clone()), Instant::now(), lane);
    let work = queue.next().await;
    reconcile(context, name, &work).await
}

/// Whether a client is to be reconciled now. What concerns its server may be due at any time, and is passed over.
async fn is_due(context: &Context) -> bool {
    while let Ok(item) = tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await {
        if matches!(item.key, ReconcileKey::Client(_)) {
            return true;
        }
    }
    false
}

/// The server reports on the client once it has its key.
async fn report_with_key(context: &Context) {
    reconciled(context, &name("bot"), Lane::Others).await.unwrap();
    report(context, false);
}

/// The bodies of the writes of the client's status.
fn statuses(api: &FakeApi) -> Vec<Value> {
    let writes = api.requests().into_iter().filter(|request| request.path.contains("/mcpclients/bot/status"));
    writes.map(|request| request.body["status"].clone()).collect()
}

fn state_of(conditions: &Value, type_: &str) -> (Value, Value) {
    let condition = conditions.as_array().unwrap().iter().find(|condition| condition["type"] == type_).unwrap();
    (condition["status"].clone(), condition["reason"].clone())
}

#[tokio::test]
async fn a_status_waits_for_a_report_on_the_client_as_it_is_now() {
    let api = storing(|_| None).await;
    let context = context(&api, json!({}));
    report(&context, false);
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    assert_eq!(statuses(&api), [] as [Value; 0], "the report is about a client without the key");
    report(&context, true);
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    let synced = |n: usize| state_of(&statuses(&api)[n]["servers"][0]["conditions"], "PolicySynced");
    assert_eq!(synced(0), (json!("Unknown"), json!("NoPods")));

    let mut edited = (*context.clients.get(&name("bot")).unwrap()).clone();
    edited.object.metadata.generation = Some(2);
    edited.object.metadata.resource_version = Some("1000".into());
    let change = context.clients.answer(edited).unwrap();
    context.client_changed(&change);
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    assert_eq!(statuses(&api).len(), 1, "the report is about the spec before");
}

#[tokio::test]
async fn a_client_waits_for_a_server_that_its_status_lists_and_its_spec_no_longer_names() {
    let api = storing(|_| None).await;
    let listed = json!({"servers": [{"serverRef": {"namespace": "sales", "name": "wiki"}}]});
    let context = context(&api, listed);
    let _ = context.servers.answer(object("McpServer", "wiki", json!({}), json!({})).into());
    report(&context, false);
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    report(&context, false);
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    assert_eq!(statuses(&api), [] as [Value; 0]);
    let wiki = context.of_servers.of(&name("wiki"));
    assert_eq!(lock(&wiki).awaited_by, [name("bot")].into(), "its first report reconciles the client");
    lock(&wiki).reports = Some([].into());
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    assert_eq!(statuses(&api)[0]["serversReady"], json!("1/1"));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_reported_at_once_only_if_no_key_is_in_force() {
    for (status, writes) in
        [(json!({"apiKey": {"secretName": "bot-key", "keyId": "0123456789ab"}}), [0, 1]), (json!({}), [1, 1])]
    {
        let api = storing(|request| request.path.contains("/secrets/").then(|| refusal(403))).await;
        let context = context(&api, status.clone());
        report(&context, false);
        for writes in writes {
            let error = reconciled(&context, &name("bot"), Lane::Others).await.unwrap_err();
            assert_eq!(error.to_string(), "reading Secret sales/bot-key: forbidden (HTTP 403)");
            assert_eq!(statuses(&api).len(), writes, "{status}");
        }
        let ready = state_of(&statuses(&api)[0]["conditions"], "CredentialsReady");
        assert_eq!(ready, (json!("False"), json!("WriteFailed")));
        assert_eq!(statuses(&api)[0].get("apiKey"), status.get("apiKey"), "it names the Secret of the key still");
    }
}

#[tokio::test]
async fn a_failure_that_may_pass_holds_back_no_report_of_one_that_will_not() {
    let api = storing(|_| None).await;
    let applied = |error| Applied { kind: &credentials::KINDS[0], result: Err(error) };
    let passing = || applied(Error::Timeout { doing: "reading".into(), after: Duration::ZERO });
    let lasting = || {
        let (kind, namespace, name) = ("Secret".into(), "sales".into(), "taken".into());
        applied(Error::NotOwned(NotOwned { kind, namespace, name }))
    };
    for (failures, is_premature) in
        [(vec![passing()], true), (vec![lasting()], false), (vec![passing(), lasting()], false), (vec![], false)]
    {
        let context = context(&api, json!({"apiKey": {"secretName": "bot-key", "keyId": "0123456789ab"}}));
        let client = context.clients.get(&name("bot")).unwrap();
        assert_eq!(status::is_premature(&context, &client, &failures), is_premature, "{}", failures.len());
    }
}

/// The answer to a write of the status may show an edit that the watch has not delivered yet. The event of that edit then brings
/// nothing new.
#[tokio::test]
async fn an_edit_that_the_answer_to_a_status_write_shows_first_is_not_lost() {
    let edited = || {
        let spec = json!({
            "access": [{"serverRef": {"name": "crm"}, "tools": ["ping"], "maxRecordsPerQuery": 1}],
            "credentials": {"apiKey": {"secretName": "bot-key"}}, "suspended": true,
        });
        let mut object = serde_json::from_str::<Value>(object("McpClient", "bot", spec, json!({})).json()).unwrap();
        object["metadata"]["generation"] = json!(2);
        object["metadata"]["resourceVersion"] = json!("7");
        object
    };
    let api = storing(move |request| request.path.contains("/mcpclients/bot/status").then(|| (200, edited()))).await;
    let context = context(&api, json!({}));
    report_with_key(&context).await;
    while is_due(&context).await {}
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    assert_eq!(context.clients.event(ReceivedObject::parse(&edited().to_string()).unwrap().into()), None);
    // The server does not serve it yet, and may wait.
    let mut due = Vec::new();
    while let Ok(item) = tokio::time::timeout(Duration::from_secs(2), context.queue.next()).await {
        due.push(item.key.to_string());
    }
    due.sort();
    assert_eq!(due, ["McpClient sales/bot", "McpServer sales/crm"]);
}

#[tokio::test]
async fn a_client_that_the_api_server_no_longer_has_loses_its_access_before_the_watch_reports_it() {
    let gone = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
        "message": "mcpclients.portcullis.dev \"bot\" not found", "details": {"name": "bot", "kind": "mcpclients"},
    });
    for (answer, exists) in [((404, gone), false), (refusal(404), true)] {
        let api = storing(move |request| request.path.contains("/mcpclients/bot/status").then(|| answer.clone())).await;
        let context = context(&api, json!({}));
        report_with_key(&context).await;
        while is_due(&context).await {}
        reconciled(&context, &name("bot"), Lane::Others).await.unwrap_err();
        assert_eq!(context.clients.get(&name("bot")).is_some(), exists);
        assert_eq!(is_due(&context).await, !exists);
    }
}
