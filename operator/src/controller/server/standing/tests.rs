use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    super::{
        reconcile,
        tests::{context, metadata},
    },
    *,
};
use crate::{
    cluster::testing::{refusal, storing},
    controller::context::ReconcileKey,
    probe::LAG,
};

fn crm() -> NamespacedName {
    NamespacedName::new("sales", "crm")
}

fn pod(owner: Value, is_deleted: bool) -> ObservedPod {
    let deleted = is_deleted.then_some("2026-01-01T00:00:00Z");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "a", "namespace": "sales", "ownerReferences": owner, "deletionTimestamp": deleted},
    }))
    .unwrap();
    pod.into()
}

fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn replica_set(owner: Value, labels: Value) -> SeenReplicaSet {
    let metadata = serde_json::from_value(json!({"ownerReferences": owner, "labels": labels})).unwrap();
    SeenReplicaSet { metadata: Some(metadata), read_at: Instant::now() }
}

#[test]
fn a_pod_counts_only_if_its_replica_set_belongs_to_the_deployment_of_the_server() {
    use Standing::{Foreign, Leaving, Ours};
    let of_crm = |uid: &str| replica_set(owner("apps/v1", "Deployment", "crm", uid), json!({}));
    let labels =
        |instance: &str| json!({"app.kubernetes.io/name": "portcullis-server", "app.kubernetes.io/instance": instance});
    let gone = || SeenReplicaSet { metadata: None, read_at: Instant::now() };
    for (what, seen, expected) in [
        ("of the Deployment", of_crm("ours"), Ours),
        ("of a former Deployment", of_crm("former"), Leaving),
        ("gone", gone(), Leaving),
        ("an orphan that the Deployment adopts", replica_set(json!([]), labels("crm")), Leaving),
        ("an orphan with other labels", replica_set(json!([]), labels("wiki")), Foreign),
        ("an orphan without labels", replica_set(Value::Null, Value::Null), Foreign),
        (
            "of another Deployment",
            replica_set(owner("apps/v1", "Deployment", "wiki", "theirs"), labels("crm")),
            Foreign,
        ),
        ("of another kind", replica_set(owner("apps/v1", "Rollout", "crm", "ours"), labels("crm")), Foreign),
        ("of another group", replica_set(owner("example.com/v1", "Deployment", "crm", "ours"), labels("crm")), Foreign),
    ] {
        let deployment = Deployment { uid: "ours".into(), is_ours: true };
        assert_eq!(seen.standing(&crm(), Some(&deployment)), expected, "{what}");
        let is_adopted_or_collected = if expected == Ours { Leaving } else { expected };
        assert_eq!(seen.standing(&crm(), None), is_adopted_or_collected, "{what}, without a Deployment");
        let taken = Deployment { uid: "ours".into(), is_ours: false };
        let of_others = if expected == Ours { Foreign } else { expected };
        assert_eq!(seen.standing(&crm(), Some(&taken)), of_others, "{what}, and the name of the Deployment is taken");
    }
}

#[test]
fn a_pod_without_a_replica_set_is_foreign_and_one_that_was_not_read_confirms_nothing() {
    use Standing::{Foreign, Leaving, Ours};
    let deployment = Deployment { uid: "ours".into(), is_ours: true };
    let replica_set_of_ours = replica_set(owner("apps/v1", "Deployment", "crm", "ours"), json!({}));
    let (ours, not_read) = (Some(&replica_set_of_ours), None);
    let named = owner("apps/v1", "ReplicaSet", "crm-1", "set");
    for (what, owner, is_deleted, seen, expected) in [
        ("a bare pod", json!([]), false, ours, Foreign),
        ("of a StatefulSet", owner("apps/v1", "StatefulSet", "crm", "ours"), false, ours, Foreign),
        ("of a Job", owner("batch/v1", "Job", "crm", "ours"), false, ours, Foreign),
        (
            "of a ReplicaSet of another group",
            owner("example.com/v1", "ReplicaSet", "crm-1", "set"),
            false,
            ours,
            Foreign,
        ),
        ("ours", named.clone(), false, ours, Ours),
        ("ours, deleted", named.clone(), true, ours, Leaving),
        ("not read", named, false, not_read, Leaving),
    ] {
        let pod = pod(owner, is_deleted);
        let seen = pod.replica_set.as_ref().map(|_| seen);
        assert_eq!(standing(&pod, seen, &crm(), Some(&deployment)), expected, "{what}");
    }
    let not_the_controller = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "crm-1", "uid": "set"}]);
    assert_eq!(pod(not_the_controller, false).replica_set, None);
}

