//! What a panic anywhere in the operator takes with it: a planned one in each of its tasks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};

use super::*;
use crate::cluster::{
    object::ClientObject,
    testing::{FakeApi, Request, in_process, listing, refusal},
};
use crate::supervise::faults;

fn server(namespace: &str, name: &str) -> (&'static str, Value) {
    let server = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpServer",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("uid-of-{name}"), "generation": 1, "resourceVersion": "7",
        },
        "spec": {
            "backends": [{"name": "fixed", "static": {}}],
            "tools": [{"name": "ping", "description": "Answers.", "backend": "fixed", "static": {"text": "pong"}}],
        },
    });
    ("mcpservers", server)
}

fn context(api: &FakeApi) -> Arc<Context> {
    let settings = Settings::of_tests();
    Context::new(Cluster::new(api.client(), Fence::open()), settings, KINDS, Scopes::all())
}

/// Waits until a request was made for which this holds, while everything runs as in the operator.
async fn until(api: &FakeApi, context: &Arc<Context>, is_made: impl Fn(&Request) -> bool) {
    let mut tasks = Tasks::default();
    context.watch(&mut tasks);
    drive(context, &mut tasks);
    let made = async {
        while !api.requests().iter().any(&is_made) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        why = tasks.gave_up() => panic!("{why}"),
        made = tokio::time::timeout(Duration::from_secs(60), made) => made.expect("the request must be made"),
    }
}

fn publishes(request: &Request, server: &str) -> bool {
    request.method == "POST" && request.body["metadata"]["name"] == format!("{server}-policy-v1")
}

