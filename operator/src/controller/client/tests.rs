//! A reconcile of a client against a fake API server.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicU8, Ordering},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
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
        polling,
        queue::{Lane, Queue},
        server::Confirmation,
    },
    credentials::{self, IssueRecord, Revocation},
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
    let settings = Settings { server_image: "image".into(), image_pull_policy: "Never".into() };
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
    while tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok() {}
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
        while tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok() {}
        reconciled(&context, &name("bot"), Lane::Others).await.unwrap_err();
        assert_eq!(context.clients.get(&name("bot")).is_some(), exists);
        let is_due = tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok();
        assert_eq!(is_due, !exists);
    }
}

/// The Secret of the client with this key, or with none.
fn secret(key: Option<u8>, more: Value) -> Value {
    let metadata = ObjectMeta {
        name: Some("bot".into()),
        namespace: Some("sales".into()),
        uid: Some("uid-of-bot".into()),
        ..ObjectMeta::default()
    };
    let kind = &credentials::KINDS[0];
    let data = key.map(|key| (kind.create)([key; 32])).unwrap_or_default();
    let mut secret = serde_json::to_value(credentials::secret(kind, &metadata, "bot-key", data, None)).unwrap();
    secret["metadata"]["uid"] = json!("uid-of-secret");
    secret["metadata"]["resourceVersion"] = json!("1");
    for (name, value) in more.as_object().unwrap() {
        match name.as_str() {
            "deletionTimestamp" => secret["metadata"][name] = value.clone(),
            _ => secret[name] = value.clone(),
        }
    }
    secret
}

fn issued(context: &Context) -> Option<usize> {
    let client = context.clients.get(&name("bot")).unwrap();
    let memory = context.of_clients.known(&name("bot"))?;
    let issued = lock(&memory).issued_to(&client.object);
    issued.map(|issued| issued.len())
}

#[tokio::test]
async fn what_is_no_longer_in_its_secret_is_taken_from_the_servers_whether_or_not_a_new_key_can_be_created() {
    let now = "2026-01-01T00:00:00Z";
    let replaced = json!({"data": {"api-key": "c2VjcmV0"}});
    for (what, found, refused, expected) in [
        ("deleted, and none can be created", refusal(404), Some(("POST", 403)), Some(0)),
        ("deleted", refusal(404), None, Some(1)),
        ("emptied, and it cannot be written", (200, secret(None, json!({}))), Some(("PATCH", 500)), Some(0)),
        ("emptied", (200, secret(None, json!({}))), None, Some(1)),
        ("replaced by what somebody chose", (200, secret(None, replaced)), Some(("PATCH", 403)), Some(0)),
        ("emptied and immutable", (200, secret(None, json!({"immutable": true}))), Some(("DELETE", 403)), Some(0)),
        ("of another type", (200, secret(None, json!({"type": "example.com/x"}))), Some(("DELETE", 403)), Some(0)),
        ("being deleted", (200, secret(Some(1), json!({"deletionTimestamp": now}))), None, Some(0)),
        ("of another owner", (200, secret(Some(1), json!({"metadata": {"name": "bot-key"}}))), None, Some(0)),
        ("unreadable", refusal(403), None, None),
        ("unreadable for a while", refusal(500), None, None),
        ("as it was", (200, secret(Some(1), json!({}))), None, Some(1)),
    ] {
        let api = storing(move |request| match request.path.contains("/secrets") {
            true if request.method == "GET" => Some(found.clone()),
            true => refused.filter(|(method, _)| request.method == *method).map(|(_, code)| refusal(code)),
            false => None,
        })
        .await;
        let status = json!({"apiKey": {"secretName": "bot-key", "keyId": "0123456789ab"}});
        // After a restart, and after the key was read.
        for is_known in [false, true] {
            let context = context(&api, status.clone());
            report(&context, false);
            let _ = context.of_servers.of(&name("crm"));
            if is_known {
                let key = (credentials::KINDS[0].read)(&(credentials::KINDS[0].create)([1; 32])).unwrap();
                let memory = context.of_clients.of(&name("bot"));
                lock(&memory).of_client("uid-of-bot").issued.insert("apiKey", vec![key]);
            }
            let before = api.requests().len();
            reconciled(&context, &name("bot"), Lane::Removals).await.unwrap();
            let taken_away = if what == "as it was" || expected.is_none() { is_known.then_some(1) } else { Some(0) };
            assert_eq!(issued(&context), taken_away, "{what}, known: {is_known}");
            assert!(api.requests()[before..].iter().all(|request| request.method == "GET"), "nothing that could hang");
            let _ = reconciled(&context, &name("bot"), Lane::Others).await;
            assert_eq!(issued(&context), expected.or(is_known.then_some(1)), "{what}, known: {is_known}");
        }
    }
}

