//! What is found of the documents in the stores and by reads, and how often the pods move.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{
    super::tests::{context_of, crm, metadata, object},
    DocumentName::{Alternate, Base},
    *,
};
use crate::cluster::testing::{FakeApi, Request, refusal};

const SECONDS: u64 = 900;

fn document(kind: &str, name: &str, version: usize, more: &Value) -> Value {
    let mut document = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata(name), "data": {}});
    document["metadata"]["uid"] = json!(format!("uid-of-{name}-{version}"));
    document["metadata"]["resourceVersion"] = json!(version.to_string());
    for (field, value) in more.as_object().into_iter().flatten() {
        document[field] = value.clone();
    }
    document
}

/// The volume of a pod template.
fn volumes(name: DocumentName) -> Value {
    let policy = json!({"configMap": {"name": policy_name(&crm(), name).name}});
    let credentials = json!({"secret": {"name": credentials_name(&crm(), name).name}});
    json!([{"name": "config", "projected": {"sources": [policy, credentials]}}])
}

/// Puts a Deployment of this version into the store.
fn deploy(context: &Context, name: DocumentName, version: usize) {
    let spec = json!({"replicas": 1, "template": {"spec": {"volumes": volumes(name)}}});
    let deployment = document("Deployment", "crm", version, &json!({"apiVersion": "apps/v1", "spec": spec}));
    let _ = context.owned.answer(&DEPLOYMENT.object, object(deployment));
}

fn policy(context: &Context, name: DocumentName, version: usize, more: &Value) {
    let policy = document("ConfigMap", &policy_name(&crm(), name).name, version, more);
    let _ = context.owned.answer(&CONFIG_MAP.object, object(policy));
}

fn pod(name: DocumentName) -> Arc<ObservedPod> {
    let metadata = json!({"name": "crm-0", "namespace": "sales", "labels": {"app.kubernetes.io/instance": "crm"}});
    let pod = json!({"metadata": metadata, "spec": {"containers": [], "volumes": volumes(name)}});
    Arc::new(serde_json::from_value::<Pod>(pod).unwrap().into())
}

/// An API server that has these Secrets, and no ConfigMap beside those in the store but `relabelled`.
fn api(secrets: &'static [(&str, &str)], relabelled: Option<&'static str>) -> FakeApi {
    let answer =
        move |request: &Request| {
            let (path, name) = request.path.split('?').next().unwrap().rsplit_once('/').unwrap();
            let kind = if path.ends_with("secrets") { "Secret" } else { "ConfigMap" };
            let secret = secrets.iter().find(|(secret, _)| kind == "Secret" && *secret == name).map(|(_, more)| *more);
            let more = secret.or((relabelled == Some(name)).then_some("{}"));
            Some(more.map_or_else(
                || refusal(404),
                |more| (200, document(kind, name, 1, &serde_json::from_str(more).unwrap())),
            ))
        };
    FakeApi::in_process(|_| Duration::ZERO, answer)
}

const BOTH: &[(&str, &str)] = &[("crm-credentials-v1", "{}"), ("crm-credentials-v1-alt", "{}")];
const ONE: &[(&str, &str)] = &[("crm-credentials-v1", "{}")];

async fn found(context: &Context, pods: &[Arc<ObservedPod>]) -> Naming {
    let server = context.servers.get(&crm()).unwrap();
    lock(&context.of_servers.of(&crm())).uid = server.object.uid().to_owned();
    find(context, &server, pods).await
}

#[tokio::test(start_paused = true)]
async fn pods_leave_what_is_immutable_marked_or_gone_and_not_what_is_merely_relabelled() {
    let immutable = r#"{"immutable": true}"#;
    let marked = json!({"metadata": {
        "name": "crm-policy-v1", "namespace": "sales", "uid": "u", "resourceVersion": "1",
        "ownerReferences": metadata("x")["ownerReferences"], "labels": metadata("x")["labels"],
        "annotations": {(ANNOTATION): "true"},
    }});
    let secret: &'static [(&str, &str)] = vec![("crm-credentials-v1", immutable)].leak();
    let foreign: &'static [(&str, &str)] = vec![ONE[0], ("crm-credentials-v1-alt", r#"{"metadata": {}}"#)].leak();
    let policy_of = |text: &str| Some(serde_json::from_str::<Value>(text).unwrap());
    for (what, base, secrets, relabelled, expected) in [
        ("nothing", policy_of("{}"), ONE, None, &[][..]),
        ("the policy is immutable", policy_of(immutable), ONE, None, &["crm-policy-v1"]),
        ("the policy was immutable", Some(marked), ONE, None, &["crm-policy-v1"]),
        ("the policy is gone", None, ONE, None, &["crm-policy-v1"]),
        ("the policy is relabelled", None, ONE, Some("crm-policy-v1"), &[]),
        ("the credentials are immutable", policy_of("{}"), secret, None, &["crm-credentials-v1"]),
        ("the credentials are gone", policy_of("{}"), &[], None, &["crm-credentials-v1"]),
        (
            "the policy is immutable, and other credentials have the name",
            policy_of(immutable),
            foreign,
            None,
            &["crm-policy-v1"],
        ),
    ] {
        let context = context_of(api(secrets, relabelled).client(), "fixed");
        deploy(&context, Base, 1);
        base.iter().for_each(|more| policy(&context, Base, 1, more));
        let naming = found(&context, &[pod(Base)]).await;
        assert_eq!(naming.left.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{what}");
        let target = if expected.is_empty() { Base } else { Alternate };
        assert_eq!((naming.names.current, naming.names.target, naming.names.mounted), (Base, target, Base), "{what}");
        assert!(naming.unused.is_empty(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_followed_only_to_documents_of_the_server_and_what_is_unused_is_deleted() {
    for (what, alternate, secrets, deployed, expected, unused) in [
        ("they exist", true, BOTH, Alternate, Alternate, &["Secret", "ConfigMap"][..]),
        ("the policy is not there", false, BOTH, Alternate, Base, &[]),
        ("the credentials are not there", true, ONE, Alternate, Base, &[]),
        ("they are left over", true, BOTH, Base, Base, &["Secret", "ConfigMap"]),
    ] {
        let context = context_of(api(secrets, None).client(), "fixed");
        deploy(&context, deployed, 1);
        policy(&context, Base, 1, &Value::Null);
        if alternate {
            policy(&context, Alternate, 1, &Value::Null);
        }
        let Naming { names, unused: found, .. } = found(&context, &[]).await;
        assert_eq!((names.current, names.mounted), (expected, expected), "{what}");
        assert_eq!(found.iter().map(|(kind, _)| kind.object.kind).collect::<Vec<_>>(), unused, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_are_replaced_less_and_less_often_if_each_document_is_made_immutable_again() {
    let context = context_of(api(BOTH, None).client(), "fixed");
    let (mut at, mut moves) = (Base, Vec::new());
    for second in 0..SECONDS {
        let version = usize::try_from(second).unwrap() + 1;
        deploy(&context, at, version);
        policy(&context, at, version, &json!({"immutable": true}));
        policy(&context, at.other(), version, &Value::Null);
        let names = found(&context, &[pod(at)]).await.names;
        assert_eq!((names.current, names.left.contains(&at)), (at, true));
        if names.is_move() {
            let memory = context.of_servers.of(&crm());
            count(&mut lock(&memory).corrections, &crm(), Instant::now());
            moves.push(second);
            at = at.other();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(moves[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    let pauses: Vec<u64> = moves.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted() && pauses.ends_with(&[60, 60, 60]), "{pauses:?}");
}