#[tokio::test]
async fn a_reconcile_that_panics_is_repeated_and_said_in_the_status_and_concerns_no_other_object() {
    let api = listing(vec![server("one", "cursed"), server("one", "crm")]).await;
    let context = context(&api);
    faults::plan("reconcile of McpServer one/cursed", 5);
    until(&api, &context, |request| publishes(request, "cursed")).await;

    let requests = api.requests();
    let at = |is_made: &dyn Fn(&Request) -> bool| requests.iter().position(is_made);
    let of_cursed = |request: &Request| request.path.contains("mcpservers/cursed/status");
    let said = at(&of_cursed).expect("the status must say it");
    let conditions = requests[said].body["status"]["conditions"].as_array().unwrap();
    let words: Vec<_> =
        conditions.iter().map(|it| (it["type"].as_str().unwrap(), it["status"].as_str().unwrap())).collect();
    assert_eq!(words, [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")]);
    assert!(
        conditions.iter().all(|it| it["type"] == "Reconciling" || it["reason"] == "InternalError"),
        "{conditions:?}"
    );
    assert!(conditions[2]["message"].as_str().unwrap().contains("planned by a test"), "{conditions:?}");
    assert!(
        at(&|request| publishes(request, "crm")) < at(&|request| publishes(request, "cursed")),
        "it waits for nothing"
    );
    assert_eq!(context.supervisor.metrics().restarts(Task::Reconcile), 5);
    assert_eq!(context.supervisor.metrics().restarts(Task::Driver), 0);
}

#[tokio::test]
async fn a_driver_that_panics_loses_no_object() {
    let api = listing(vec![server("two", "crm"), server("two", "erp")]).await;
    let context = context(&api);
    faults::plan("driver at McpServer two/crm", 2);
    until(&api, &context, |request| publishes(request, "crm")).await;
    until(&api, &context, |request| publishes(request, "erp")).await;
    assert_eq!(context.supervisor.metrics().restarts(Task::Driver), 2);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_panics_is_made_again() {
    let api = FakeApi::in_turn(Vec::new()).await;
    let context = context(&api);
    let key = ReconcileKey::Client(portcullis_crds::NamespacedName { namespace: "three".into(), name: "bot".into() });
    faults::plan(&format!("poll of {key}"), 3);
    context.polls.add_at(key, Instant::now(), Lane::Others);
    let progress = context.supervisor.progress(Task::SecretPoller);
    let poller = polling::poll_secrets(Arc::clone(&context), progress, false);
    assert!(tokio::time::timeout(Duration::from_secs(300), poller).await.is_err(), "it never ends");
    assert_eq!(context.supervisor.metrics().restarts(Task::SecretPoll), 3);
}

/// Whether or not it has a key: what was revoked is found out by the poller.
#[tokio::test(start_paused = true)]
async fn clients_whose_secrets_may_not_be_read_are_not_retried_again_and_again_and_are_once_they_may() {
    const CLIENTS: usize = 20;
    let client = |name: &str, status: &Value| {
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient",
            "metadata": {"name": name, "namespace": "four", "uid": name, "generation": 1, "resourceVersion": "7"},
            "spec": {
                "access": [{"serverRef": {"name": "crm"}, "tools": ["ping"], "maxRecordsPerQuery": 1}],
                "credentials": {"apiKey": {"secretName": name}},
            },
            "status": status,
        })
    };
    let is_forbidden = Arc::new(AtomicBool::new(true));
    let reads = Arc::new(AtomicUsize::new(0));
    let answer = {
        let (is_forbidden, reads) = (Arc::clone(&is_forbidden), Arc::clone(&reads));
        move |request: &Request| {
            if request.path.contains("/secrets/") && is_forbidden.load(SeqCst) {
                reads.fetch_add(1, SeqCst);
                return Some(refusal(403));
            }
            let name = request.path.split_once("/mcpclients/").and_then(|(_, path)| path.split('/').next());
            name.map(|name| (200, client(name, &request.body["status"]))).or_else(|| Some(refusal(404)))
        }
    };
    let settings = Settings::of_tests();
    let context = Context::new(Cluster::new(in_process(answer), Fence::open()), settings, KINDS, Scopes::all());
    for n in 0..CLIENTS {
        let name = format!("bot-{n}");
        let client = client(&name, &json!({"apiKey": {"secretName": name, "keyId": "0123456789ab"}}));
        let received = crate::cluster::received::ReceivedObject::parse(&client.to_string()).unwrap();
        let change = context.clients.event(received.into()).unwrap();
        context.client_changed(&change);
    }
    let (failures, progress) = (Failures::default(), context.supervisor.progress(Task::SecretPoller));
    let driver = async {
        loop {
            let item = context.queue.next().await;
            if let Some((pause, lane)) = work_on(&context, &item, &failures).await {
                context.queue.add_at(item.key.clone(), Instant::now() + pause, lane);
            }
        }
    };
    let without_keys = || {
        let issued = |client: &Arc<ClientObject>| {
            let memory = context.of_clients.known(&client.object.namespaced_name())?;
            lock(&memory).issued_to(&client.object)
        };
        context.clients.all().iter().filter(|client| issued(client) == Some(Vec::new())).count()
    };
    let follow = async {
        sleep(Duration::from_secs(1800)).await;
        let before = reads.load(SeqCst);
        sleep(Duration::from_secs(600)).await;
        // Each is polled every 27 to 30 s, and reconciled every 150 to 300 s.
        let reads = reads.load(SeqCst) - before;
        assert!(reads < CLIENTS * (600 / 27 + 600 / 150), "{reads} reads");
        assert_eq!(without_keys(), 0);
        // The Secrets are gone, as it shows now.
        is_forbidden.store(false, SeqCst);
        sleep(Duration::from_secs(35)).await;
        assert_eq!(without_keys(), CLIENTS);
    };
    tokio::select! {
        () = driver => panic!("it never ends"),
        () = polling::poll_secrets(Arc::clone(&context), progress, false) => panic!("it never ends"),
        () = follow => {}
    }
}

#[tokio::test]
async fn the_failures_of_a_server_are_forgotten_with_it_also_if_a_removal_was_its_last_reconcile() {
    let context = context(&FakeApi::in_turn(Vec::new()).await);
    let name = portcullis_crds::NamespacedName::new("five", "crm");
    context.queue.add_at(ReconcileKey::Server(name), Instant::now(), Lane::Removals);
    let item = context.queue.next().await;
    let failures = Failures::default();
    let failed =
        || failures.failed(&item.key, Failure { text: "quota", generation: Some(1), urgency: Urgency::Refused });
    for _ in 0..14 {
        failed();
    }
    assert_eq!(work_on(&context, &item, &failures).await, None);
    assert_eq!(failed().times, 1);
}