/// Whether a key was revoked is known from the last time that its Secret was read, or from the status.
#[tokio::test]
async fn a_key_that_was_revoked_while_its_secret_cannot_be_read_is_taken_from_the_servers() {
    let (issued_at, before, after) = ("2026-01-01T12:00:00Z", "2026-01-01T11:59:59Z", "2026-01-01T12:00:01Z");
    let status =
        |issued_at| json!({"apiKey": {"secretName": "bot-key", "keyId": "0123456789ab", "issuedAt": issued_at}});
    let record = |at: &str| IssueRecord::new("0123456789ab", &Revocation::default(), at.parse().unwrap());
    for (known, status, revoke_before, expected) in [
        (None, status(json!(issued_at)), after, Some(0)),
        (None, status(json!(issued_at)), before, None),
        (None, status(Value::Null), before, Some(0)),
        (None, json!({}), after, None),
        (Some(Some(record(issued_at))), json!({}), after, Some(0)),
        (Some(Some(record(issued_at))), status(json!(before)), issued_at, Some(1)),
        (Some(None), json!({}), before, Some(0)),
    ] {
        let api = storing(|request| request.path.contains("/secrets/").then(|| refusal(403))).await;
        let context = context(&api, status);
        if let Some(record) = &known {
            let key = (credentials::KINDS[0].read)(&(credentials::KINDS[0].create)([1; 32])).unwrap();
            let memory = context.of_clients.of(&name("bot"));
            let mut memory = lock(&memory);
            memory.of_client("uid-of-bot").issued.insert("apiKey", vec![key]);
            memory.records.insert("apiKey", record.clone());
        }
        let mut edited = (*context.clients.get(&name("bot")).unwrap()).clone();
        let spec = edited.object.spec.as_mut().unwrap();
        spec.credentials.api_key.as_mut().unwrap().revoke_before = Some(Time(revoke_before.parse().unwrap()));
        edited.object.metadata.resource_version = Some("1000".into());
        context.clients.answer(edited).unwrap();
        for lane in [Lane::Removals, Lane::Others] {
            let _ = reconciled(&context, &name("bot"), lane).await;
            assert_eq!(issued(&context), expected, "{known:?}, revoked before {revoke_before}");
        }
    }
}

#[tokio::test]
async fn a_server_is_told_of_a_revoked_key_before_a_new_one_is_created() {
    for (status, expected) in [
        (json!({"apiKey": {"secretName": "bot-key", "keyId": "0123456789ab"}}), Some(0)),
        // The first policy of a new client waits for its key.
        (json!({}), None),
    ] {
        let context_of_api: Arc<OnceLock<Arc<Context>>> = Arc::default();
        let while_created = Arc::new(Mutex::new(Vec::new()));
        let api = storing({
            let (context, while_created) = (Arc::clone(&context_of_api), Arc::clone(&while_created));
            move |request| {
                if request.method == "POST" && request.path.contains("/secrets") {
                    lock(&while_created).push(issued(context.get().unwrap()));
                }
                None
            }
        })
        .await;
        let context = context_of_api.get_or_init(|| context(&api, status));
        report(context, false);
        reconciled(context, &name("bot"), Lane::Others).await.unwrap();
        assert_eq!((lock(&while_created).clone(), issued(context)), (vec![expected], Some(1)));
    }
}

