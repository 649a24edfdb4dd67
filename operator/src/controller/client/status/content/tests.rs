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
    condition::ConditionStatus::{True, Unknown},
    controller::memory::ServerReport,
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
    CredentialStatus { secret_name: secret_name.into(), id: "id".into() }
}

fn taken(name: &str) -> Error {
    Error::NotOwned(NotOwned { kind: "Secret".into(), namespace: "sales".into(), name: name.into() })
}

fn report(outcome: ClientOutcome, is_pending: bool, synced: ConditionStatus) -> Option<ServerReport> {
    let reason = if synced == True { Reason::Synced } else { Reason::Publishing };
    Some(ServerReport { outcome, is_pending, synced: ConditionState::of_reason(synced, reason) })
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

/// The status, and in words its `Ready`, `Reconciling` and `Stalled`, and the `PolicySynced` of its access.
fn content_with(
    spec: &McpClientSpec,
    report: Option<ServerReport>,
    previous: Option<&McpClientStatus>,
) -> (McpClientStatus, String) {
    let (findings, credentials) = (Findings::default(), [applied(Ok(key("key")))]);
    let servers = vec![(NamespacedName { namespace: "sales".into(), name: "crm".into() }, report)];
    let status = content(&StatusInput { servers, previous, ..input(spec, &findings, &credentials) });
    let conditions = status.conditions[2..].iter().chain(&status.servers[0].conditions[2..]);
    let words: Vec<String> = conditions.map(|it| format!("{}={}/{}", it.type_, it.status, it.reason)).collect();
    (status, words.join(" "))
}

#[test]
fn a_client_is_ready_once_its_access_is_in_force_and_else_names_what_is_missing() {
    let plain = spec(|_| ());
    let suspended = spec(|spec| spec.suspended = true);
    let expired = spec(|spec| spec.expires_at = Some(Time(Timestamp::UNIX_EPOCH)));
    for (spec, report, expected) in [
        (
            &plain,
            report(granted(), true, Unknown),
            "Ready=False/Publishing Reconciling=True/Progressing Stalled=False/Progressing PolicySynced=Unknown/Publishing",
        ),
        (
            &plain,
            report(granted(), false, True),
            "Ready=True/Available Reconciling=False/Available Stalled=False/Progressing PolicySynced=True/Synced",
        ),
        (
            &plain,
            report(refused(Reason::NotAllowed), false, True),
            "Ready=False/NotAllowed Reconciling=False/Available Stalled=True/NotAllowed PolicySynced=True/Synced",
        ),
        (
            &plain,
            None,
            "Ready=False/ServerNotFound Reconciling=False/Available Stalled=True/ServerNotFound PolicySynced=Unknown/ServerNotFound",
        ),
        (
            &suspended,
            report(granted(), false, True),
            "Ready=True/Suspended Reconciling=False/Available Stalled=False/Progressing PolicySynced=True/Synced",
        ),
        (
            &expired,
            report(granted(), false, True),
            "Ready=True/Expired Reconciling=False/Available Stalled=False/Progressing PolicySynced=True/Synced",
        ),
    ] {
        assert_eq!(content_with(spec, report, None).1, expected);
    }
}

#[test]
fn another_client_s_edit_changes_nothing_and_its_own_edit_keeps_it_ready() {
    let plain = spec(|_| ());
    let (before, _) = content_with(&plain, report(granted(), false, True), None);
    let (others, _) = content_with(&plain, report(granted(), false, Unknown), Some(&before));
    assert_eq!(others, before);
    let (_, own) = content_with(&plain, report(granted(), true, Unknown), Some(&before));
    let expected =
        "Ready=True/Available Reconciling=True/Progressing Stalled=False/Progressing PolicySynced=Unknown/Publishing";
    assert_eq!(own, expected);
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
    let api_key = |name: &str| Some(ApiKeyStatus { secret_name: name.into(), key_id: "id".into() });
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