#[test]
fn a_pod_that_mounts_the_policy_counts_until_it_is_gone_whoever_owns_it() {
    let deployment = Deployment { uid: "ours".into(), is_ours: true };
    let projected = |name: &str| json!([{"name": "config", "projected": {"sources": [{"configMap": {"name": name}}]}}]);
    for (what, volumes, expected) in [
        ("as the Deployment mounts it", projected("crm-policy-v1"), Standing::Stray),
        ("by itself", json!([{"name": "p", "configMap": {"name": "crm-policy-v1"}}]), Standing::Stray),
        ("of another server", projected("crm-policy-v1-policy-v1"), Standing::Foreign),
        ("nothing", json!([]), Standing::Foreign),
    ] {
        let labels = json!({"app.kubernetes.io/instance": "crm"});
        let theirs = replica_set(owner("apps/v1", "Deployment", "wiki", "theirs"), json!({}));
        for (owner, seen) in [
            (json!([]), None),
            (owner("apps/v1", "ReplicaSet", "theirs-1", "set"), Some(Some(&theirs))),
            (owner("portcullis.dev/v1alpha1", "McpServer", "wiki", "wiki"), None),
        ] {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "a", "namespace": "sales", "labels": labels, "ownerReferences": owner},
                "spec": {"containers": [], "volumes": volumes},
            }))
            .unwrap();
            let pod = ObservedPod::from(pod);
            assert_eq!(pod.server, crm(), "the Service selects it by its label");
            assert_eq!(standing(&pod, seen, &crm(), Some(&deployment)), expected, "{what}, {owner}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_lags_is_said_in_time_although_its_replica_set_may_not_be_read() {
    let api = storing(|request| request.path.contains("/replicasets/").then(|| refusal(403))).await;
    let context = context(&api, "fixed");
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "crm-1", "uid": "set", "controller": true});
    let mut metadata = metadata("crm-0");
    metadata["uid"] = json!("uid-of-crm-0");
    metadata["ownerReferences"] = json!([owner]);
    let pod = json!({"metadata": metadata, "status": {"phase": "Running"}});
    let _ = context.pods.event(serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(pod).unwrap().into());
    context.queue.add(ReconcileKey::Server(crm()));
    // Whatever it is reconciled for, the next time is in time.
    let next = async || loop {
        let work = context.queue.next().await;
        if work.key == ReconcileKey::Server(crm()) {
            return work;
        }
    };
    let mut pause = Duration::ZERO;
    while pause <= Duration::from_secs(2) {
        let work = tokio::time::timeout(Duration::from_secs(30), next()).await.unwrap();
        let error = reconcile(&context, &crm(), &work).await.unwrap_err();
        assert_eq!(error.to_string(), "reading the metadata of ReplicaSet sales/crm-1: forbidden (HTTP 403)");
        drop(work);
        tokio::time::pause();
        let begun = Instant::now();
        let work = tokio::time::timeout(LAG + Duration::from_secs(10), next()).await;
        pause = begun.elapsed();
        tokio::time::resume();
        drop(work.expect("it waits for the next attempt to read the ReplicaSet"));
        context.queue.add(ReconcileKey::Server(crm()));
    }
}
