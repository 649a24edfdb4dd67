//! What becomes of writes of documents that hang, against a fake API server. That a real one refuses what was sent for an earlier
//! version is tested in `tests/tests/operator`.

mod given_up;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::{
    changes, reconcile,
    tests::{client, context, crm, object, published, reconciled},
};
use super::{super::object_write::ATTEMPTS, *};
use crate::{
    build::CONFIG_MAP,
    cluster::testing::{Answer, FakeApi, Request, refusal},
    controller::{context::Context, queue::Queue},
    probe::{Restored, Revisions},
};

/// An API server in which nothing exists, and that takes all that is created; `answer` is asked first, and gives no answer with
/// `Some(None)`.
async fn api(mut answer: impl FnMut(&Request) -> Option<Answer> + Send + 'static) -> FakeApi {
    FakeApi::start(move |request| answer(request).unwrap_or_else(|| taken(request))).await
}

fn taken(request: &Request) -> Answer {
    match request.method.as_str() {
        "GET" => Some(refusal(404)),
        _ => Some((200, as_written(request.body.clone(), "8"))),
    }
}

/// The same without a connection. A write of the policy is answered late, and one of the credentials not at all.
fn late_and_hanging() -> FakeApi {
    let delay = |request: &Request| if is_write(request, "configmaps") { BOTH * 2 } else { Duration::ZERO };
    FakeApi::in_process(delay, |request| if is_write(request, "secrets") { None } else { taken(request) })
}

fn as_written(mut object: Value, version: &str) -> Value {
    object["metadata"]["uid"] = json!("uid");
    object["metadata"]["resourceVersion"] = json!(version);
    object
}

fn is_write(request: &Request, plural: &str) -> bool {
    request.method != "GET" && request.path.contains(&format!("/{plural}"))
}

/// A server with a published policy of a client, and with that client.
fn served(api: &FakeApi) -> Arc<Context> {
    let context = context(api, "fixed");
    let mut policy: Value = serde_json::from_str(published(&[("bot", "")]).json()).unwrap();
    policy["metadata"]["resourceVersion"] = json!("7");
    let _ = context.owned.answer(&CONFIG_MAP.object, object(policy));
    edit_client(&context, 1, |_| {});
    let bot = context.of_clients.of(&portcullis_crds::NamespacedName::new("sales", "bot"));
    lock(&bot).of_client("uid-of-bot").issued.insert("apiKey", Vec::new());
    context
}

/// Changes the client, and schedules what follows from that.
fn edit_client(context: &Context, generation: u64, change: impl FnOnce(&mut Value)) {
    let mut edited: Value = serde_json::from_str(client("bot", json!(["ping"])).json()).unwrap();
    edited["metadata"]["generation"] = json!(generation);
    edited["metadata"]["resourceVersion"] = json!(generation.to_string());
    change(&mut edited);
    if let Some(change) = context.clients.event(object(edited).into()) {
        context.client_changed(&change);
    }
}

/// Starts a reconcile of the server in this lane.
fn start(context: &Arc<Context>, lane: Lane) -> (Arc<Queue<ReconcileKey>>, tokio::task::JoinHandle<()>) {
    let queue: Arc<Queue<ReconcileKey>> = Arc::default();
    queue.add_at(ReconcileKey::Server(crm()), Instant::now(), lane);
    let (context, theirs) = (Arc::clone(context), Arc::clone(&queue));
    let task = tokio::spawn(async move {
        let work = theirs.next().await;
        let _ = reconcile(&context, &crm(), &work).await;
    });
    (queue, task)
}

