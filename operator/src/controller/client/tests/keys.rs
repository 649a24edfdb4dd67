//! The keys of a client: what is taken from the servers, and when.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU8, AtomicU16, Ordering},
    },
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::*;
use crate::{
    controller::polling,
    credentials::{IssueRecord, Revocation},
};

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

/// The operator has read the client's key.
fn know_key(context: &Context) {
    let key = (credentials::KINDS[0].read)(&(credentials::KINDS[0].create)([1; 32])).unwrap();
    let memory = context.of_clients.of(&name("bot"));
    lock(&memory).of_client("uid-of-bot").issued.insert("apiKey", vec![key]);
}

/// The spec revokes the client's keys that were issued before this time.
fn revoke(context: &Context, before: &str) {
    let mut edited = (*context.clients.get(&name("bot")).unwrap()).clone();
    let spec = edited.object.spec.as_mut().unwrap();
    spec.credentials.api_key.as_mut().unwrap().revoke_before = Some(Time(before.parse().unwrap()));
    edited.object.metadata.resource_version = Some("1000".into());
    context.clients.answer(edited).unwrap();
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
                know_key(&context);
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
        // Of which nothing is known.
        (None, json!({}), before, Some(0)),
        (Some(Some(record(issued_at))), json!({}), after, Some(0)),
        (Some(Some(record(issued_at))), status(json!(before)), issued_at, Some(1)),
        (Some(None), json!({}), before, Some(0)),
    ] {
        let api = storing(|request| request.path.contains("/secrets/").then(|| refusal(403))).await;
        let context = context(&api, status);
        if let Some(record) = &known {
            know_key(&context);
            let memory = context.of_clients.of(&name("bot"));
            lock(&memory).records.insert("apiKey", record.clone());
        }
        revoke(&context, revoke_before);
        for lane in [Lane::Removals, Lane::Others] {
            let _ = reconciled(&context, &name("bot"), lane).await;
            assert_eq!(issued(&context), expected, "{known:?}, revoked before {revoke_before}");
        }
    }
}

