use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_crds::{
    Finding, McpClientSpec, NamespacedName,
    client::{ApiKeyStatus, Granted},
};
use serde_json::json;

use super::*;
use crate::{
    cluster::ownership::NotOwned,
    condition::ConditionStatus::{False, True, Unknown},
    controller::{memory::ServerReport, server::Confirmation},
    validate::ClientOutcome,
};

fn spec(change: impl FnOnce(&mut McpClientSpec)) -> McpClientSpec {
    let mut spec = serde_json::from_value(json!({
        "access": [{"serverRef": {"name": "crm"}, "tools": ["a"], "maxRecordsPerQuery": 10}],
        "credentials": {"apiKey": {"secretName": "key"}},
    }))
    .unwrap();
    change(&mut spec);
    spec
}

fn applied(result: Result<CredentialStatus, Error>) -> Applied {
    Applied { kind: &KINDS[0], result }
}

fn key(secret_name: &str) -> CredentialStatus {
    CredentialStatus { secret_name: secret_name.into(), id: "id".into(), issued_at: None }
}

fn taken(name: &str) -> Error {
    Error::NotOwned(NotOwned { kind: "Secret".into(), namespace: "sales".into(), name: name.into() })
}

fn report(outcome: ClientOutcome, synced: ConditionState) -> Option<ServerReport> {
    let is_stalled = synced.status == False;
    let is_unserved = matches!(synced.reason, Reason::NoPods | Reason::ScaledToZero | Reason::PodsNotReady);
    let confirmation = Confirmation { synced, is_stalled, is_unserved };
    Some(ServerReport { basis: None, outcome: Some(outcome), confirmation })
}

fn synced() -> ConditionState {
    ConditionState::of_reason(True, Reason::Synced)
}

fn publishing() -> ConditionState {
    ConditionState::unknown(Reason::Publishing, "pod crm-0 has not reported what it serves")
}

fn granted() -> ClientOutcome {
    let granted = Granted { tools: 1, max_records_per_query: 10, allow_write: false, limits: Vec::new() };
    ClientOutcome {
        granted: Some(granted),
        findings: Findings::default(),
        accepted: ConditionState::yes(Reason::Granted, "granted"),
        resolved_refs: ConditionState::yes(Reason::Resolved, "resolved"),
    }
}

fn refused(reason: Reason) -> ClientOutcome {
    ClientOutcome { granted: None, accepted: ConditionState::no(reason, "refused"), ..granted() }
}

/// A client without servers.
fn input<'a>(spec: &'a McpClientSpec, findings: &'a Findings, credentials: &'a [Applied]) -> StatusInput<'a> {
    StatusInput {
        generation: Some(1),
        spec: Some(spec),
        findings,
        credentials,
        servers: Vec::new(),
        previous: None,
        now: Timestamp::UNIX_EPOCH,
    }
}

/// The status, and in words its `Ready`, `Reconciling` and `Stalled`, and the `PolicySynced` of its accesses.
fn content_of(spec: &McpClientSpec, reports: Vec<Option<ServerReport>>) -> (McpClientStatus, String) {
    let (findings, credentials) = (Findings::default(), [applied(Ok(key("key")))]);
    let names = ["crm", "wiki"].map(|name| NamespacedName::new("sales", name));
    let servers = names.into_iter().zip(reports).collect();
    let status = content(&StatusInput { servers, ..input(spec, &findings, &credentials) });
    let accesses = status.servers.iter().map(|server| &server.conditions[2]);
    let words = status.conditions[2..].iter().chain(accesses);
    let words: Vec<String> = words.map(|it| format!("{}={}/{}", it.type_, it.status, it.reason)).collect();
    (status, words.join(" "))
}

const READY: &str = "Reconciling=False/Available Stalled=False/Progressing";
const WAITING: &str = "Reconciling=True/Progressing Stalled=False/Progressing";

