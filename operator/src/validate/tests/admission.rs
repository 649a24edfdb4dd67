use super::*;

const ACCESS: &str = "{serverRef: {name: crm, namespace: sales}, tools: [read], maxRecordsPerQuery: 1}";

#[test]
fn the_first_rule_that_matches_applies_and_a_client_that_no_rule_matches_is_refused() {
    let rules = "clients: [
        {namespaces: {from: Same}, allow: {tools: [read]}},
        {namespaces: {from: All}, allow: {tools: [find]}}]";
    let access = "{serverRef: {name: crm, namespace: sales}, tools: ['*'], maxRecordsPerQuery: 1}";
    let clients = || vec![client_of("sales", "bot", 0, access), client_of("team", "bot2", 0, access)];
    insta::assert_snapshot!(summary(&server(&input(rules, clients()))), @r"
    sales/bot: [read] 1 records 60/1m | True Granted: everything that the access requests is granted
    team/bot2: [find] 1 records 60/1m | True Granted: everything that the access requests is granted
    ");
    insta::assert_snapshot!(summary(&server(&input("", clients()))), @r"
    sales/bot: [find read] 1 records 60/1m | True Granted: everything that the access requests is granted
    team/bot2: nothing | False NotAllowed: no rule in the McpServer's spec.clients admits clients of namespace `team`
    ");
}

#[test]
fn of_too_many_clients_the_oldest_are_admitted_and_of_the_same_age_by_name() {
    let ages = [("a", 1), ("b", 3), ("c", 2), ("d", 2)];
    let clients = ages.map(|(name, age)| client_of("sales", name, age, ACCESS));
    let plan = server(&input("clients: [{maxClients: 2}]", clients.into()));
    let reasons: Vec<_> = plan.outcomes().map(|(name, it)| (name.name.as_str(), it.accepted.reason)).collect();
    let (granted, refused) = (Reason::Granted, Reason::TooManyClients);
    assert_eq!(reasons, [("a", refused), ("b", granted), ("c", granted), ("d", refused)]);
}

#[test]
fn a_client_that_is_deleted_or_names_another_server_has_no_access() {
    let other = "{serverRef: {name: erp, namespace: sales}, tools: [read], maxRecordsPerQuery: 1}";
    let before = server(&input("", vec![client_of("sales", "a", 0, ACCESS), client_of("sales", "b", 0, ACCESS)]));
    let mut deleted = client_object("sales", "a", 0, ACCESS);
    deleted.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let deleted = ClientInput { client: CheckedClient::new(deleted), credentials: Some(vec![key_of("a")]) };
    let plan = after(&before, input("", vec![deleted, client_of("sales", "b", 0, other)]));
    let documents = plan.documents.unwrap();
    assert_eq!((documents.policy.clients(), documents.credentials.clients()), (&[][..], &[][..]));
    assert_eq!(plan.decisions, BTreeMap::new());
}
