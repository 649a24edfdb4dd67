//! Which changes of clients are published at once.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::super::{
    fetch, publication,
    tests::{client, context, crm, object, published},
};
use super::*;
use crate::{
    build::BuiltObject,
    cluster::testing::storing,
    controller::{context::ReconcileKey, queue::Lane},
    validate,
};

/// In which lane the server is reconciled next.
async fn lane_of_server(context: &Arc<Context>) -> Option<Lane> {
    let mut found = None;
    let next = || tokio::time::timeout(Duration::from_secs(2), context.queue.next());
    while let Ok(item) = next().await {
        found = found.max(matches!(item.key, ReconcileKey::Server(_)).then_some(item.lane));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_client_that_the_server_does_not_serve_preempts_nothing_whatever_becomes_of_it() {
    let api = storing(|_| None).await;
    let policy = published(&[("bot", "")]);
    for (name, is_known, is_deleted, expected) in [
        ("bot", true, false, Lane::Removals),
        ("bot", true, true, Lane::Removals),
        ("bot", false, true, Lane::Removals),
        ("stranger", true, false, Lane::Others),
        ("stranger", true, true, Lane::Others),
        // Until the server was first reconciled, anybody may be served.
        ("stranger", false, true, Lane::Removals),
    ] {
        let context = context(&api, "fixed");
        let _ = context.owned.answer(&CONFIG_MAP.object, policy.clone());
        if is_known {
            let known = fetch::published_policy(&context, &crm());
            lock(&context.of_servers.of(&crm())).published.policy = known;
        }
        let change = context.clients.event(client(name, json!(["ping"])).into()).unwrap();
        context.client_changed(&change);
        lane_of_server(&context).await;
        let change = if is_deleted {
            let known = context.clients.get(&NamespacedName::new("sales", name)).unwrap();
            context.clients.remove(&known).unwrap()
        } else {
            let mut edited: Value = serde_json::from_str(client(name, json!(["ping"])).json()).unwrap();
            edited["metadata"]["resourceVersion"] = json!("2");
            edited["spec"]["suspended"] = json!(true);
            context.clients.event(object(edited).into()).unwrap()
        };
        context.client_changed(&change);
        assert_eq!(lane_of_server(&context).await, Some(expected), "{name}, {is_known}, {is_deleted}");
    }
}

#[tokio::test]
async fn what_is_taken_from_a_client_between_its_first_plan_and_the_write_of_it_is_published_at_once() {
    let api = storing(|_| None).await;
    let context = context(&api, "fixed");
    let change = context.clients.event(client("bot", json!(["ping"])).into()).unwrap();
    context.client_changed(&change);
    let bot = context.of_clients.of(&NamespacedName::new("sales", "bot"));
    lock(&bot).of_client("uid-of-bot").issued.insert("apiKey", Vec::new());
    let (fetched, _) = fetch::fetch(&context, &crm()).await.unwrap();
    let plan = validate::server(&fetched.input);
    tokio::time::pause();
    let mut edited: Value = serde_json::from_str(client("bot", json!(["ping"])).json()).unwrap();
    edited["metadata"]["resourceVersion"] = json!("2");
    edited["spec"]["suspended"] = json!(true);
    let change = context.clients.event(object(edited).into()).unwrap();
    lane_of_server(&context).await;
    context.client_changed(&change);
    assert_eq!(lane_of_server(&context).await, Some(Lane::Others), "nothing was sent yet");
    let policy = BuiltObject { kind: &CONFIG_MAP, value: Value::Null };
    let _ = publication::sending(&context, &fetched, &plan, &policy, &Default::default());
    assert_eq!(lane_of_server(&context).await, Some(Lane::Removals));
}
