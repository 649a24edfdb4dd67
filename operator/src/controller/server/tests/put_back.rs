//! What others change in the Deployment is put back, and that is said, against a fake API server.

use crate::build::DEPLOYMENT;

use super::*;

/// The Deployment as it was created, with another version and a change.
fn deployment(api: &FakeApi, version: &str, change: impl FnOnce(&mut Value)) -> ReceivedObject {
    let is_creation = |request: &Request| request.method == "POST" && request.path.contains("deployments");
    let mut live = api.requests().into_iter().find(is_creation).unwrap().body;
    live["metadata"]["uid"] = json!("uid-of-deployment");
    live["metadata"]["resourceVersion"] = json!(version);
    live["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "operation": "Apply"}]);
    change(&mut live);
    object(live)
}

#[tokio::test]
async fn what_was_put_back_by_a_write_that_was_given_up_is_said_once_it_is_found() {
    let hangs = Arc::new(AtomicBool::new(false));
    let api = storing({
        let hangs = Arc::clone(&hangs);
        move |request| {
            let is_of_deployment = request.method == "PATCH" && request.path.contains("deployments");
            (is_of_deployment && hangs.load(Ordering::SeqCst)).then(|| refusal(504))
        }
    })
    .await;
    let context = context(&api, "fixed");
    reconciled(&context, Lane::Others).await.unwrap();
    let on_host = |live: &mut Value| live["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    let _ = context.owned.answer(&DEPLOYMENT.object, deployment(&api, "1000", on_host));
    hangs.store(true, Ordering::SeqCst);
    reconciled(&context, Lane::Others).await.unwrap_err();
    hangs.store(false, Ordering::SeqCst);
    let _ = context.owned.answer(&DEPLOYMENT.object, deployment(&api, "1001", |_| {}));
    reconciled(&context, Lane::Others).await.unwrap();
    reconciled(&context, Lane::Others).await.unwrap();
    assert_eq!(put_back(&api), ["Put back Deployment crm: spec.template.spec.hostNetwork"]);
}

/// What events say was put back of the Deployment.
fn put_back(api: &FakeApi) -> Vec<String> {
    let notes =
        api.requests().into_iter().filter(|request| request.method == "POST" && request.path.contains("events"));
    let notes = notes.filter_map(|request| request.body["note"].as_str().map(str::to_owned));
    notes.filter(|note| note.starts_with("Put back Deployment")).collect()
}

#[tokio::test]
async fn while_the_spec_has_errors_the_deployment_is_put_back_by_this_run_and_by_the_next_one() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 3] = [
        ("nothing", |_| {}),
        ("an addition", |live| live["spec"]["template"]["spec"]["hostNetwork"] = json!(true)),
        ("a wanted field", |live| live["spec"]["template"]["spec"]["serviceAccountName"] = json!("admin")),
    ];
    for (what, change) in changes {
        for is_restarted in [false, true] {
            let api = storing(|_| None).await;
            let first = context(&api, "fixed");
            reconciled(&first, Lane::Others).await.unwrap();
            let context = if is_restarted { context(&api, "nowhere") } else { first };
            let _ = context.owned.answer(&CONFIG_MAP.object, published(&[]));
            let _ = context.servers.event(object(server("nowhere", "1000", "Answers.")).into());
            let _ = context.owned.answer(&DEPLOYMENT.object, deployment(&api, "1000", change));
            let _ = reconciled(&context, Lane::Others).await;
            let is_patch = |request: &&Request| request.method == "PATCH" && request.path.contains("deployments");
            let requests = api.requests();
            let patches: Vec<&Value> = requests.iter().filter(is_patch).map(|request| &request.body).collect();
            let field = |name: &str| patches.iter().find_map(|patch| patch.pointer("/spec/template/spec")?.get(name));
            match what {
                "nothing" => assert_eq!(patches, [] as [&Value; 0], "{is_restarted}"),
                "an addition" => assert_eq!(field("hostNetwork"), Some(&Value::Null), "{is_restarted}"),
                _ => assert_eq!(field("serviceAccountName"), Some(&json!("crm")), "{is_restarted}"),
            }
            // Of what an earlier run built only additions are known to be somebody else's.
            let is_said = what == "an addition" || (what != "nothing" && !is_restarted);
            assert_eq!(put_back(&api).len(), usize::from(is_said), "{what}, {is_restarted}: {:?}", put_back(&api));
        }
    }
}