#[tokio::test]
async fn an_annotation_of_ours_starts_a_reconcile_and_another_one_does_not() {
    let api = storing(|_| None).await;
    for (annotation, is_due) in
        [("portcullis.dev/reconcile", true), ("portcullis.dev/new-key", true), ("example.com/note", false)]
    {
        let context = context(&api, json!({}));
        while tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok() {}
        let client = context.clients.get(&name("bot")).unwrap();
        let spec = serde_json::to_value(client.object.spec.as_ref().unwrap()).unwrap();
        let mut object: Value = serde_json::from_str(object("McpClient", "bot", spec, json!({})).json()).unwrap();
        object["metadata"]["annotations"] = json!({annotation: "1"});
        object["metadata"]["resourceVersion"] = json!("2");
        let change = context.clients.event(ReceivedObject::parse(&object.to_string()).unwrap().into()).unwrap();
        context.client_changed(&change);
        let due = tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok();
        assert_eq!(due, is_due, "{annotation}");
    }
}

#[tokio::test]
async fn a_secret_that_was_not_touched_is_polled_by_its_metadata_alone_and_one_that_was_starts_a_reconcile() {
    let version = Arc::new(AtomicU8::new(1));
    let api = storing({
        let version = Arc::clone(&version);
        move |request| {
            (request.method == "GET" && request.path.contains("/secrets/")).then(|| {
                let mut secret = secret(Some(1), json!({}));
                let version = version.load(Ordering::SeqCst);
                secret["metadata"]["resourceVersion"] = json!(version.to_string());
                (200, secret)
            })
        }
    })
    .await;
    let context = context(&api, json!({}));
    report(&context, false);
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    while tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok() {}
    let before = api.requests().len();
    for (touched, is_due) in [(1, false), (1, false), (2, true)] {
        version.store(touched, Ordering::SeqCst);
        polling::poll(&context, &ReconcileKey::Client(name("bot"))).await;
        let due = tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok();
        assert_eq!(due, is_due);
    }
    let requests = api.requests().split_off(before);
    assert_eq!(requests.len(), 3, "nothing but the polls: {requests:?}");
}

#[tokio::test]
async fn a_revocation_waits_for_no_secret_of_the_client_that_is_being_written() {
    let api = storing(|_| None).await;
    let context = context(&api, json!({}));
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    let secret = api.requests().into_iter().find(|request| request.method == "POST").unwrap().body;
    // The Secret was emptied, and the write of a new key is not answered.
    let emptied = {
        let mut secret = secret;
        secret["metadata"]["uid"] = json!("uid-of-secret");
        secret["metadata"]["resourceVersion"] = json!("7");
        secret["data"] = json!({});
        secret
    };
    let api = FakeApi::start(move |request| (request.method == "GET").then(|| (200, emptied.clone()))).await;
    let context = super::tests::context(&api, json!({}));
    let queue: Arc<Queue<ReconcileKey>> = Arc::default();
    queue.add(ReconcileKey::Client(name("bot")));
    let work = queue.next().await;
    let hangs = async {
        while !api.requests().iter().any(|request| request.method == "PATCH") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        queue.add_at(ReconcileKey::Client(name("bot")), Instant::now(), Lane::Removals);
    };
    let bot = name("bot");
    let (given_up, ()) = tokio::join!(reconcile(&context, &bot, &work), hangs);
    assert_eq!(given_up.unwrap(), Duration::ZERO);
    let sent = api.requests().into_iter().find(|request| request.method == "PATCH").unwrap().body;
    assert_eq!(sent["metadata"]["resourceVersion"], "7", "what was sent replaces nothing that is written later");
}
