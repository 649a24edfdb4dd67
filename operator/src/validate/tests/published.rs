//! A published half that another release wrote, while the McpServer has errors: it stays as it is written, and the clients beside it
//! can only lose.

use portcullis_crds::{
    contract::{PolicyReading, PublishedPolicy},
    document,
};
use serde_json::Value;

use super::*;

/// A spec with an error that takes nothing away.
const INVALID: &str = "limits: {perClient: {requests: 1, per: 48h}}";

fn access(more: &str) -> String {
    format!("{{serverRef: {{name: crm}}, maxRecordsPerQuery: 10, allowWrite: true, {more}}}")
}

fn bot(more: &str) -> ClientInput {
    client_of("sales", "bot", 3, &access(more))
}

fn all() -> ClientInput {
    bot("tools: ['*']")
}

/// The document of a policy, without its revision.
fn document_of(plan: &ServerPlan) -> Value {
    let mut document = document::single(plan.documents.as_ref().unwrap().policy.text()).unwrap();
    document.as_object_mut().unwrap().remove("revision");
    document
}

/// The plan for `next`, as an operator makes it that was just started and finds this document.
fn after_restart(published: &Value, mut next: ServerInput) -> ServerPlan {
    let reading = PolicyReading::parse(&published.to_string()).unwrap();
    next.published = Published { policy: Some(PublishedPolicy::from(reading)), credentials: None };
    server(&next)
}

/// The document with a value at this pointer, which may not exist yet.
fn with(document: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = document.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap_or_else(|| panic!("{parent}"))[name] = value;
    changed
}

/// Halves that this release cannot read, or would refuse.
fn unreadable(document: &Value) -> Vec<(&'static str, Value)> {
    let values = [
        ("/later", json!([1, 1.5, "x", null])),
        ("/server/later", json!({"a": 1})),
        ("/spec/later", json!(1)),
        ("/spec/limits", json!({"perTenant": {"requests": 1, "per": "1m"}})),
        ("/spec/limits", json!({"perClient": {"requests": 1, "per": "P1D"}})),
        ("/spec/clients", json!([{"namespaces": {"from": "Selector", "selector": {}}}])),
        ("/spec/audit", json!({"arguments": "Values"})),
        ("/spec/tools/0/later", json!(true)),
        ("/spec/tools/0/timeout", json!(30)),
        ("/spec/tools/0/static", json!({"file": "x"})),
        ("/spec/tools/0/backend", json!({"name": "fixed"})),
        ("/spec/backends/0/grpc", json!({"url": "x"})),
        ("/spec/backends", json!({"fixed": {"static": {}}})),
    ];
    values.into_iter().map(|(pointer, value)| (pointer, with(document, pointer, value))).collect()
}

#[test]
fn a_half_of_another_release_is_published_again_as_it_is_written_with_the_clients_of_now() {
    let valid = server(&input("", vec![all(), client_of("sales", "removed", 2, &access("tools: [read]"))]));
    for (what, published) in unreadable(&document_of(&valid)) {
        let suspended = || {
            let mut object = client_object("sales", "bot", 3, &access("tools: ['*']"));
            object.spec.as_mut().unwrap().suspended = true;
            ClientInput { client: CheckedClient::new(object), credentials: None }
        };
        let expiring = || {
            let mut object = client_object("sales", "bot", 3, &access("tools: ['*']"));
            object.spec.as_mut().unwrap().expires_at = Some(Time(Timestamp::from_second(1_000_000_000).unwrap()));
            ClientInput { client: CheckedClient::new(object), credentials: None }
        };
        let new = || client_of("sales", "new", 1, &access("tools: [read]"));
        let before = published["clients"][0].clone();
        for (change, clients, expected) in [
            ("nothing, and one is new", vec![all(), new()], vec![before.clone()]),
            ("suspend", vec![suspended()], vec![with(&before, "/suspended", json!(true))]),
            ("expire", vec![expiring()], vec![with(&before, "/expiresAt", json!("2001-09-09T01:46:40Z"))]),
            ("narrow", vec![bot("tools: [find]")], vec![with(&before, "/tools", json!(["find"]))]),
            ("delete", vec![], vec![]),
        ] {
            let plan = after_restart(&published, input(INVALID, clients));
            let mut expected_document = published.clone();
            expected_document["clients"] = json!(expected);
            if expected.is_empty() {
                expected_document.as_object_mut().unwrap().remove("clients");
            }
            assert_eq!(document_of(&plan), expected_document, "{what}: {change}");
            // The same run, which remembers what it wrote.
            assert_eq!(
                document_of(&after(&plan, input(INVALID, vec![])))["spec"],
                published["spec"],
                "{what}: {change}"
            );
        }
    }
}

