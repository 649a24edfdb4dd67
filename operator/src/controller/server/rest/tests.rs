//! That removals and the rest of a reconcile hold each other up in no way, against a fake API server.

use portcullis_crds::condition::Reason;
use serde_json::json;

use super::super::{
    reconcile,
    tests::{context, context_of, crm, metadata, object, reconciled, writes},
};
use super::*;
use crate::{
    build::DEPLOYMENT,
    cluster::{
        events::EventDraft,
        testing::{FakeApi, Request, in_process, refusal, storing},
    },
    controller::queue::Queue,
};

#[tokio::test]
async fn what_a_removal_interrupts_is_done_beside_it() {
    let queue: Arc<Queue<ReconcileKey>> = Arc::default();
    let interrupts = Arc::clone(&queue);
    let api = storing(move |request| {
        if request.method == "POST" && request.path.contains("serviceaccounts") {
            interrupts.add_at(ReconcileKey::Server(crm()), Instant::now(), Lane::Removals);
        }
        None
    })
    .await;
    let context = context(&api, "fixed");
    queue.add(ReconcileKey::Server(crm()));
    let work = queue.next().await;
    assert_eq!(reconcile(&context, &crm(), &work).await.unwrap(), Duration::ZERO);
    drop(work);
    assert_eq!(queue.next().await.lane, Lane::Removals, "it waits for nothing");
    until(&api, "PATCH mcpservers/crm/status").await;
    assert!(writes(&api).contains(&"POST deployments".to_owned()), "{:?}", writes(&api));
}

#[tokio::test]
async fn removals_that_leave_no_time_for_anything_else_keep_no_object_and_no_status_from_being_written() {
    let api = storing(|_| None).await;
    let context = context(&api, "fixed");
    let removals = async {
        loop {
            reconciled(&context, Lane::Removals).await.unwrap();
        }
    };
    tokio::select! {
        () = removals => {}
        () = until(&api, "PATCH mcpservers/crm/status") => {}
    }
    let written = writes(&api);
    assert!(written.contains(&"POST deployments".to_owned()), "{written:?}");
}

#[tokio::test]
async fn a_removal_that_cannot_be_written_keeps_nothing_else_from_being_done() {
    let is_secret = |path: &str| path.contains("/secrets");
    let api = storing(move |request| (request.method != "GET" && is_secret(&request.path)).then(|| refusal(403))).await;
    let context = context(&api, "fixed");
    let mut live = metadata("crm");
    live["uid"] = json!("uid-of-deployment");
    live["resourceVersion"] = json!("1");
    let live = json!({"metadata": live, "spec": {"template": {"spec": {"hostNetwork": true}}}});
    let _ = context.owned.answer(&DEPLOYMENT.object, object(live));
    let error = reconciled(&context, Lane::Removals).await.unwrap_err();
    assert_eq!(error.to_string(), "creating Secret sales/crm-credentials-v1: forbidden (HTTP 403)");
    until(&api, "POST services").await;
    until(&api, "PATCH deployments/crm").await;
    until(&api, "PATCH mcpservers/crm/status").await;
    // The next attempt has something to report.
    let memory = context.of_servers.of(&crm());
    lock(&memory).events.push(EventDraft::normal(Reason::PolicyPublished, "a policy".into()));
    reconciled(&context, Lane::Removals).await.unwrap_err();
    let is_reported = async {
        while !lock(&memory).events.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), is_reported).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn events_that_are_not_answered_hold_up_no_status() {
    let requests: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&requests);
    let client = in_process(move |request| {
        let path = request.path.split('?').next().unwrap_or_default();
        lock(&seen).push(format!("{} {}", request.method, path.rsplit('/').next().unwrap_or_default()));
        match request.method.as_str() {
            "GET" => Some(refusal(404)),
            _ if path.ends_with("/events") => None,
            _ => Some((200, request.body.clone())),
        }
    });
    let context = context_of(client, "fixed");
    let memory = context.of_servers.of(&crm());
    lock(&memory).uid = "uid-of-crm".into();
    lock(&memory).events = vec![EventDraft::normal(Reason::PolicyPublished, "a policy".into()); 6];
    let _ = reconciled(&context, Lane::Others).await;
    let requests = lock(&requests).clone();
    let at = |write: &str| requests.iter().position(|it| it == write);
    assert!(at("PATCH status").is_some() && at("PATCH status") < at("POST events"), "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_the_rest_is_done_beside_a_removal_that_fails_is_looked_at_again_afterwards() {
    let client = in_process(|request| match request.method.as_str() {
        "GET" => Some(refusal(404)),
        _ if request.path.contains("/serviceaccounts") => None,
        _ => Some(refusal(403)),
    });
    let context = context_of(client, "fixed");
    for _ in 0..2 {
        reconciled(&context, Lane::Removals).await.unwrap_err();
    }
    assert!(turn(&context, &crm()).is_err(), "the first one began it");
    while tokio::time::timeout(Duration::from_secs(1), context.queue.next()).await.is_ok() {}
    let next = tokio::time::timeout(Duration::from_secs(30), context.queue.next()).await.expect("it must be next");
    assert_eq!((&next.key, next.lane), (&ReconcileKey::Server(crm()), Lane::Others));
    assert!(turn(&context, &crm()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_removal_waits_for_no_report_that_an_earlier_one_was_refused() {
    let answer = |request: &Request| match request.method.as_str() {
        "GET" => Some(refusal(404)),
        _ if request.path.contains("/status") => None,
        _ => Some(refusal(403)),
    };
    let api = FakeApi::in_process(|_| Duration::ZERO, answer);
    let context = context(&api, "fixed");
    let queue: Arc<Queue<ReconcileKey>> = Arc::default();
    queue.add_at(ReconcileKey::Server(crm()), Instant::now(), Lane::Removals);
    let work = queue.next().await;
    let next = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        queue.add_at(ReconcileKey::Server(crm()), Instant::now(), Lane::Removals);
    };
    let (begun, crm) = (Instant::now(), crm());
    let (given_up, ()) = tokio::join!(reconcile(&context, &crm, &work), next);
    assert_eq!((given_up.unwrap(), begun.elapsed().as_millis() / 10), (Duration::ZERO, 5));
    until(&api, "POST services").await;
}

async fn until(api: &FakeApi, write: &str) {
    let there = async {
        while !writes(api).iter().any(|it| it == write) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), there).await.is_ok(), "{:?}", writes(api));
}
