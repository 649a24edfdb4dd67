mod laws;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use portcullis_crds::{
    Findings, McpServerSpec, NamespacedName,
    contract::{SecretKey, ServerKeys},
};
use serde_json::json;

use super::*;
use crate::{
    build::CLUSTER_DOMAIN,
    controller::server::changes::Behind,
    object::Object,
    probe::Revisions,
    validate::{self, Published, ServerInput, ServerPlan},
};

fn plan() -> ServerPlan {
    let spec: McpServerSpec = serde_json::from_value(json!({
        "backends": [{"name": "fixed", "static": {}}],
        "tools": [{"name": "ping", "description": "Answers.", "backend": "fixed", "static": {"text": "pong"}}],
        "replicas": 2,
    }))
    .unwrap();
    let metadata = ObjectMeta {
        name: Some("crm".into()),
        namespace: Some("sales".into()),
        uid: Some("u".into()),
        ..ObjectMeta::default()
    };
    let fresh_keys = ServerKeys { sessions: SecretKey([1; 32]), arguments: SecretKey([2; 32]) };
    let server = Object { metadata, spec: Ok(spec) };
    validate::server(&ServerInput {
        server,
        cluster_domain: CLUSTER_DOMAIN.into(),
        clients: Vec::new(),
        published: Published::default(),
        is_credentials_document_stuck: false,
        fresh_keys,
    })
}

fn pod(name: &str, serves: Option<&str>, behind_for: Option<u64>) -> Pod {
    Pod {
        name: name.into(),
        is_leaving: false,
        is_ready: true,
        is_running: true,
        trouble: None,
        is_awaited: false,
        behind: if behind_for.is_some() { Behind::Anybody } else { Behind::Nobody },
        serves: serves.map(|policy| Revisions { policy: Some(policy.into()), credentials: Some("c".into()) }),
        behind_for: behind_for.map(Duration::from_secs),
        doubtful_for: None,
    }
}

fn deployment(available: i32) -> Deployment {
    let value = json!({
        "metadata": {"generation": 1}, "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available},
    });
    serde_json::from_value(value).unwrap()
}

/// Each condition as `Type=Status/Reason`.
fn content_with(plan: &ServerPlan, pods: &[Pod], available: i32) -> (McpServerStatus, BTreeMap<String, String>) {
    let deployment = deployment(available);
    let published = plan.documents.as_ref().map(Published::from).unwrap_or_default();
    let input = StatusInput {
        server: &NamespacedName { namespace: "sales".into(), name: "crm".into() },
        generation: Some(1),
        replicas: Some(2),
        plan,
        published: published.both(),
        is_in_place: true,
        unwritten: &BTreeSet::new(),
        problem: None,
        deployment: Some(&deployment),
        pods,
        foreign: &[],
        unreadable: &[],
        contested: &[],
        previous: None,
        now: Timestamp::UNIX_EPOCH,
    };
    let status = content(&input, &assess(&input));
    let conditions = status.conditions.iter();
    let conditions = conditions.map(|it| (it.type_.clone(), format!("{}/{}", it.status, it.reason))).collect();
    (status, conditions)
}

fn expected(accepted: &str, synced: &str, ready: &str, reconciling: &str, stalled: &str) -> BTreeMap<String, String> {
    let pairs = [
        ("Accepted", accepted),
        ("PolicySynced", synced),
        ("Ready", ready),
        ("Reconciling", reconciling),
        ("Stalled", stalled),
    ];
    pairs.map(|(type_, value)| (type_.to_owned(), value.to_owned())).into()
}

#[test]
fn conditions_distinguish_success_progress_and_failure() {
    let plan = plan();
    let (working, idle, fine) = ("True/Progressing", "False/Available", "False/Progressing");
    let current = || pod("a", Some("r"), None);
    for (what, pods, available, expected) in [
        (
            "everything is in force",
            vec![current(), pod("b", Some("r"), None)],
            2,
            expected("True/Valid", "True/Synced", "True/Available", idle, fine),
        ),
        (
            "an edit is on its way",
            vec![current(), pod("b", Some("old"), Some(119))],
            2,
            expected("True/Valid", "Unknown/Publishing", "True/Available", working, fine),
        ),
        (
            "a pod lags",
            vec![current(), pod("b", Some("old"), Some(120))],
            2,
            expected("True/Valid", "False/PodLagging", "False/PodLagging", idle, "True/PodLagging"),
        ),
        ("pods start", vec![], 0, expected("True/Valid", "Unknown/NoPods", "False/Progressing", working, fine)),
    ] {
        assert_eq!(content_with(&plan, &pods, available).1, expected, "{what}");
    }
    let invalid = ServerPlan { findings: Findings::from(portcullis_crds::Finding::new("spec.x", "is wrong")), ..plan };
    let (status, conditions) = content_with(&invalid, &[current()], 2);
    let stalled = expected("False/Invalid", "True/Synced", "False/Invalid", idle, "True/Invalid");
    assert_eq!(conditions, stalled);
    assert!(status.conditions[0].message.starts_with("spec.x: is wrong"), "{}", status.conditions[0].message);
}

#[test]
fn a_pod_that_lags_is_named_with_what_it_serves_and_comes_first() {
    let mut pods: Vec<Pod> = (0..20).map(|n| pod(&format!("a-{n:02}"), Some("new"), None)).collect();
    pods.push(Pod { is_ready: false, ..pod("stopped", Some("0123456789abcdef"), Some(130)) });
    let (status, _) = content_with(&plan(), &pods, 2);
    let message = &status.conditions[1].message;
    assert!(message.ends_with("pod stopped serves policy 0123456789ab, credentials c"), "{message}");
    let pods = status.pods.unwrap();
    assert_eq!((pods.total, pods.ready, pods.current, pods.revisions.len()), (21, 20, 20, 16));
    assert_eq!(pods.revisions[0].pod, "stopped");
}