async fn until(api: &FakeApi, is_there: impl Fn(&[Request]) -> bool) {
    let there = async {
        while !is_there(&api.requests()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let seen = || api.requests().into_iter().map(|request| (request.method, request.path)).collect::<Vec<_>>();
    assert!(timeout(Duration::from_secs(60), there).await.is_ok(), "{:?}", seen());
}

/// The policies that were sent.
fn policies(requests: &[Request]) -> Vec<String> {
    let sent = requests.iter().filter(|request| is_write(request, "configmaps"));
    sent.filter_map(|request| request.body["data"]["policy.yaml"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn removals_are_written_at_once_one_after_another_while_a_write_of_the_credentials_hangs() {
    let api = api(|request| is_write(request, "secrets").then_some(None)).await;
    let context = served(&api);
    let records =
        |records: u64| move |client: &mut Value| client["spec"]["access"][0]["maxRecordsPerQuery"] = json!(records);
    edit_client(&context, 2, records(100));
    let (queue, first) = start(&context, Lane::Others);
    until(&api, |requests| requests.iter().any(|request| is_write(request, "secrets"))).await;
    let begun = Instant::now();
    for generation in 3..7 {
        edit_client(&context, generation, records(100 - generation));
        queue.add_at(ReconcileKey::Server(crm()), Instant::now(), Lane::Removals);
        let is_written = format!("maxRecordsPerQuery: {}", 100 - generation);
        let context = Arc::clone(&context);
        let work = queue.next().await;
        assert_eq!(work.lane, Lane::Removals);
        tokio::spawn(async move {
            let _ = reconcile(&context, &crm(), &work).await;
        });
        until(&api, |requests| policies(requests).iter().any(|policy| policy.contains(&is_written))).await;
    }
    first.await.unwrap();
    let given_up = lock(&lock(&context.of_servers.of(&crm())).gates["crm-credentials-v1"].current).given_up;
    assert!(given_up <= 3, "the credentials get more and more time: {given_up} in {:?}", begun.elapsed());
}

/// A pod that is not known to be somebody else's, and whose admin port does not answer.
fn pod() -> Value {
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "crm-1", "uid": "set", "controller": true});
    json!({
        "metadata": {
            "name": "crm-0", "namespace": "sales", "uid": "uid-of-crm-0", "resourceVersion": "1",
            "labels": {"app.kubernetes.io/name": "portcullis-server", "app.kubernetes.io/instance": "crm"},
            "ownerReferences": [owner],
        },
        "spec": {"containers": [{"name": "server", "ports": [{"name": "admin", "containerPort": 1}]}]},
        "status": {"podIP": "127.0.0.1", "phase": "Running"},
    })
}

#[tokio::test(start_paused = true)]
async fn pods_are_told_of_a_document_that_is_written_late_while_the_write_of_the_other_one_hangs() {
    let api = late_and_hanging();
    let context = served(&api);
    let _ = context.pods.event(serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(pod()).unwrap().into());
    let followed = context.pods.of_server(&crm());
    context.prober.follow(&crm(), &Revisions::default(), None, Occasion::Routine, &followed, &Restored::default());
    edit_client(&context, 2, |client| client["spec"]["suspended"] = json!(true));
    let (_queue, removal) = start(&context, Lane::Removals);
    until(&api, |requests| requests.iter().any(|request| is_write(request, "pods"))).await;
    let gate = Arc::clone(&lock(&context.of_servers.of(&crm())).gates["crm-credentials-v1"]);
    assert!(gate.enter().is_none(), "the pod was told only after the write of the credentials had ended");
    removal.abort();
}

#[tokio::test]
async fn a_removal_gives_up_an_earlier_write_of_its_document_that_hangs_and_that_has_no_effect_after_it() {
    let mut seen = 0;
    let api = api(move |request| {
        seen += usize::from(is_write(request, "configmaps"));
        let hangs = is_write(request, "configmaps") && seen == 1;
        hangs.then_some(None)
    })
    .await;
    let context = served(&api);
    let (_, first) = start(&context, Lane::Others);
    until(&api, |requests| !policies(requests).is_empty()).await;
    first.abort();
    edit_client(&context, 2, |client| client["spec"]["suspended"] = json!(true));
    let _ = reconciled(&context, Lane::Removals).await;
    let requests = api.requests();
    let versions: Vec<&Value> = requests
        .iter()
        .filter(|request| is_write(request, "configmaps"))
        .map(|request| &request.body["metadata"]["resourceVersion"])
        .collect();
    assert_eq!(versions, ["7", "7"], "whichever comes first, the other one is refused");
    assert_eq!(
        policies(&requests).iter().map(|policy| policy.contains("suspended: true")).collect::<Vec<_>>(),
        [false, true]
    );
}

#[tokio::test]
async fn another_party_that_writes_all_the_time_holds_up_no_removal_and_no_write_is_without_a_version() {
    let live = as_written(serde_json::from_str(published(&[("bot", "")]).json()).unwrap(), "7");
    let mut version = 7;
    let api = api(move |request| match (request.path.contains("/configmaps"), request.method.as_str()) {
        (true, "GET") => {
            let mut live = live.clone();
            live["metadata"]["resourceVersion"] = json!(version.to_string());
            Some(Some((200, live)))
        }
        (true, _) if version < 40 => {
            version += 1;
            Some(Some(refusal(409)))
        }
        _ => None,
    })
    .await;
    let context = served(&api);
    edit_client(&context, 2, |client| client["spec"]["suspended"] = json!(true));
    let _ = reconciled(&context, Lane::Removals).await;
    let memory = context.of_servers.of(&crm());
    let policy = lock(&memory).published.policy.clone().unwrap();
    assert!(policy.clients.iter().all(|client| client.suspended));
    let requests = api.requests();
    let sent = requests.iter().filter(|request| is_write(request, "configmaps"));
    let versions: Vec<_> = sent.map(|request| request.body["metadata"]["resourceVersion"].clone()).collect();
    assert_eq!(versions, (7..=40).map(|version| json!(version.to_string())).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_document_that_conflicts_each_time_is_a_conflict_in_the_end() {
    let live = as_written(serde_json::from_str(published(&[("bot", "")]).json()).unwrap(), "7");
    let api = api(move |request| match (request.path.contains("/configmaps"), request.method.as_str()) {
        (true, "GET") => Some(Some((200, live.clone()))),
        (true, _) => Some(Some(refusal(409))),
        _ => None,
    })
    .await;
    let context = served(&api);
    edit_client(&context, 2, |client| client["spec"]["suspended"] = json!(true));
    assert!(reconciled(&context, Lane::Removals).await.unwrap_err().is_conflict());
    assert_eq!(api.requests().iter().filter(|request| is_write(request, "configmaps")).count(), ATTEMPTS);
}

#[tokio::test]
async fn what_was_sent_and_is_found_later_was_published_even_if_nobody_waited_for_the_answer() {
    let api = api(|request| is_write(request, "configmaps").then_some(None)).await;
    let context = served(&api);
    edit_client(&context, 2, |client| client["spec"]["suspended"] = json!(true));
    let (_, removal) = start(&context, Lane::Removals);
    until(&api, |requests| !policies(requests).is_empty()).await;
    removal.abort();
    let sent = api.requests().into_iter().find(|request| is_write(request, "configmaps")).unwrap().body;
    let _ = context.owned.answer(&CONFIG_MAP.object, object(as_written(sent, "9")));
    // The client asks for access again, in a spec that has errors: it keeps what it had.
    edit_client(&context, 3, |client| client["spec"]["access"][0]["tools"] = json!("all"));
    let (fetched, _) = super::super::fetch::fetch(&context, &crm()).await.unwrap();
    assert!(fetched.input.published.policy.unwrap().clients.iter().all(|client| client.suspended));
}

/// 40 namespaces in which no write is answered, and one in which a client is suspended.
#[tokio::test(start_paused = true)]
async fn namespaces_in_which_every_write_hangs_delay_no_suspension_in_another_one() {
    let hangs = |request: &Request| request.path.contains("/noisy-");
    let api =
        FakeApi::in_process(|_| Duration::ZERO, move |request| if hangs(request) { None } else { taken(request) });
    let context = served(&api);
    for namespace in 0..40 {
        for name in 0..8 {
            let mut noisy = super::super::tests::server("fixed", "1", "Answers.");
            noisy["metadata"]["namespace"] = json!(format!("noisy-{namespace}"));
            noisy["metadata"]["name"] = json!(format!("crm-{name}"));
            noisy["metadata"]["uid"] = json!(format!("uid-of-{namespace}-{name}"));
            let change = context.servers.event(object(noisy).into()).unwrap();
            let name = change.new.as_ref().unwrap().object.namespaced_name();
            context.queue.add_at(ReconcileKey::Server(name), Instant::now(), Lane::Removals);
        }
    }
    let worker = {
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            loop {
                let work = context.queue.next().await;
                let context = Arc::clone(&context);
                tokio::spawn(async move {
                    if let ReconcileKey::Server(name) = &work.key {
                        let _ = reconcile(&context, name, &work).await;
                    }
                });
            }
        })
    };
    until(&api, |requests| requests.iter().filter(|request| request.path.contains("/noisy-")).count() >= 40).await;
    let begun = Instant::now();
    edit_client(&context, 2, |client| client["spec"]["suspended"] = json!(true));
    until(&api, |requests| policies(requests).iter().any(|policy| policy.contains("suspended: true"))).await;
    worker.abort();
    assert!(begun.elapsed() <= Duration::from_secs(1), "it waited for what hangs: {:?}", begun.elapsed());
}
