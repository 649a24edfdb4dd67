//! What is done about an object that another party changed, against a fake API server. That a real one takes these requests is
//! tested in `tests/tests/operator/tampered.rs`.

use super::*;
use crate::cluster::{
    fence::Fence,
    testing::{FakeApi, refusal},
};

const KIND: ObjectKind = ObjectKind::watched("", "v1", "ConfigMap", "configmaps");

fn owner(api_version: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "kind": "McpServer", "name": "crm", "uid": uid, "controller": true})
}

fn desired() -> DesiredObject {
    let metadata =
        json!({"name": "a", "namespace": "sales", "ownerReferences": [owner("portcullis.dev/v1alpha1", "crm")]});
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"policy.yaml": "new"}});
    DesiredObject::new(&KIND, value).document()
}

/// As it is in the cluster, with this change.
fn live(change: impl FnOnce(&mut Value)) -> Value {
    let mut live = desired().value;
    live["metadata"]["uid"] = json!("uid");
    live["metadata"]["resourceVersion"] = json!("7");
    let fields = json!({"f:data": {"f:policy.yaml": {}}});
    live["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}]);
    change(&mut live);
    live
}

/// Applies, and returns the writes: the method, and what it sends of an object's metadata or data.
async fn writes(desired: DesiredObject, live: Value) -> (Result<Applied, Error>, Vec<(String, Value)>) {
    let read = super::tests::live(|_| ());
    let api = FakeApi::start(move |request| {
        let is_trial = request.path.contains("dryRun=All");
        Some(if is_trial { refusal(409) } else { (200, read.clone()) })
    })
    .await;
    let applied = desired.apply(&Cluster::new(api.client(), Fence::open()), Some(live)).await;
    let writes = api.requests().into_iter().filter(|request| request.method != "GET");
    (applied, writes.map(|request| (request.method, request.body)).collect())
}

#[tokio::test]
async fn an_object_that_the_operator_wrote_is_taken_back_and_another_one_is_left_alone() {
    let ours = || owner("portcullis.dev/v1alpha1", "crm");
    for (owners, manager, is_known, is_taken) in [
        (json!(null), FIELD_MANAGER, false, true),
        (json!(null), "kubectl", false, false),
        (json!([owner("apps/v1", "other")]), FIELD_MANAGER, false, true),
        (json!([owner("portcullis.dev/v1alpha1", "other")]), FIELD_MANAGER, false, false),
        (json!([owner("portcullis.dev/v1alpha1", "other")]), FIELD_MANAGER, true, true),
    ] {
        let live = live(|it| {
            it["metadata"]["ownerReferences"] = owners.clone();
            it["metadata"]["managedFields"][0]["manager"] = json!(manager);
        });
        let known = if is_known { BTreeSet::from(["uid".to_owned()]) } else { BTreeSet::new() };
        let (applied, writes) = writes(desired().known(known), live).await;
        if is_taken {
            assert_eq!(writes[0].1["metadata"]["ownerReferences"], json!([ours()]), "{owners}");
            assert!(matches!(applied, Ok(Applied::Patched(it)) if it.fields == "metadata.ownerReferences"));
        } else {
            assert!(matches!(applied, Err(Error::NotOwned(_))) && writes.is_empty(), "{owners} {manager}");
        }
    }
}

#[tokio::test]
async fn an_immutable_document_is_created_again_once_it_is_known_that_it_can_be() {
    let (applied, writes) = writes(desired(), live(|it| it["immutable"] = json!(true))).await;
    assert!(matches!(applied, Ok(Applied::Patched(it)) if it.fields == "immutable"));
    let methods: Vec<_> = writes.iter().map(|(method, _)| method.as_str()).collect();
    assert_eq!(methods, ["POST", "DELETE", "POST"]);
    assert_eq!(writes[1].1["preconditions"]["uid"], "uid");

    let (applied, writes) = super::tests::writes(desired(), live(|it| it["type"] = json!("example.com/other"))).await;
    assert!(matches!(applied, Ok(Applied::Patched(it)) if it.fields == "type") && writes.len() == 3);

    let held = live(|it| {
        it["immutable"] = json!(true);
        it["metadata"]["finalizers"] = json!(["example.com/hold"]);
    });
    let (_, writes) = super::tests::writes(desired(), held).await;
    assert_eq!(writes[1].1["metadata"], json!({"uid": "uid", "finalizers": null}));
}

#[tokio::test]
async fn a_document_that_could_not_be_created_again_is_not_deleted() {
    let api = FakeApi::start(|_| Some(refusal(403))).await;
    let cluster = Cluster::new(api.client(), Fence::open());
    let applied = desired().apply(&cluster, Some(live(|it| it["immutable"] = json!(true)))).await;
    assert!(matches!(applied, Err(Error::Api { .. })));
    assert_eq!(api.requests().len(), 1, "the trial");
}

#[tokio::test]
async fn what_another_party_added_to_a_document_is_removed_before_it_takes_the_room() {
    let padded = live(|it| it["binaryData"] = json!({"padding": "AAAA"}));
    let (applied, writes) = writes(desired(), padded).await;
    assert!(matches!(applied, Ok(Applied::Patched(it)) if it.fields == "binaryData.padding"));
    assert_eq!(writes[0].1["binaryData"], json!({"padding": null}));
    let (applied, writes) = super::tests::writes(desired(), live(|_| ())).await;
    assert!(matches!(applied, Ok(Applied::Unchanged)) && writes.is_empty());
}
