use std::sync::Arc;

use proptest::prelude::*;

use super::{super::*, lines};
use crate::{Findings, check};

const TEXT: &str = r#"
contract: 1
server: {namespace: sales, name: crm, replicas: 2, hosts: [crm.sales.svc, crm]}
spec:
  backends: [{name: fixed, static: {}}, {name: crm-api, http: {url: "http://crm-api.sales.svc:8080"}}]
  tools:
    - name: get_contact
      description: One contact.
      backend: crm-api
      timeout: 30s
      http: {method: GET, path: "/contacts/{id}"}
      inputSchema: {type: object, required: [id], properties: {id: {type: string, pattern: "^c[0-9]+$"}}}
    - {name: about, description: About., backend: fixed, static: {text: A CRM.}}
clients:
  - {id: team/bot, uid: u2, tools: [about], maxRecordsPerQuery: 5, limits: [{requests: 60, per: 1m}]}
  - {id: agent, uid: u1, tools: [get_contact, about], maxRecordsPerQuery: 10, limits: [{requests: 60, per: 1m}],
     expiresAt: "2027-01-01T00:00:00Z"}
"#;

fn with(from: &str, to: &str) -> String {
    assert!(TEXT.contains(from), "{from}");
    TEXT.replace(from, to)
}

fn read(text: &str) -> PolicyReading {
    PolicyReading::parse(text).unwrap()
}

/// The policy that an operator would publish after reading this one.
fn printed(reading: PolicyReading) -> Policy {
    let half = check::server_half(reading.server.strict().unwrap()).unwrap();
    Policy::new(half.half().clone(), reading.clients)
}

#[test]
fn a_policy_is_printed_sorted_without_defaults_and_reads_back_the_same() {
    let policy = printed(read(TEXT));
    insta::assert_snapshot!(policy.text());
    let again = read(policy.text());
    assert_eq!(&again.revision, policy.revision());
    assert_eq!(again.server.strict().as_ref(), Ok(&**policy.server()));
    assert_eq!(again.clients, policy.clients());
}

#[test]
fn a_document_that_cannot_be_trusted_is_refused_as_a_whole() {
    for (text, finding) in [
        ("contract: [".to_owned(), "line 2 column 1"),
        ("[]".to_owned(), "must be a mapping"),
        (with("contract: 1", "contract: 2"), "contract: is 2, and this program reads 1"),
        (with("contract: 1", "other: 1"), "contract: is missing"),
        (with("contract: 1", "contract: 1\nrevision: ''"), "revision: must be 64 hexadecimal digits"),
        (
            with("contract: 1", &format!("contract: 1\nrevision: {}", "0".repeat(64))),
            "revision: is not the revision of the content",
        ),
        // Files that an editor has not finished: their clients are not complete either.
        ("contract: 1\n".to_owned(), "server: is missing"),
        (TEXT.split("spec:").next().unwrap().to_owned(), "spec: is missing"),
    ] {
        let found = lines(&PolicyReading::parse(&text).unwrap_err());
        assert!(found.iter().any(|f| f.starts_with(finding)), "{finding}\nis not among\n{found:#?}");
    }
}

#[test]
fn clients_that_cannot_be_told_are_none() {
    let finding = "clients: must be a list";
    for (text, finding) in [
        (with("clients:\n", "clients: none\nrest:\n"), finding),
        (with("clients:\n", "clients: {}\nrest:\n"), finding),
        (format!("{TEXT}\nclients: []"), "clients: "),
    ] {
        let reading = read(&text);
        let found: Vec<_> = reading.refused.iter().map(|refused| (&refused.id, lines(&refused.findings))).collect();
        let [(None, found)] = &found[..] else { panic!("{found:?}") };
        assert!(found[0].starts_with(finding), "{found:?}");
        assert_eq!(reading.clients, []);
    }
}

#[test]
fn clients_are_read_beside_a_half_that_is_missing() {
    let whole = read(TEXT).clients;
    for (text, finding) in [(with("spec:", "rest:"), "spec: "), (with("server:", "rest:"), "server: ")] {
        let reading = read(&text);
        let found = lines(&reading.server.strict().unwrap_err());
        assert!(found.iter().any(|f| f.starts_with(finding)), "{found:#?}");
        assert_eq!((&reading.clients, reading.server.published()), (&whole, None));
    }
}

#[test]
fn what_cannot_be_read_of_the_servers_half_leaves_the_clients_as_they_are() {
    for (text, finding) in [
        (with("hosts:", "host:"), "server.host: unknown field"),
        (with("description: One contact.", "describe: x"), "spec.tools[0].describe: unknown field"),
        (
            with("contract: 1", "contract: 1\nlater: []"),
            "later: unknown field; allowed fields: contract, revision, server",
        ),
        (
            with("http: {url: \"http://crm-api.sales.svc:8080\"}", "http: {url: \"http://x:1\"}, static: {}"),
            "spec.backends[1]: exactly one of http and static must be set",
        ),
        (with("timeout: 30s", "timeout: 1d"), "spec.tools[0].timeout: must be a duration"),
    ] {
        let reading = read(&text);
        let found = lines(&reading.server.strict().unwrap_err());
        assert!(found.iter().any(|f| f.starts_with(finding)), "{finding}\nis not among\n{found:#?}");
        assert_eq!((reading.clients.len(), reading.refused.len()), (2, 0), "{finding}");
    }
}

