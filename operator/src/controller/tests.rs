//! What a panic anywhere in the operator takes with it: a planned one in each of its tasks.

use serde_json::{Value, json};

use super::*;
use crate::cluster::testing::{FakeApi, Request, listing};
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
    let settings = Settings { server_image: "image".into(), image_pull_policy: "Never".into() };
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

#[tokio::test]
async fn a_client_without_a_key_is_tried_less_and_less_often_and_one_whose_key_may_be_revoked_is_not() {
    let api = FakeApi::in_turn(Vec::new()).await;
    let name = portcullis_crds::NamespacedName::new("four", "bot");
    let kind = &crate::credentials::KINDS[0];
    let key = (kind.read)(&(kind.create)([1; 32])).unwrap();
    for (of_status, known, expected) in [
        (false, None, Urgency::Refused),
        (false, Some(false), Urgency::Refused),
        (false, Some(true), Urgency::Removal),
        (true, None, Urgency::Removal),
        (true, Some(false), Urgency::Refused),
    ] {
        let context = context(&api);
        let mut client = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient",
            "metadata": {"name": "bot", "namespace": "four", "uid": "uid-of-bot", "generation": 1, "resourceVersion": "7"},
            "spec": {
                "access": [{"serverRef": {"name": "crm"}, "tools": ["ping"], "maxRecordsPerQuery": 1}],
                "credentials": {"apiKey": {"secretName": "bot-key"}},
            },
        });
        if of_status {
            client["status"] = json!({"apiKey": {"secretName": "bot-key", "keyId": "0123456789ab"}});
        }
        let received = crate::cluster::received::ReceivedObject::parse(&client.to_string()).unwrap();
        let _ = context.clients.event(received.into());
        if let Some(has_key) = known {
            let keys = if has_key { vec![key.clone()] } else { Vec::new() };
            lock(&context.of_clients.of(&name)).of_client("uid-of-bot").issued.insert("apiKey", keys);
        }
        context.queue.add(ReconcileKey::Client(name.clone()));
        let item = context.queue.next().await;
        assert_eq!(context.failure(&item, "quota", true).urgency, expected, "{of_status}, {known:?}");
    }
}
