//! A status is a function of the facts: what holds for each small combination of them.

use std::collections::{BTreeSet, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use portcullis_crds::{ClientId, Finding};

use super::*;
use crate::{
    cluster::pod_trouble::{PodTrouble, Severity},
    condition::ConditionStatus,
    controller::server::confirmation::{Confirmation, Confirmations},
};

/// The facts of one combination.
#[derive(Clone)]
struct Facts {
    is_valid: bool,
    problem: Option<bool>,
    is_in_place: bool,
    is_unwritten: bool,
    replicas: u16,
    deployment: Option<Deployment>,
    pods: Vec<Pod>,
    is_contested: bool,
    is_foreign: bool,
}

/// Some values of each fact.
struct Combinations {
    deployments: Vec<Option<Deployment>>,
    pods: Vec<Vec<Pod>>,
}

impl Combinations {
    fn new() -> Self {
        let failing = json!({
            "metadata": {"generation": 1}, "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "conditions": [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
            ]},
        });
        let stale = Deployment { status: None, ..deployment(2) };
        let scaled = |replicas: i32| {
            let mut scaled = deployment(replicas);
            scaled.spec.as_mut().unwrap().replicas = Some(replicas);
            let status = scaled.status.as_mut().unwrap();
            (status.replicas, status.updated_replicas) = (Some(replicas), Some(replicas));
            Some(scaled)
        };
        let trouble = |severity| Some(PodTrouble { reason: "X".into(), message: String::new(), severity });
        let waiting = |severity| Pod {
            is_ready: false,
            is_running: false,
            trouble: trouble(severity),
            ..pod("w", None, Some(9))
        };
        let kinds = [
            pod("current", Some("new"), None),
            pod("behind", Some("old"), Some(5)),
            pod("lagging", Some("old"), Some(500)),
            Pod { is_leaving: true, ..pod("leaving", Some("old"), Some(5)) },
            Pod { is_leaving: true, ..pod("left", Some("new"), None) },
            Pod { is_leaving: true, is_ready: false, ..pod("lost", Some("old"), Some(500)) },
            Pod { is_ready: false, is_running: false, ..pod("ended", Some("old"), Some(500)) },
            waiting(Severity::Lasting),
            waiting(Severity::Passing),
        ];
        // None, each alone, and each pair in both orders.
        let mut pods = vec![Vec::new()];
        for one in &kinds {
            pods.push(vec![one.clone()]);
            pods.extend(
                kinds.iter().filter(|other| other.name != one.name).map(|other| vec![one.clone(), other.clone()]),
            );
        }
        let failing = serde_json::from_value(failing).unwrap();
        Self { deployments: vec![None, Some(stale), Some(deployment(0)), scaled(2), scaled(0), Some(failing)], pods }
    }

    fn each(&self, mut check: impl FnMut(&Facts)) -> usize {
        let mut count = 0;
        for bits in 0..(1_u32 << 7) {
            let bit = |n: u32| bits & (1 << n) != 0;
            if !bit(1) && bit(2) {
                continue;
            }
            for deployment in &self.deployments {
                for pods in &self.pods {
                    count += 1;
                    check(&Facts {
                        is_valid: bit(0),
                        problem: bit(1).then(|| bit(2)),
                        is_in_place: bit(3),
                        // What is unwritten is not in place.
                        is_unwritten: !bit(3),
                        replicas: if bit(4) { 2 } else { 0 },
                        deployment: deployment.clone(),
                        pods: pods.clone(),
                        is_contested: bit(5),
                        is_foreign: bit(6),
                    });
                }
            }
        }
        count
    }
}

fn bot() -> ClientId {
    "bot".parse().unwrap()
}

/// The status, and what is confirmed to a client.
fn of(facts: &Facts, plan: &ServerPlan, previous: Option<&McpServerStatus>) -> (McpServerStatus, Confirmation) {
    let published = plan.documents.as_ref().map(Published::from).unwrap_or_default();
    let refused = |is_permanent: bool| match is_permanent {
        true => Error::InvalidSpec,
        false => Error::Timeout { doing: "writing".into(), after: Duration::from_secs(1) },
    };
    let problem = facts.problem.map(refused);
    let findings = if facts.is_valid { Findings::default() } else { Finding::new("spec.x", "is wrong").into() };
    let plan = ServerPlan { findings, ..plan.clone() };
    let name = NamespacedName::new("sales", "crm");
    let unwritten: BTreeSet<ClientId> = facts.is_unwritten.then(bot).into_iter().collect();
    let note = |is_so: bool| if is_so { vec!["x".to_owned()] } else { Vec::new() };
    let input = StatusInput {
        server: &name,
        generation: Some(1),
        replicas: Some(facts.replicas),
        plan: &plan,
        published: published.both(),
        is_in_place: facts.is_in_place,
        unwritten: &unwritten,
        problem: problem.as_ref(),
        deployment: facts.deployment.as_ref(),
        pods: &facts.pods,
        foreign: &note(facts.is_foreign),
        unreadable: &[],
        contested: &note(facts.is_contested),
        previous,
        now: Timestamp::UNIX_EPOCH,
    };
    let assessment = assess(&input);
    let confirmation = Confirmations::new(&input, &assessment.ready, assessment.is_stalled).of(&bot());
    (content(&input, &assessment), confirmation)
}