#[test]
fn a_client_is_what_its_spec_says_once_every_pod_has_confirmed_that() {
    let plain = spec(|_| ());
    let suspended = spec(|spec| spec.suspended = true);
    let expired = spec(|spec| spec.expires_at = Some(Time(Timestamp::UNIX_EPOCH)));
    let lagging = || ConditionState::no(Reason::PodLagging, "pod crm-0 serves policy old");
    let refused_write =
        || ConditionState::no(Reason::WriteFailed, "applying ConfigMap sales/crm-policy-v1: change freeze");
    let no_pods = || ConditionState::of_reason(Unknown, Reason::NoPods);
    let zero = || ConditionState::of_reason(True, Reason::ScaledToZero);
    for (spec, done) in [(&plain, "Available"), (&suspended, "Suspended"), (&expired, "Expired")] {
        let is_ended = done != "Available";
        for (state, expected) in [
            (synced(), format!("Ready=True/{done} {READY} PolicySynced=True/Synced")),
            (publishing(), format!("Ready=False/Publishing {WAITING} PolicySynced=Unknown/Publishing")),
            (
                lagging(),
                "Ready=False/PodLagging Reconciling=False/Available Stalled=True/PodLagging PolicySynced=False/PodLagging"
                    .to_owned(),
            ),
            (
                refused_write(),
                "Ready=False/WriteFailed Reconciling=False/Available Stalled=True/WriteFailed PolicySynced=False/WriteFailed"
                    .to_owned(),
            ),
            (
                no_pods(),
                match is_ended {
                    true => format!("Ready=True/{done} {READY} PolicySynced=Unknown/NoPods"),
                    false => format!("Ready=False/NoPods {WAITING} PolicySynced=Unknown/NoPods"),
                },
            ),
            (
                zero(),
                match is_ended {
                    true => format!("Ready=True/{done} {READY} PolicySynced=True/ScaledToZero"),
                    false => format!("Ready=True/ScaledToZero {READY} PolicySynced=True/ScaledToZero"),
                },
            ),
        ] {
            let reason = state.reason;
            assert_eq!(content_of(spec, vec![report(granted(), state)]).1, expected, "{done} {reason}");
        }
    }
}

#[test]
fn a_refusal_and_a_missing_server_are_failures_unless_the_client_is_to_have_no_access() {
    let (plain, suspended) = (spec(|_| ()), spec(|spec| spec.suspended = true));
    let stalled = |reason: &str, synced: &str| {
        format!("Ready=False/{reason} Reconciling=False/Available Stalled=True/{reason} PolicySynced={synced}")
    };
    let not_allowed = || report(refused(Reason::NotAllowed), synced());
    for (spec, report, expected) in [
        (&plain, not_allowed(), stalled("NotAllowed", "True/Synced")),
        (&plain, None, stalled("ServerNotFound", "Unknown/ServerNotFound")),
        (&suspended, not_allowed(), format!("Ready=True/Suspended {READY} PolicySynced=True/Synced")),
        (&suspended, None, format!("Ready=True/Suspended {READY} PolicySynced=Unknown/ServerNotFound")),
    ] {
        assert_eq!(content_of(spec, vec![report]).1, expected);
    }
}

#[test]
fn one_server_that_lags_is_enough_and_what_does_not_pass_is_named_first() {
    let suspended = spec(|spec| spec.suspended = true);
    let lagging = ConditionState::no(Reason::PodLagging, "pod wiki-0 serves policy old");
    let (status, _) = content_of(&suspended, vec![report(granted(), publishing()), report(granted(), lagging)]);
    let ready = &status.conditions[2];
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "PodLagging"));
    assert_eq!(ready.message, "sales/wiki: pod wiki-0 serves policy old");
    assert_eq!(status.servers_ready.as_deref(), Some("0/2"));
}

