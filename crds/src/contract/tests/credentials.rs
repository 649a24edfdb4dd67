use super::{super::*, lines};
use crate::ClientId;

fn client(id: &str, key: &[u8]) -> CredentialClient {
    let sha256 = KeyDigest::of(key);
    let api_keys = vec![ApiKeyDigest { id: sha256.key_id(), sha256 }];
    CredentialClient { api_keys, ..CredentialClient::new(id.parse().unwrap(), format!("uid-of-{id}")) }
}

fn ids(refused: &[RefusedClient]) -> Vec<&str> {
    let mut ids: Vec<_> = refused.iter().filter_map(|it| it.id.as_ref()).map(ClientId::as_str).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn what_is_printed_reads_back_the_same_in_whatever_order_it_was_given() {
    let keys = ServerKeys { sessions: SecretKey([1; 32]), arguments: SecretKey([2; 32]) };
    let made = Credentials::new(vec![client("b", b"2"), client("a", b"1")], Some(keys.clone()));
    let read = CredentialsReading::parse(made.text()).unwrap();
    assert_eq!((&read.revision, read.clients.as_slice()), (made.revision(), made.clients()));
    assert_eq!((read.keys, read.refused), (Ok(Some(keys.clone())), vec![]));
    let shuffled = Credentials::new(vec![client("a", b"1"), client("b", b"2")], Some(keys));
    assert_eq!(shuffled.text(), made.text());
    assert!(!format!("{made:?}").contains("AQEB"), "Debug must not show a key");
}

#[test]
fn clients_that_share_a_key_are_refused_and_the_others_are_not() {
    let made = Credentials::new(vec![client("a", b"1"), client("b", b"1"), client("c", b"3")], None);
    let read = CredentialsReading::parse(made.text()).unwrap();
    assert_eq!(ids(&read.refused), ["a", "b"]);
    assert_eq!(lines(&read.refused[0].findings), ["clients[a].apiKeys: `a` and `b` have the same key"]);
    assert_eq!(read.clients, [client("c", b"3")]);
}

/// Who else has a key does not depend on how an entry is written that is refused itself.
#[test]
fn a_key_that_is_in_an_entry_of_another_form_is_shared_too() {
    let sha256 = String::from(KeyDigest::of(b"1"));
    let one =
        format!("{{id: a, uid: uid-of-a, apiKeys: [{{id: {}, sha256: {sha256}}}]}}", KeyDigest::of(b"1").key_id());
    for (other, is_shared) in [
        (format!("{{id: b, uid: u, apiKeys: [{{id: k, sha256: {sha256}}}]}}"), true),
        (format!("{{id: b, uid: u, apiKeys: [[k, {sha256}]]}}"), true),
        (format!("{{id: b, uid: u, apiKeys: [{sha256}]}}"), true),
        (format!("{{id: b, uid: u, apiKeys: {{k: {{sha256: {sha256}}}}}}}"), true),
        (format!("{{id: b, apiKeys: [{{sha256: {sha256}, other: 1}}]}}"), true),
        (format!("[b, u, [{{id: k, sha256: {sha256}}}]]"), true),
        (format!("[b, u, [[k, {sha256}]]]"), true),
        (format!("{{id: b, uid: {sha256}, apiKeys: [{{id: {sha256}, sha256: x}}]}}"), false),
    ] {
        let read = CredentialsReading::parse(&format!("contract: 1\nclients: [{one}, {other}]")).unwrap();
        let granted = if is_shared { vec![] } else { vec![client("a", b"1")] };
        let granted_b = read.clients.iter().filter(|client| client.id.as_str() == "b" && !client.api_keys.is_empty());
        assert_eq!(granted_b.count(), 0, "{other}");
        let of_a: Vec<_> = read.clients.into_iter().filter(|client| client.id.as_str() == "a").collect();
        assert_eq!(of_a, granted, "{other}");
    }
}

#[test]
fn a_client_may_state_one_of_its_keys_twice() {
    let mut twice = client("a", b"1");
    twice.api_keys.push(ApiKeyDigest { id: "old-name".into(), ..twice.api_keys[0].clone() });
    let read = CredentialsReading::parse(Credentials::new(vec![twice.clone()], None).text()).unwrap();
    assert_eq!(read.refused, []);
    assert_eq!(read.clients.len(), 1);
}

#[test]
fn a_field_that_is_null_counts_as_missing() {
    let read = CredentialsReading::parse("contract: 1\nrevision: null\nclients: null\nkeys: null").unwrap();
    assert_eq!((read.clients, read.refused, read.keys), (vec![], vec![], Ok(None)));
}

#[test]
fn a_client_that_appears_twice_is_refused_wherever_it_stands() {
    let one = |id: &str, key: &str| {
        let digest = String::from(KeyDigest::of(key.as_bytes()));
        format!("{{id: {id}, uid: u, apiKeys: [{{id: k, sha256: '{digest}'}}]}}")
    };
    let text = format!("contract: 1\nclients: [{}, {}, {}]", one("a", "1"), one("b", "2"), one("a", "3"));
    let read = CredentialsReading::parse(&text).unwrap();
    assert_eq!((ids(&read.refused), read.clients.len()), (vec!["a"], 1));
}

#[test]
fn an_unknown_field_denies_its_client_or_refuses_the_servers_own_keys() {
    let made = Credentials::new(vec![client("a", b"1"), client("b", b"2")], None);
    let body = made.text().lines().filter(|line| !line.starts_with("revision")).collect::<Vec<_>>().join("\n");
    let read = CredentialsReading::parse(&body.replace("uid: uid-of-a", "uid: uid-of-a\n  jwt: []")).unwrap();
    assert_eq!((ids(&read.refused), read.clients.len(), read.keys), (vec!["a"], 1, Ok(None)));
    let read = CredentialsReading::parse(&format!("{body}\nissuers: []")).unwrap();
    assert_eq!((read.refused.len(), read.clients.len()), (0, 2));
    assert_eq!(
        lines(&read.keys.unwrap_err()),
        ["issuers: unknown field; allowed fields: contract, revision, clients, keys"]
    );
}

#[test]
fn a_finding_repeats_nothing_of_the_document() {
    let whole = ["contract: [canary"];
    let parts = [
        "contract: 1\nclients: canary",
        "contract: 1\nclients: [{id: a, uid: u, apiKeys: [{id: k, sha256: canary}]}]",
        "contract: 1\nclients: [{id: a, uid: u, apiKeys: canary}]",
        "contract: 1\nclients: [{id: 'canary canary', uid: u, apiKeys: []}]",
        "contract: 1\nkeys: {sessions: canary, arguments: canary}",
    ];
    for text in whole {
        let findings = CredentialsReading::parse(text).unwrap_err().to_string();
        assert!(!findings.contains("canary"), "{findings}");
    }
    for text in parts {
        let read = CredentialsReading::parse(text).unwrap();
        let findings =
            read.refused.iter().map(|it| it.findings.to_string()).chain(read.keys.err().map(|f| f.to_string()));
        let findings: Vec<_> = findings.collect();
        assert!(!findings.is_empty() && !findings.concat().contains("canary"), "{findings:?}");
    }
}

#[test]
fn another_contract_is_refused_before_anything_else_is_read() {
    let findings = CredentialsReading::parse("contract: 2\nnew: field").unwrap_err();
    assert_eq!(findings.0[0].path, "contract");
}
