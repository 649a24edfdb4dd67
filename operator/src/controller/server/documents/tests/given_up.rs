//! What was given up or is late, and what follows it.

use super::*;
use crate::{
    build,
    controller::server::{apply, changes::Behind, fetch},
    validate,
};

/// How the write of the credentials stands that passed the gate last.
fn credentials_gate(context: &Context) -> Arc<DocumentGate> {
    Arc::clone(&lock(&context.of_servers.of(&crm())).gates["crm-credentials-v1"])
}

fn suspend(client: &mut Value) {
    client["spec"]["suspended"] = json!(true);
}

/// Changes the client, and has that published without collecting anything else.
fn edit_at_once(context: &Context, generation: u64, change: impl FnOnce(&mut Value)) {
    edit_client(context, generation, change);
    context.publish(crm(), false);
}

#[tokio::test]
async fn a_removal_is_planned_again_as_soon_as_one_document_is_free_although_the_write_of_the_other_one_hangs() {
    let (mut policies_seen, mut secrets_seen) = (0, 0);
    let api = api(move |request| {
        policies_seen += usize::from(is_write(request, "configmaps"));
        secrets_seen += usize::from(is_write(request, "secrets"));
        let hangs = (is_write(request, "configmaps") && policies_seen == 1)
            || (is_write(request, "secrets") && secrets_seen > 1);
        hangs.then_some(None)
    })
    .await;
    let secrets = |requests: &[Request]| requests.iter().filter(|request| is_write(request, "secrets")).count();
    let context = served(&api);
    let (_, first) = start(&context, Lane::Others);
    until(&api, |requests| !policies(requests).is_empty() && secrets(requests) == 1).await;
    while credentials_gate(&context).enter().is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    first.abort();
    edit_client(&context, 2, suspend);
    let (_queue, removal) = start(&context, Lane::Removals);
    until(&api, |requests| secrets(requests) == 2).await;
    let write = lock(&credentials_gate(&context).current).task.clone().unwrap();
    until(&api, |requests| policies(requests).len() == 2).await;
    let was_given_up = lock(&credentials_gate(&context).current).given_up > 0;
    assert!(was_given_up || !write.is_finished(), "it waited until the write of the credentials had ended");
    removal.abort();
}

/// A revision is published, others are given up, and it is to be published again: nothing that was given up may come after it.
#[tokio::test]
async fn a_revision_that_is_published_again_is_written_again_if_others_were_given_up_in_between() {
    let mut seen = 0;
    let api = api(move |request| {
        seen += usize::from(is_write(request, "configmaps"));
        (is_write(request, "configmaps") && [2, 3].contains(&seen)).then_some(None)
    })
    .await;
    let context = served(&api);
    edit_client(&context, 2, suspend);
    let _ = reconciled(&context, Lane::Removals).await;
    for (generation, records) in [(3, 1), (4, 2)] {
        edit_at_once(&context, generation, |client| {
            client["spec"]["access"][0]["maxRecordsPerQuery"] = json!(records);
        });
        let (_, unsuspended) = start(&context, Lane::Removals);
        until(&api, |requests| policies(requests).len() == usize::try_from(generation).unwrap() - 1).await;
        unsuspended.abort();
    }
    edit_at_once(&context, 5, suspend);
    let _ = reconciled(&context, Lane::Removals).await;

    let requests = api.requests();
    let sent = policies(&requests);
    let is_suspended: Vec<bool> = sent.iter().map(|policy| policy.contains("suspended: true")).collect();
    let writes = requests.iter().filter(|request| is_write(request, "configmaps"));
    let versions: Vec<Value> =
        writes.clone().map(|request| request.body["metadata"]["resourceVersion"].clone()).collect();
    assert_eq!(
        (is_suspended, versions),
        (vec![true, false, false, true], ["7", "8", "8", "8"].map(Value::from).to_vec())
    );
    assert_eq!((&sent[0], sent.len()), (&sent[3], 4));
    let annotations = writes.map(|request| &request.body["metadata"]["annotations"][changes::ANNOTATION]);
    let known: Vec<usize> = annotations.map(|text| text.as_str().unwrap().matches("revision").count()).collect();
    assert_eq!(known, [1, 2, 3, 4], "each that was sent is known as one that may have been published");
    let memory = context.of_servers.of(&crm());
    let said: Vec<String> = lock(&memory).events.iter().map(|event| event.note.clone()).collect();
    assert!(!said.iter().any(|note| note.starts_with("Put back ConfigMap")), "nobody changed it: {said:?}");
    let changes = lock(&memory).changes[&("ConfigMap", "crm-policy-v1".to_owned())].clone();
    let doubt = changes.doubt(None, k8s_openapi::jiff::Timestamp::now());
    assert!(
        matches!(&doubt, Some((Behind::Only(clients), _)) if clients.len() == 1),
        "a pod may have it from before, and still take up what was given up: {doubt:?}"
    );
}

