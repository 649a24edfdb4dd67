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

/// Whoever can bring about that something is missing could keep a privilege in the pods with that.
#[tokio::test]
async fn a_privilege_does_not_stay_in_the_deployment_because_something_else_is_missing() {
    type Prepare = fn(&Context);
    let foreign_account = |context: &Context| {
        let mut metadata = metadata("crm");
        metadata["uid"] = json!("uid-of-account");
        metadata["resourceVersion"] = json!("1000");
        metadata["ownerReferences"] = json!(null);
        let account = object(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
        let _ = context.owned.answer(&KINDS[0].object, account);
    };
    let edited = |context: &Context| {
        let _ = context.servers.event(object(server("fixed", "1000", "Answers differently.")).into());
    };
    let cases: [(&str, &str, &str, Prepare); 4] = [
        ("the account is somebody else's", "", "", foreign_account),
        ("the account cannot be created", "POST", "serviceaccounts", |_| {}),
        ("the credentials cannot be read", "GET", "secrets", |_| {}),
        ("the policy is refused", "PATCH", "configmaps", edited),
    ];
    for (what, method, plural, prepare) in cases {
        for lane in [Lane::Others, Lane::Removals] {
            let is_refused = Arc::new(AtomicBool::new(false));
            let refuses = Arc::clone(&is_refused);
            let api = storing(move |request| {
                let is_it = request.method == method && request.path.contains(&format!("/{plural}"));
                (is_it && refuses.load(Ordering::SeqCst)).then(|| refusal(403))
            })
            .await;
            let context = context(&api, "fixed");
            reconciled(&context, Lane::Others).await.unwrap();
            is_refused.store(true, Ordering::SeqCst);
            if plural == "serviceaccounts" {
                let _ = context.owned.gone(&KINDS[0].object, &crm());
            }
            prepare(&context);
            let on_host = |live: &mut Value| live["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
            let _ = context.owned.answer(&DEPLOYMENT.object, deployment(&api, "1000", on_host));
            // Of a removal that was written the rest is left to another reconcile.
            let _ = reconciled(&context, lane).await;
            let _ = reconciled(&context, Lane::Others).await;
            let said = put_back(&api);
            let is_said =
                said.iter().any(|it| it.starts_with("Put back Deployment crm: spec.template.spec.hostNetwork"));
            assert!(is_said, "{what}, {lane:?}: {said:?}");
        }
    }
}

#[tokio::test]
async fn a_privilege_is_removed_while_the_server_is_being_deleted_and_nothing_is_created_or_taken_back() {
    let removal = "PATCH deployments/crm";
    for (is_there, is_orphaned, expected) in
        [(true, false, vec![removal, removal]), (true, true, vec![]), (false, false, vec![])]
    {
        let api = storing(|_| None).await;
        let context = context(&api, "fixed");
        reconciled(&context, Lane::Others).await.unwrap();
        let mut terminating = server("fixed", "1000", "Answers.");
        terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        terminating["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
        let _ = context.servers.event(object(terminating).into());
        let tampered = |live: &mut Value| {
            live["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
            if is_orphaned {
                live["metadata"]["ownerReferences"] = json!(null);
            }
        };
        if is_there {
            let _ = context.owned.answer(&DEPLOYMENT.object, deployment(&api, "1000", tampered));
        } else {
            let _ = context.owned.gone(&DEPLOYMENT.object, &crm());
        }
        let before = writes(&api).len();
        let _ = reconciled(&context, Lane::Others).await;
        let written: Vec<String> = writes(&api)[before..].to_vec();
        assert_eq!(written, expected, "there: {is_there}, orphaned: {is_orphaned}");
    }
}
