//! That removals and the rest of a reconcile hold each other up in no way, against a fake API server.

use super::super::{
    reconcile,
    tests::{context, crm, reconciled, writes},
};
use super::*;
use crate::{
    cluster::testing::{FakeApi, storing},
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

async fn until(api: &FakeApi, write: &str) {
    let there = async {
        while !writes(api).iter().any(|it| it == write) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), there).await.is_ok(), "{:?}", writes(api));
}