/// The key is in a Secret that the spec no longer names, and that may not be read.
#[tokio::test]
async fn a_key_that_was_revoked_while_its_former_secret_cannot_be_read_is_taken_from_the_servers() {
    let (issued_at, before, after) = ("2026-01-01T12:00:00Z", "2026-01-01T11:59:59Z", "2026-01-01T12:00:01Z");
    for (code, revoke_before, expected) in [(403, after, 0), (500, after, 0), (403, before, 1)] {
        let api = storing(move |request| match request.path.contains("/secrets") {
            true if request.path.contains("/secrets/former-key") => Some(refusal(code)),
            true => Some(refusal(if request.method == "GET" { 404 } else { 403 })),
            false => None,
        })
        .await;
        let status = json!({"apiKey": {"secretName": "former-key", "keyId": "0123456789ab", "issuedAt": issued_at}});
        let context = context(&api, status);
        know_key(&context);
        revoke(&context, revoke_before);
        for lane in [Lane::Removals, Lane::Others] {
            let _ = reconciled(&context, &name("bot"), lane).await;
            assert_eq!(issued(&context), Some(expected), "{code}, revoked before {revoke_before}");
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
async fn a_revocation_that_is_edited_while_nothing_else_of_the_credentials_can_be_decoded_is_a_removal() {
    let api = storing(|_| None).await;
    let context = context(&api, json!({}));
    for (version, before, expected) in [
        ("1001", "2026-01-01T12:00:00Z", Lane::Removals),
        ("1002", "2026-01-01T13:00:00Z", Lane::Removals),
        ("1003", "2026-01-01T13:00:00Z", Lane::Others),
    ] {
        while super::is_due(&context).await {}
        let credentials = json!({"apiKey": {"secretName": 7, "revokeBefore": before}});
        let spec = json!({"access": [], "credentials": credentials, "version": version});
        let mut edited: Value = serde_json::from_str(object("McpClient", "bot", spec, json!({})).json()).unwrap();
        edited["metadata"]["resourceVersion"] = json!(version);
        edited["metadata"]["generation"] = json!(version.parse::<u64>().unwrap());
        let change = context.clients.event(ReceivedObject::parse(&edited.to_string()).unwrap().into()).unwrap();
        context.client_changed(&change);
        let lane = loop {
            let work = context.queue.next().await;
            if work.key == ReconcileKey::Client(name("bot")) {
                break work.lane;
            }
        };
        assert_eq!(lane, expected, "{version}");
    }
}

/// After a restart: a server has published a policy, and it is not known for whom.
#[tokio::test]
async fn a_revoked_key_of_which_nothing_is_known_is_a_removal_for_the_servers() {
    let api = storing(|request| request.path.contains("/secrets/").then(|| refusal(403))).await;
    let context = context(&api, json!({}));
    let _ = context.of_servers.of(&name("crm"));
    let policy = json!({"name": "crm-policy-v1", "namespace": "sales", "uid": "u", "resourceVersion": "1"});
    let policy = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": policy});
    let policy = ReceivedObject::parse(&policy.to_string()).unwrap();
    let _ = context.owned.answer(&crate::build::CONFIG_MAP.object, policy);
    revoke(&context, "2026-01-01T12:00:00Z");
    while tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok() {}
    reconciled(&context, &name("bot"), Lane::Removals).await.unwrap();
    assert_eq!(issued(&context), Some(0));
    let next = context.queue.next().await;
    assert_eq!((&next.key, next.lane), (&ReconcileKey::Server(name("crm")), Lane::Removals));
}

#[tokio::test]
async fn an_annotation_of_ours_starts_a_reconcile_and_another_one_does_not() {
    let api = storing(|_| None).await;
    for (annotation, is_due) in
        [("portcullis.dev/reconcile", true), ("portcullis.dev/new-key", true), ("example.com/note", false)]
    {
        let context = context(&api, json!({}));
        while super::is_due(&context).await {}
        let client = context.clients.get(&name("bot")).unwrap();
        let spec = serde_json::to_value(client.object.spec.as_ref().unwrap()).unwrap();
        let mut object: Value = serde_json::from_str(object("McpClient", "bot", spec, json!({})).json()).unwrap();
        object["metadata"]["annotations"] = json!({annotation: "1"});
        object["metadata"]["resourceVersion"] = json!("2");
        let change = context.clients.event(ReceivedObject::parse(&object.to_string()).unwrap().into()).unwrap();
        context.client_changed(&change);
        assert_eq!(super::is_due(&context).await, is_due, "{annotation}");
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
    while super::is_due(&context).await {}
    let before = api.requests().len();
    for (touched, is_due) in [(1, false), (1, false), (2, true)] {
        version.store(touched, Ordering::SeqCst);
        polling::poll(&context, &ReconcileKey::Client(name("bot"))).await;
        assert_eq!(super::is_due(&context).await, is_due);
    }
    let requests = api.requests().split_off(before);
    assert_eq!(requests.len(), 3, "nothing but the polls: {requests:?}");
}

#[tokio::test]
async fn a_secret_that_may_still_not_be_read_starts_no_reconcile_and_every_other_answer_does() {
    let code = Arc::new(AtomicU16::new(403));
    let api = storing({
        let code = Arc::clone(&code);
        move |request| request.path.contains("/secrets/").then(|| refusal(code.load(Ordering::SeqCst)))
    })
    .await;
    // The Secret of the spec, or a former one beside it.
    for secrets in [["bot-key", "bot-key"], ["bot-key", "former-key"]] {
        for (first, then, is_due) in [(403, 403, false), (403, 404, true), (403, 500, true), (500, 500, true)] {
            let context = context(&api, json!({"apiKey": {"secretName": secrets[1], "keyId": "0123456789ab"}}));
            while super::is_due(&context).await {}
            code.store(first, Ordering::SeqCst);
            let _ = reconciled(&context, &name("bot"), Lane::Others).await;
            while super::is_due(&context).await {}
            code.store(then, Ordering::SeqCst);
            let before = api.requests().len();
            polling::poll(&context, &ReconcileKey::Client(name("bot"))).await;
            let polled: BTreeSet<String> = api.requests()[before..].iter().map(|it| it.path.clone()).collect();
            let expected = secrets.map(|secret| format!("/api/v1/namespaces/sales/secrets/{secret}"));
            assert_eq!(polled, expected.into());
            assert_eq!(super::is_due(&context).await, is_due, "{secrets:?}: {first}, {then}");
        }
    }
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

#[tokio::test]
async fn what_the_spec_takes_away_waits_for_no_secret_that_is_being_read() {
    let revoked = json!({"apiKey": {"secretName": "bot-key", "revokeBefore": "2026-01-01T13:00:00Z"}});
    let moved = json!({"apiKey": {"secretName": "new-key", "revokeBefore": "2026-01-01T13:00:00Z"}});
    let undecodable = json!({"apiKey": {"secretName": 7, "revokeBefore": "2026-01-01T13:00:00Z"}});
    for (what, credentials) in [
        ("revoked", revoked),
        ("revoked and moved", moved),
        ("revoked and undecodable", undecodable),
        ("removed", json!({})),
    ] {
        // A read of a Secret is never answered.
        let api = FakeApi::start(|request| (!request.path.contains("/secrets/")).then(|| refusal(404))).await;
        let issued_before = "2026-01-01T12:00:00Z";
        let status = json!({"apiKey": {"secretName": "bot-key", "keyId": "0123456789ab", "issuedAt": issued_before}});
        let context = context(&api, status);
        while tokio::time::timeout(Duration::from_millis(1), context.queue.next()).await.is_ok() {}
        let live = context.clients.get(&name("bot")).unwrap();
        let mut edited = serde_json::to_value(live.object.spec.as_ref().unwrap()).unwrap();
        edited["credentials"] = credentials;
        let status = serde_json::to_value(&live.status).unwrap();
        let mut object: Value = serde_json::from_str(object("McpClient", "bot", edited, status).json()).unwrap();
        object["metadata"]["resourceVersion"] = json!("1000");
        let change = context.clients.event(ReceivedObject::parse(&object.to_string()).unwrap().into()).unwrap();
        context.client_changed(&change);
        let bot = ReconcileKey::Client(name("bot"));
        let work = loop {
            let work = context.queue.next().await;
            if work.key == bot {
                break work;
            }
        };
        assert_eq!(work.lane, Lane::Removals, "{what}");
        let client = name("bot");
        let reconciled = reconcile(&context, &client, &work);
        let ended = tokio::time::timeout(Duration::from_millis(1), reconciled).await;
        assert_eq!(ended.is_ok(), what == "removed", "{what}: {ended:?}");
        assert_eq!(issued(&context), Some(0), "{what}");
    }
}

#[tokio::test]
async fn the_servers_learn_of_a_new_key_before_an_event_says_so() {
    let known: Arc<OnceLock<Arc<Context>>> = Arc::default();
    let at_event: Arc<Mutex<Vec<Option<usize>>>> = Arc::default();
    let (context_known, seen) = (Arc::clone(&known), Arc::clone(&at_event));
    let api = storing(move |request| {
        if request.method == "POST" && request.path.contains("/events") {
            lock(&seen).push(context_known.get().and_then(|context| issued(context)));
        }
        None
    })
    .await;
    let context = context(&api, json!({}));
    let _ = known.set(Arc::clone(&context));
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    assert_eq!(*lock(&at_event), [Some(1)]);
}

/// The next operator may know of nothing but the status when the key was issued.
#[tokio::test]
async fn a_status_that_is_written_first_after_a_secret_became_unreadable_has_the_key_that_is_in_force() {
    let may_read = Arc::new(AtomicU8::new(1));
    let api = storing({
        let may_read = Arc::clone(&may_read);
        move |request| {
            let is_read = request.method == "GET" && request.path.contains("/secrets/");
            (is_read && may_read.load(Ordering::SeqCst) == 0).then(|| refusal(403))
        }
    })
    .await;
    let context = context(&api, json!({}));
    // The server has not reported yet, so that there is no status.
    reconciled(&context, &name("bot"), Lane::Others).await.unwrap();
    let status = || context.clients.get(&name("bot")).unwrap().status.clone().unwrap();
    assert_eq!((issued(&context), status().api_key), (Some(1), None));
    may_read.store(0, Ordering::SeqCst);
    report(&context, false);
    for _ in 0..2 {
        reconciled(&context, &name("bot"), Lane::Others).await.unwrap_err();
    }
    let written = api.requests().into_iter().rfind(|request| request.path.contains("/status")).unwrap().body;
    let key = &written["status"]["apiKey"];
    assert!(key["secretName"] == "bot-key" && key["issuedAt"].is_string(), "{written}");
}