fn timeless(mut status: McpServerStatus) -> McpServerStatus {
    status.conditions.iter_mut().for_each(|it| it.last_transition_time = Time(Timestamp::UNIX_EPOCH));
    status
}

fn find<'a>(status: &'a McpServerStatus, type_: &str) -> &'a Condition {
    status.conditions.iter().find(|it| it.type_ == type_).unwrap()
}

#[test]
fn what_is_said_follows_from_the_facts_in_each_combination_of_them() {
    let (plan, combinations) = (plan(), Combinations::new());
    let mut said = HashSet::new();
    let count = combinations.each(|facts| {
        let (status, confirmation) = of(facts, &plan, None);
        let is = |type_: &str, expected: &str| find(&status, type_).status == expected;
        let words = || {
            let all = status.conditions.iter().map(|it| format!("{}={}/{}", it.type_, it.status, it.reason));
            all.collect::<Vec<_>>().join(" ")
        };
        let what = || {
            let pods: Vec<&str> = facts.pods.iter().map(|pod| pod.name.as_str()).collect();
            format!("{} of {pods:?}, problem {:?}, replicas {}", words(), facts.problem, facts.replicas)
        };
        let counts = |pod: &&Pod| pod.counts();
        let behind: Vec<&Pod> = facts.pods.iter().filter(counts).filter(|pod| pod.behind_for.is_some()).collect();
        let is_behind = behind.iter().any(|pod| !pod.is_leaving);

        assert!(!is("PolicySynced", "True") || (facts.is_in_place && !is_behind), "{}", what());
        assert!(!is("Ready", "True") || (facts.is_valid && facts.problem.is_none()), "{}", what());
        assert!(!is("Ready", "True") || !is("PolicySynced", "False"), "{}", what());
        assert!(!(is("Stalled", "True") && is("Reconciling", "True")), "{}", what());
        assert!(is("Ready", "True") || is("Stalled", "True") || is("Reconciling", "True"), "{}", what());
        assert!(!facts.is_contested || is("Stalled", "True"), "{}", what());
        assert!(!facts.is_foreign || find(&status, "Ready").message.split("; ").any(|note| note == "x"), "{}", what());
        // What was taken from a client is in force nowhere only if no pod that may take calls is behind, be it as it may otherwise.
        assert!(!confirmation.is_removed() || (behind.is_empty() && !facts.is_unwritten), "{}", what());
        let has_counted = facts.pods.iter().any(|pod| pod.counts() && !pod.is_leaving);
        let is_zero = facts.replicas == 0;
        assert!(!confirmation.synced.is_true() || has_counted || is_zero, "{}", what());
        let is_lost = behind.iter().any(|pod| pod.is_lagging());
        assert!(!is_lost || facts.is_unwritten || confirmation.synced.status == ConditionStatus::False, "{}", what());
        said.insert(words());
    });
    println!("{count} combinations, {} statuses", said.len());
    assert!(count > 40_000 && said.len() > 30, "{count} combinations, {} statuses", said.len());
}

#[test]
fn neither_the_status_before_nor_the_order_of_the_pods_changes_what_is_said() {
    let (plan, combinations) = (plan(), Combinations::new());
    let mut all: Vec<(Facts, McpServerStatus, Confirmation)> = Vec::new();
    let mut n = 0;
    combinations.each(|facts| {
        n += 1;
        // Each status that differs from those before, and some of the others.
        if n % 7 == 0 {
            let (status, confirmation) = of(facts, &plan, None);
            all.push((facts.clone(), status, confirmation));
        }
    });
    // A history: each status is written after one that is far from it.
    for (n, (facts, status, confirmation)) in all.iter().enumerate() {
        let before = &all[(n * 7919 + 13) % all.len()].1;
        let (after, confirmed) = of(facts, &plan, Some(before));
        assert_eq!((timeless(after), &confirmed), (timeless(status.clone()), confirmation));
        let reversed = Facts { pods: facts.pods.iter().rev().cloned().collect(), ..facts.clone() };
        let (after, confirmed) = of(&reversed, &plan, None);
        assert_eq!(
            (&after.conditions[0], &after.conditions[2..], &after.pods, confirmed.is_removed()),
            (&status.conditions[0], &status.conditions[2..], &status.pods, confirmation.is_removed())
        );
    }
}

#[test]
fn a_pod_that_is_leaving_or_somebody_else_s_never_brings_a_confirmation_about() {
    let (plan, combinations) = (plan(), Combinations::new());
    let leaving = Pod { is_leaving: true, ..pod("more", Some("new"), None) };
    combinations.each(|facts| {
        let with = Facts {
            pods: facts.pods.iter().cloned().chain([leaving.clone()]).collect(),
            is_foreign: true,
            ..facts.clone()
        };
        let without = Facts { is_foreign: true, ..facts.clone() };
        let ((one, confirmed), (other, also_confirmed)) = (of(&without, &plan, None), of(&with, &plan, None));
        assert_eq!((&one.conditions, confirmed), (&other.conditions, also_confirmed));
    });
}