#[tokio::test]
async fn a_revision_is_not_written_again_because_of_others_that_were_refused() {
    let mut seen = 0;
    let api = api(move |request| {
        seen += usize::from(is_write(request, "configmaps"));
        (is_write(request, "configmaps") && seen == 2).then(|| Some(refusal(403)))
    })
    .await;
    let context = served(&api);
    edit_client(&context, 2, suspend);
    let _ = reconciled(&context, Lane::Removals).await;
    edit_at_once(&context, 3, |_| {});
    reconciled(&context, Lane::Removals).await.unwrap_err();
    edit_at_once(&context, 4, suspend);
    let _ = reconciled(&context, Lane::Removals).await;
    assert_eq!(policies(&api.requests()).len(), 2, "what was refused had no effect");
    let memory = context.of_servers.of(&crm());
    assert_eq!(lock(&memory).changes[&("ConfigMap", "crm-policy-v1".to_owned())].doubtful_until(), None);
}

#[tokio::test(start_paused = true)]
async fn pods_are_told_of_a_document_that_was_written_after_its_reconcile_had_been_given_up() {
    let api = late_and_hanging();
    let context = served(&api);
    let _ = context.pods.event(serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(pod()).unwrap().into());
    let followed = context.pods.of_server(&crm());
    context.prober.follow(&crm(), &Revisions::default(), None, Occasion::Routine, &followed, &Restored::default());
    edit_client(&context, 2, suspend);
    let (_, first) = start(&context, Lane::Removals);
    let is_begun = || {
        let memory = context.of_servers.of(&crm());
        let gate = lock(&memory).gates.get("crm-policy-v1").cloned();
        gate.is_some_and(|gate| lock(&gate.current).task.is_some())
    };
    while !is_begun() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    first.abort();
    let (_queue, second) = start(&context, Lane::Removals);
    until(&api, |requests| requests.iter().any(|request| is_write(request, "pods"))).await;
    let requests = api.requests();
    let told = requests.iter().position(|request| is_write(request, "pods")).unwrap();
    assert_eq!(policies(&requests[..told]).len(), 1);
    let write = lock(&credentials_gate(&context).current).task.clone();
    assert!(write.is_none_or(|write| !write.is_finished()), "the pod was told after the other write had ended");
    second.abort();
}

#[tokio::test]
async fn a_plan_that_rests_on_what_an_earlier_write_replaced_is_made_again_although_that_write_has_ended() {
    let api = api(|_| None).await;
    let context = served(&api);
    let (fetched, live) = fetch::fetch(&context, &crm()).await.unwrap();
    edit_client(&context, 2, suspend);
    reconciled(&context, Lane::Removals).await.unwrap();
    let plan = Arc::new(validate::server(&fetched.input));
    let objects = build::objects(context.kinds, &fetched.input.server, &plan, None, &fetched.names, &context.settings);
    let queue: Arc<Queue<ReconcileKey>> = Arc::default();
    queue.add(ReconcileKey::Server(crm()));
    let work = queue.next().await;
    assert!(apply::documents(&context, &Arc::new(fetched), live, &plan, objects, &work).await.is_none());
    let sent = policies(&api.requests());
    assert!(sent.iter().all(|policy| policy.contains("suspended: true")), "{sent:?}");
}