#[test]
fn an_access_that_was_removed_is_listed_until_every_pod_has_confirmed_that() {
    let plain = spec(|_| ());
    let former = report(granted(), publishing()).map(|report| ServerReport { outcome: None, ..report });
    let (status, words) = content_of(&plain, vec![report(granted(), synced()), former]);
    let expected = format!("Ready=False/Publishing {WAITING} PolicySynced=True/Synced PolicySynced=Unknown/Publishing");
    assert_eq!(words, expected);
    assert_eq!(status.servers[1].conditions[0].reason, "AccessRemoved");
    assert_eq!((&status.servers[1].granted, status.servers_ready.as_deref()), (&None, Some("1/2")));
}

#[test]
fn a_status_does_not_depend_on_the_one_before_but_for_its_times() {
    let (plain, suspended) = (spec(|_| ()), spec(|spec| spec.suspended = true));
    let (findings, credentials) = (Findings::default(), [applied(Ok(key("key")))]);
    let states = [synced(), publishing(), ConditionState::of_reason(True, Reason::ScaledToZero)];
    let at = |second| Timestamp::from_second(second).unwrap();
    let of = |spec, state: &ConditionState, previous: Option<McpClientStatus>| {
        let servers = vec![(NamespacedName::new("sales", "crm"), report(granted(), state.clone()))];
        content(&StatusInput {
            servers,
            previous: previous.as_ref(),
            now: at(9),
            ..input(spec, &findings, &credentials)
        })
    };
    for (spec, state) in [&plain, &suspended].into_iter().flat_map(|spec| states.iter().map(move |state| (spec, state)))
    {
        let fresh = of(spec, state, None);
        for (spec_before, state_before) in [(&suspended, &states[0]), (&plain, &states[1]), (&plain, &states[2])] {
            let before = of(spec_before, state_before, None);
            let mut status = of(spec, state, Some(before));
            let all = status.servers.iter_mut().flat_map(|server| &mut server.conditions).chain(&mut status.conditions);
            all.for_each(|condition| condition.last_transition_time = Time(at(9)));
            assert_eq!(status, fresh);
        }
    }
}

#[test]
fn a_taken_name_and_a_wrong_field_are_the_reason_that_a_client_is_not_ready() {
    let wrong = Findings::from(Finding::new("spec.access[0].limits", "is wrong"));
    let valid = Findings::default();
    for (findings, key, expected) in [
        (&valid, Err(taken("key")), ("NotOwned", "Secret sales/key already exists")),
        (&wrong, Ok(key("key")), ("Invalid", "spec.access[0].limits: is wrong")),
    ] {
        let spec = spec(|_| ());
        let status = content(&input(&spec, findings, &[applied(key)]));
        let ready = &status.conditions[2];
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", expected.0));
        assert!(ready.message.starts_with(expected.1), "{}", ready.message);
        assert_eq!(status.conditions[4].status, "True", "it is stalled");
    }
}

#[test]
fn the_secret_of_the_former_key_is_named_until_the_key_is_in_another_one() {
    let timeout = Error::Timeout { doing: "reading Secret sales/former".into(), after: Duration::from_secs(10) };
    let (spec, findings) = (spec(|_| ()), Findings::default());
    let api_key = |name: &str| Some(ApiKeyStatus { secret_name: name.into(), key_id: "id".into(), issued_at: None });
    let before = McpClientStatus { api_key: api_key("former"), ..content(&input(&spec, &findings, &[])) };
    for (what, key, expected) in [
        ("it is in another Secret", Ok(key("new")), api_key("new")),
        ("the former Secret cannot be read", Err(timeout), api_key("former")),
        ("the name of the new Secret is taken", Err(taken("new")), api_key("former")),
        ("the name of the former Secret is taken", Err(taken("former")), None),
    ] {
        let credentials = [applied(key)];
        let input = StatusInput { previous: Some(&before), ..input(&spec, &findings, &credentials) };
        assert_eq!(content(&input).api_key, expected, "{what}");
    }
}
