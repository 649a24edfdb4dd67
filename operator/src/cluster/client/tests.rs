//! What passes the fence.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use k8s_openapi::api::core::v1::ConfigMap;

use super::*;
use crate::cluster::testing::FakeApi;

#[tokio::test]
async fn a_fence_that_refuses_stops_every_kind_of_write_and_no_read() {
    let api = FakeApi::start(|request| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "sales"}});
        (!request.path.is_empty()).then_some((200, object))
    })
    .await;
    let is_open = Arc::new(AtomicBool::new(true));
    let fence = Fence::new({
        let is_open = Arc::clone(&is_open);
        move || is_open.load(Ordering::SeqCst).then_some(Duration::MAX)
    });
    let cluster = Cluster::new(api.client(), fence);
    let object = ObjectRef::of::<ConfigMap>(NamespacedName { namespace: "sales".into(), name: "a".into() });
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let writes = async || {
        [
            cluster.create(&object, value.clone()).await.map(drop),
            cluster.apply(&object, value.clone()).await.map(drop),
            cluster.apply_status(&object, value.clone()).await.map(drop),
            cluster.patch_metadata("annotating", &object, json!({})).await.map(drop),
            cluster.delete(&object, "uid").await,
        ]
    };
    assert!(writes().await.iter().all(Result::is_ok));
    let methods: Vec<String> = api.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["POST", "PATCH", "PATCH", "PATCH", "DELETE"]);

    is_open.store(false, Ordering::SeqCst);
    assert!(writes().await.iter().all(|written| matches!(written, Err(Error::Fenced { .. }))));
    assert_eq!(api.requests().len(), 5, "nothing is sent");
    assert!(cluster.read(&object).await.is_ok());
}

/// As when the machine was suspended after the fence was asked, and before the request was sent.
#[tokio::test]
async fn a_write_that_was_admitted_is_not_sent_once_the_fence_is_closed() {
    let api = FakeApi::start(|_| Some((200, json!({"apiVersion": "v1", "kind": "ConfigMap"})))).await;
    let is_open = AtomicBool::new(true);
    let fence = Fence::new(move || is_open.swap(false, Ordering::SeqCst).then_some(Duration::MAX));
    let cluster = Cluster::new(api.client(), fence);
    let object = ObjectRef::of::<ConfigMap>(NamespacedName { namespace: "sales".into(), name: "a".into() });
    let created = cluster.create(&object, json!({})).await.map(drop);
    assert!(matches!(created, Err(Error::Fenced { .. })), "{created:?}");
    assert_eq!(api.requests(), []);
}
