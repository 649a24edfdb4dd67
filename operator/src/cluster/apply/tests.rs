//! What is done about an object that another party changed, against a fake API server. That a real one takes these requests is
//! tested in `tests/tests/operator/tampered.rs`.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::{
    build::DEPLOYMENT,
    cluster::{
        fence::Fence,
        testing::{FakeApi, refusal},
    },
};

const KIND: ObjectKind = ObjectKind::watched("", "v1", "ConfigMap", "configmaps");

fn owner(api_version: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "kind": "McpServer", "name": "crm", "uid": uid, "controller": true})
}

fn desired() -> DesiredObject {
    let metadata =
        json!({"name": "a", "namespace": "sales", "ownerReferences": [owner("portcullis.dev/v1alpha1", "crm")]});
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"policy.yaml": "new"}});
    DesiredObject::new(&KIND, value).document("example.com/mark")
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
    let created = writes.last().map(|(_, object)| object["metadata"]["annotations"].clone());
    assert_eq!(created, Some(json!({"example.com/mark": "true"})), "pods that read it have to leave its name");
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

/// A document to which somebody added this many keys.
fn padded(keys: usize) -> (DesiredObject, Value) {
    let live = live(|it| {
        let owned = &mut it["metadata"]["managedFields"];
        owned
            .as_array_mut()
            .unwrap()
            .push(json!({"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {}}}));
        for key in 0..keys {
            it["data"][format!("k{key}")] = json!("");
            it["metadata"]["managedFields"][1]["fieldsV1"]["f:data"][format!("f:k{key}")] = json!({});
        }
    });
    (desired(), live)
}

/// A Deployment to which somebody added this many items, to the list of pods or of the container with this key and name.
fn crowded(pointer: &str, key: &str, items: usize) -> (DesiredObject, Value) {
    let ours = json!([{"name": "A", "containerPort": 1, "mountPath": "/a"}]);
    let container = json!({"name": "server", "env": ours, "ports": ours, "volumeMounts": ours});
    let spec = json!({"containers": [container], "volumes": ours});
    let value = json!({"metadata": {"name": "crm"}, "spec": {"template": {"spec": spec}}});
    let mut live = value.clone();
    let path = ["/spec/template/spec", pointer].concat();
    let (list, mut owned) = (live.pointer_mut(&path).and_then(Value::as_array_mut).unwrap(), json!({}));
    for n in 0..items {
        let item = if key == "containerPort" { json!({key: n + 2}) } else { json!({key: format!("n{n}")}) };
        owned[format!("k:{item}")] = json!({".": {}});
        list.push(item);
    }
    let name = pointer.rsplit_once('/').unwrap().1;
    let owned = json!({format!("f:{name}"): owned});
    let container = json!({"f:containers": {"k:{\"name\":\"server\"}": owned}});
    let owned = json!({"f:spec": {"f:template": {"f:spec": if pointer == "/volumes" { owned } else { container }}}});
    live["metadata"]["managedFields"] = json!([{"manager": "kubectl", "operation": "Update", "fieldsV1": owned}]);
    (DesiredObject::new(&DEPLOYMENT.object, value).guarded(DEPLOYMENT.guards), live)
}

/// How long this thread has computed: what else the machine does is no part of it.
fn computed() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// The shortest of a few times that the comparison takes.
fn compared((desired, live): (DesiredObject, Value)) -> (Duration, String, usize) {
    let one = || {
        let begun = computed();
        let (fields, by) = desired.difference(&live).unwrap();
        let privileges = desired.privileges(&live).len();
        assert_eq!(by, BTreeSet::from(["kubectl".to_owned()]));
        (computed() - begun, fields, privileges)
    };
    (0..3).map(|_| one()).min().unwrap()
}

/// As many as fit into an object. That takes 16 times as long if each is compared with each, and is over 5 times as long on no
/// machine otherwise.
#[test]
fn the_time_that_a_comparison_takes_grows_as_what_somebody_put_into_the_object() {
    type Case = Box<dyn Fn(usize) -> (DesiredObject, Value)>;
    let crowd = |pointer, key| -> Case { Box::new(move |n| crowded(pointer, key, n)) };
    let cases: [(Case, usize, &str); 5] = [
        (Box::new(padded), 60_000, "data.k0, data.k1, data.k10"),
        (crowd("/containers/0/env", "name"), 25_000, "env[n0]"),
        (crowd("/containers/0/ports", "containerPort"), 25_000, "ports[2]"),
        (crowd("/containers/0/volumeMounts", "mountPath"), 25_000, "volumeMounts[n0]"),
        (crowd("/volumes", "name"), 25_000, "volumes[n0]"),
    ];
    for (object, most, first) in cases {
        let (few, _, _) = compared(object(most / 4));
        let (many, fields, privileges) = compared(object(most));
        assert!(many < few * 10, "{first}: {many:?} for {most}, and {few:?} for a quarter of them");
        assert_eq!(privileges, most, "{first}");
        assert!(fields.contains(first) && fields.ends_with(&format!("and {} more", most - 3)), "{fields}");
    }
}

#[test]
fn what_is_said_of_a_field_is_bounded() {
    let live = live(|it| it["data"] = json!({"policy.yaml": "new", "ñ".repeat(100_000): ""}));
    let (fields, _) = desired().difference(&live).unwrap();
    assert!(fields.len() < 300 && fields.ends_with('…'), "{fields}");
}
