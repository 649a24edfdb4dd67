use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portcullis_crds::{Finding, client::Granted};
use serde_json::json;

use super::*;
use crate::{cluster::ownership::NotOwned, validate::ClientOutcome};

fn spec(change: impl FnOnce(&mut McpClientSpec)) -> McpClientSpec {
    let mut spec = serde_json::from_value(json!({
        "access": [{"serverRef": {"name": "crm"}, "tools": ["a"], "maxRecordsPerQuery": 10}],
        "credentials": {"apiKey": {"secretName": "key"}},
    }))
    .unwrap();
    change(&mut spec);
    spec
}

fn report(outcome: ClientOutcome, is_pending: bool, synced: ConditionStatus) -> Option<ServerReport> {
    let reason = if synced == ConditionStatus::True { Reason::Synced } else { Reason::Publishing };
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

/// `Ready`, `Reconciling` and `Stalled`, and what the access says of `PolicySynced`.
fn says(
    spec: &McpClientSpec,
    report: Option<ServerReport>,
    previous: Option<&McpClientStatus>,
) -> (McpClientStatus, String) {
    let input = StatusInput {
        generation: Some(1),
        spec: Some(spec),
        findings: &Findings::default(),
        key: Ok(ApiKeyStatus { secret_name: "key".into(), key_id: "id".into() }),
        servers: vec![(NamespacedName { namespace: "sales".into(), name: "crm".into() }, report)],
        previous,
        now: Timestamp::UNIX_EPOCH,
    };
    let status = content(&input);
    let all = status.conditions[2..].iter().chain(&status.servers[0].conditions[2..]);
    let said: Vec<String> = all.map(|it| format!("{}={}/{}", it.type_, it.status, it.reason)).collect();
    (status, said.join(" "))
}

#[test]
fn a_client_is_ready_once_every_pod_obeys_and_says_what_is_in_its_way() {
    let plain = spec(|_| ());
    let suspended = spec(|spec| spec.suspended = true);
    let expired = spec(|spec| spec.expires_at = Some(Time(Timestamp::UNIX_EPOCH)));
    for (spec, report, expected) in [
        (
            &plain,
            report(granted(), true, ConditionStatus::Unknown),
            "Ready=False/Publishing Reconciling=True/Progressing Stalled=False/Progressing PolicySynced=Unknown/Publishing",
        ),
        (
            &plain,
            report(granted(), false, ConditionStatus::True),
            "Ready=True/Available Reconciling=False/Available Stalled=False/Progressing PolicySynced=True/Synced",
        ),
        (
            &plain,
            report(refused(Reason::NotAllowed), false, ConditionStatus::True),
            "Ready=False/NotAllowed Reconciling=False/Available Stalled=True/NotAllowed PolicySynced=True/Synced",
        ),
        (
            &plain,
            None,
            "Ready=False/ServerNotFound Reconciling=False/Available Stalled=True/ServerNotFound PolicySynced=Unknown/ServerNotFound",
        ),
        (
            &suspended,
            report(granted(), false, ConditionStatus::True),
            "Ready=True/Suspended Reconciling=False/Available Stalled=False/Progressing PolicySynced=True/Synced",
        ),
        (
            &expired,
            report(granted(), false, ConditionStatus::True),
            "Ready=True/Expired Reconciling=False/Available Stalled=False/Progressing PolicySynced=True/Synced",
        ),
    ] {
        assert_eq!(says(spec, report, None).1, expected);
    }
}

#[test]
fn an_edit_of_somebody_else_s_access_is_no_news_and_one_s_own_does_not_end_being_ready() {
    let plain = spec(|_| ());
    let (before, _) = says(&plain, report(granted(), false, ConditionStatus::True), None);
    let (others, _) = says(&plain, report(granted(), false, ConditionStatus::Unknown), Some(&before));
    assert_eq!(others, before);
    let (_, own) = says(&plain, report(granted(), true, ConditionStatus::Unknown), Some(&before));
    let expected =
        "Ready=True/Available Reconciling=True/Progressing Stalled=False/Progressing PolicySynced=Unknown/Publishing";
    assert_eq!(own, expected);
}

#[test]
fn a_taken_name_or_a_wrong_field_is_what_ready_says() {
    let taken = Error::NotOwned(NotOwned { kind: "Secret".into(), namespace: "sales".into(), name: "key".into() });
    let wrong = Findings::from(Finding::new("spec.access[0].limits", "is wrong"));
    let fine = Findings::default();
    let key = ApiKeyStatus { secret_name: "key".into(), key_id: "id".into() };
    for (findings, key, expected) in [
        (&fine, Err(&taken), ("NotOwned", "Secret sales/key already exists")),
        (&wrong, Ok(key), ("Invalid", "spec.access[0].limits: is wrong")),
    ] {
        let spec = spec(|_| ());
        let input = StatusInput {
            generation: Some(1),
            spec: Some(&spec),
            findings,
            key,
            servers: Vec::new(),
            previous: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let status = content(&input);
        let ready = &status.conditions[2];
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", expected.0));
        assert!(ready.message.starts_with(expected.1), "{}", ready.message);
        assert_eq!(status.conditions[4].status, "True", "it is stalled");
    }
}

#[test]
fn the_secret_of_a_former_key_is_told_until_the_key_is_in_another() {
    let key = |name: &str| ApiKeyStatus { secret_name: name.into(), key_id: "id".into() };
    let taken =
        |name: &str| Error::NotOwned(NotOwned { kind: "Secret".into(), namespace: "sales".into(), name: name.into() });
    let silent = Error::Timeout { doing: "reading Secret sales/former".into() };
    let (spec, findings) = (spec(|_| ()), Findings::default());
    let (before, _) = says(&spec, None, None);
    let before = McpClientStatus { api_key: Some(key("former")), ..before };
    for (what, key, expected) in [
        ("it is in another", Ok(key("new")), Some(key("new"))),
        ("the former can't be read", Err(&silent), Some(key("former"))),
        ("the other's name is taken", Err(&taken("new")), Some(key("former"))),
        ("somebody took the former's name", Err(&taken("former")), None),
    ] {
        let input = StatusInput {
            generation: Some(2),
            spec: Some(&spec),
            findings: &findings,
            key,
            servers: Vec::new(),
            previous: Some(&before),
            now: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(content(&input).api_key, expected, "{what}");
    }
}