#[test]
fn what_cannot_be_read_of_one_client_denies_that_client_alone() {
    for (text, refused, finding) in [
        (with("uid: u2", "uid: u2, later: [x]"), "team/bot", "clients[0].later: unknown field"),
        (with("per: 1m}]}", "per: 1d}]}"), "team/bot", "clients[0].limits[0].per: must be a duration"),
        (with("per: 1m}]}", "per: 48h}]}"), "team/bot", "clients[0].limits[0]: `per` must be from 1s to 24h"),
        (with("uid: u1, tools", "tools"), "agent", "clients[1].uid: is missing"),
    ] {
        let reading = read(&text);
        assert!(reading.server.strict().is_ok());
        let [it] = &reading.refused[..] else { panic!("{:?}", reading.refused) };
        assert_eq!(it.id.as_ref().map(|id| id.as_str()), Some(refused));
        assert!(lines(&it.findings)[0].starts_with(finding), "{finding}: {:?}", it.findings);
        assert!(reading.clients.iter().all(|client| client.id.as_str() != refused));
        assert_eq!(reading.clients.len(), 1);
    }
}

#[test]
fn two_entries_of_one_client_deny_it_because_either_may_hold_the_restriction() {
    for text in [with("id: team/bot", "id: agent"), with("id: team/bot, uid: u2", "id: agent, uid: u2, later: [x]")] {
        let reading = read(&text);
        assert_eq!(reading.clients, [], "{text}");
        assert!(reading.refused.iter().all(|it| it.id.as_ref().is_some_and(|id| id.as_str() == "agent")));
    }
}

#[test]
fn what_does_not_fit_together_is_named_by_its_field() {
    for (text, finding) in [
        (
            with("backend: crm-api", "backend: crm"),
            "spec.tools[0].backend: `crm` is not a backend of this server; its backends: fixed, crm-api",
        ),
        (with("backend: crm-api", "backend: fixed"), "spec.tools[0].http: backend `fixed` is of the kind static"),
        (with("/contacts/{id}", "/contacts/{no}"), "spec.tools[0].http.path: `no` is not a property of inputSchema"),
        (with("required: [id], ", ""), "spec.tools[0].http.path: `id` must be listed in inputSchema's `required`"),
        (with("replicas: 2", "replicas: 61"), "spec.limits.expensiveTools.requests: is 10 for 61 replicas"),
        (with("name: about", "name: get_contact"), "spec.tools[1].name: `get_contact` appears twice"),
    ] {
        let found = lines(&check::server_half(read(&text).server.strict().unwrap()).unwrap_err());
        assert!(found.iter().any(|f| f.starts_with(finding)), "{finding}\nis not among\n{found:#?}");
    }
}

#[test]
fn the_revision_is_that_of_the_content_whatever_its_order() {
    let policy = printed(read(TEXT));
    let reordered = printed(read(&with("tools: [get_contact, about]", "tools: [about, get_contact]")));
    assert_eq!(reordered.revision(), policy.revision());
    let changed = printed(read(&with("maxRecordsPerQuery: 10", "maxRecordsPerQuery: 11")));
    assert_ne!(changed.revision(), policy.revision());
}

#[test]
fn a_published_policy_is_never_checked_again() {
    let text = with("backend: crm-api", "backend: gone");
    let published = PublishedPolicy::from(read(&text));
    let (server, clients) = (published.server.unwrap(), published.clients.to_vec());
    assert_eq!(clients.len(), 2);
    assert_eq!(read(Policy::new(server, clients).text()).refused, []);
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_the_same(
        text in proptest::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter), number in any::<u64>(),
        float in proptest::num::f64::NORMAL, uid in "[a-z0-9-]{1,20}",
    ) {
        let mut reading = read(TEXT);
        reading.clients[0].uid = uid;
        let mut half = reading.server.strict().unwrap();
        half.spec.tools[0].description = format!("x{text}");
        let value = serde_json::json!({"t": text, "n": number, "f": float});
        half.spec.tools[1].input_schema.0.insert("default".into(), value);
        half.sort();
        let policy = Policy::new(Arc::new(half), reading.clients);
        let again = read(policy.text());
        prop_assert_eq!(&again.revision, policy.revision());
        prop_assert_eq!(again.server.strict(), Ok::<_, Findings>((**policy.server()).clone()));
    }
}