#[test]
fn a_half_of_another_release_grants_nobody_more() {
    let narrow = "clients: [{allow: {tools: [read], maxRecordsPerQuery: 5, limits: {requests: 3, per: 1m}}}]";
    let valid = server(&input(narrow, vec![bot("tools: ['*'], limits: {requests: 9, per: 1m}")]));
    let published = document_of(&valid);
    let readable = published["clients"][0].clone();
    // The rules cannot be read any more, and the client asks for more.
    let published = with(&published, "/spec/clients", json!([{"allow": {"tools": [{"name": "read"}]}}]));
    let plan = after_restart(&published, input(INVALID, vec![all()]));
    assert_eq!(document_of(&plan)["clients"], json!([readable]));
    let new = client_of("sales", "new", 1, &access("tools: [read]"));
    let plan = after_restart(&published, input(INVALID, vec![new]));
    insta::assert_snapshot!(summary(&plan), @"sales/new: nothing | False ServerInvalid: the McpServer has errors, and another release wrote its last valid spec: nothing new is granted");
}

#[test]
fn lower_limits_of_the_spec_are_written_into_a_half_of_another_release() {
    let valid = server(&input("", vec![all()]));
    let published = with(&document_of(&valid), "/spec/later", json!(1));
    let invalid = "limits: {global: {requests: 5, per: 1m}, perClient: {requests: 1, per: 48h}}";
    let found = document_of(&after_restart(&published, input(invalid, vec![all()])));
    let limits = json!({"global": {"requests": 5, "per": "1m"}});
    assert_eq!(found, with(&published, "/spec/limits", limits));
}

#[test]
fn a_valid_spec_replaces_a_half_of_another_release() {
    let valid = server(&input("", vec![all()]));
    for (what, published) in unreadable(&document_of(&valid)) {
        assert_eq!(document_of(&after_restart(&published, input("", vec![all()]))), document_of(&valid), "{what}");
    }
}

#[test]
fn without_a_half_that_can_be_read_clients_lose_their_credentials() {
    let other = || client_of("sales", "other", 2, &access("tools: [read]"));
    let valid = server(&input("", vec![all(), other()]));
    let published = Published::from(valid.documents.as_ref().unwrap());
    let with = |bot: Option<ClientInput>| {
        let mut next = input(INVALID, bot.into_iter().chain([other()]).collect());
        next.published = Published { policy: None, credentials: published.credentials.clone() };
        let plan = server(&next);
        assert_eq!(plan.policy(), None);
        let credentials = plan.credentials().unwrap();
        assert_eq!(plan.credentials.as_ref(), Some(credentials));
        let keys = |it: &portcullis_crds::contract::CredentialClient| (it.id.to_string(), it.api_keys.len());
        credentials.clients().iter().map(keys).collect::<Vec<_>>()
    };
    let mut suspended = client_object("sales", "bot", 3, &access("tools: ['*']"));
    suspended.spec.as_mut().unwrap().suspended = true;
    let suspended = ClientInput { client: CheckedClient::new(suspended), credentials: None };
    let elsewhere = "{serverRef: {name: other}, tools: [], maxRecordsPerQuery: 1}";
    let entry = |id: &str, keys| (id.to_owned(), keys);
    for (bot, expected) in [
        (Some(all()), vec![entry("bot", 1), entry("other", 1)]),
        (Some(ClientInput { credentials: None, ..all() }), vec![entry("bot", 1), entry("other", 1)]),
        (
            Some(ClientInput { credentials: Some(vec![key_of("new")]), ..all() }),
            vec![entry("bot", 0), entry("other", 1)],
        ),
        (Some(suspended), vec![entry("other", 1)]),
        (Some(client_of("sales", "bot", 3, elsewhere)), vec![entry("other", 1)]),
        (None, vec![entry("other", 1)]),
    ] {
        assert_eq!(with(bot), expected);
    }
    // A client that has none yet gets none: nothing is known of its access.
    assert_eq!(with(Some(client_of("sales", "new", 1, &access("tools: [read]")))), [entry("other", 1)]);
    let never = server(&input(INVALID, vec![all()]));
    assert_eq!((never.policy(), never.credentials()), (None, None));
}
