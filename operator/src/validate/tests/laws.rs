use portcullis_crds::contract::{ClientRule, NamespacesFrom, Rate};
use proptest::prelude::*;

use super::*;

fn any_client() -> impl Strategy<Value = ClientInput> {
    let names = prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let namespaces = prop::sample::select(vec!["sales", "team"]);
    let tools = prop::sample::subsequence(vec!["read", "find", "write", "gone", "'*'"], 0..=5);
    let limits = prop::option::of((1_u32..100, prop::sample::select(vec!["1s", "1m", "1h", "48h"])));
    (namespaces, names, 0_i64..3, tools, 1_u32..100, any::<bool>(), limits).prop_map(
        |(namespace, name, age, tools, records, writes, limits)| {
            let limits = limits.map_or(String::new(), |(n, per)| format!(", limits: {{requests: {n}, per: {per}}}"));
            let tools = tools.join(", ");
            let access = format!(
                "{{serverRef: {{name: crm, namespace: sales}}, tools: [{tools}], maxRecordsPerQuery: {records}, allowWrite: {writes}{limits}}}"
            );
            client_of(namespace, name, age, &access)
        },
    )
}

/// Clients of different names, in two orders.
fn any_clients() -> impl Strategy<Value = (Vec<ClientInput>, Vec<ClientInput>)> {
    let distinct = |clients: Vec<ClientInput>| {
        let by_name: BTreeMap<_, _> =
            clients.into_iter().map(|it| (it.client.object().namespaced_name(), it)).collect();
        by_name.into_values().collect::<Vec<_>>()
    };
    let clients = prop::collection::vec(any_client(), 0..8).prop_map(distinct);
    clients.prop_flat_map(|clients| (Just(clients.clone()), Just(clients).prop_shuffle()))
}

const SERVERS: [&str; 5] = [
    "",
    "replicas: 3, clients: [{maxClients: 2}]",
    "clients: [{namespaces: {from: All}, allow: {tools: [read, write], effects: [Write], maxRecordsPerQuery: 7, limits: {requests: 5, per: 1h}}}]",
    "clients: [{allow: {limits: {requests: 70, per: 1m}}}, {namespaces: {from: All}, maxClients: 3}]",
    "clients: [{namespaces: {from: All}, maxClients: 2, allow: {tools: [read, find]}}]",
];

proptest! {
    #[test]
    fn the_order_of_the_clients_does_not_matter((clients, shuffled) in any_clients(), n in 0..SERVERS.len()) {
        let plan = server(&input(SERVERS[n], clients));
        prop_assert!(plan.documents.is_some() && plan.findings.is_empty(), "{}", plan.findings);
        prop_assert_eq!(&server(&input(SERVERS[n], shuffled)), &plan);
    }

    /// Whatever was in force, and whatever comes after: no client is granted more than it requests, and there is always something
    /// to publish.
    #[test]
    fn no_client_is_granted_more_than_it_requests(
        (first, _) in any_clients(),
        (second, _) in any_clients(),
        (n, m) in (0..SERVERS.len(), 0..SERVERS.len()),
        server_is_broken in any::<bool>(),
    ) {
        let valid = server(&input(SERVERS[n], first));
        let mut next = input(SERVERS[m], second.clone());
        if server_is_broken {
            next.server.spec = Err(Findings::from(Finding::new("", "cannot be decoded")).into());
        }
        let plan = after(&valid, next);
        let documents = plan.documents.as_ref().unwrap();
        for client in documents.policy.clients() {
            let object = second.iter().map(|it| it.client.object()).find(|it| it.uid() == client.uid).unwrap();
            let access = &object.spec.as_ref().unwrap().access[0];
            let requests = |tool: &str| access.tools.iter().any(|requested| requested == "*" || requested == tool);
            prop_assert!(client.tools.iter().all(|tool| requests(tool.as_str())));
            prop_assert!(client.max_records_per_query <= access.max_records_per_query);
            prop_assert!(access.allow_write || (!client.allow_write && !client.tools.iter().any(|it| it.as_str() == "write")));
        }
        let ids = |clients: Vec<&portcullis_crds::ClientId>| clients.into_iter().cloned().collect::<Vec<_>>();
        prop_assert_eq!(
            ids(documents.policy.clients().iter().map(|client| &client.id).collect()),
            ids(documents.credentials.clients().iter().map(|client| &client.id).collect())
        );
    }

    /// Whatever a spec with errors says: each client keeps at most what the valid spec grants it, and none is admitted besides.
    #[test]
    fn a_spec_with_errors_admits_and_grants_no_more_than_the_valid_one(
        (first, _) in any_clients(),
        (second, _) in any_clients(),
        (n, m) in (0..SERVERS.len(), 0..SERVERS.len()),
    ) {
        let valid = server(&input(SERVERS[n], first));
        let expected = after(&valid, input(SERVERS[n], second.clone()));
        let separator = if SERVERS[m].is_empty() { "" } else { ", " };
        let invalid = format!("{}{separator}limits: {{perClient: {{requests: 1, per: 48h}}}}", SERVERS[m]);
        let plan = after(&valid, input(&invalid, second));
        prop_assert!(!plan.findings.is_empty());
        let allowed = expected.documents.as_ref().unwrap().policy.clients();
        for client in plan.documents.as_ref().unwrap().policy.clients() {
            let decision = &expected.decisions[&client.id.resolve("sales")].result;
            if matches!(decision, Err(Refusal::SharedCredential { .. })) {
                // Whoever had the same key was taken away.
                continue;
            }
            let Some(allowed) = allowed.iter().find(|allowed| allowed.id == client.id) else {
                return Err(TestCaseError::fail(format!("{} is admitted", client.id)));
            };
            prop_assert!(client.tools.iter().all(|tool| allowed.tools.contains(tool)));
            prop_assert!(client.max_records_per_query <= allowed.max_records_per_query);
            prop_assert!(client.allow_write <= allowed.allow_write && client.suspended >= allowed.suspended);
        }
    }

    /// A grant is an intersection: with the rule that admits the client, and of a client with errors also with what it had.
    #[test]
    fn no_client_is_granted_more_than_its_rule_allows_or_with_errors_more_than_it_had(
        (first, _) in any_clients(),
        (second, _) in any_clients(),
        (n, m) in (0..SERVERS.len(), 0..SERVERS.len()),
    ) {
        let valid = server(&input(SERVERS[n], first));
        let plan = after(&valid, input(SERVERS[m], second));
        let documents = plan.documents.as_ref().unwrap();
        let half = documents.policy.server();
        for client in documents.policy.clients() {
            let name = client.id.resolve("sales");
            let matches = |rule: &&ClientRule| rule.namespaces.from == NamespacesFrom::All || name.namespace == "sales";
            let allow = &half.spec.clients.iter().find(matches).unwrap().allow;
            for granted in &client.tools {
                let tool = half.spec.tools.iter().find(|tool| tool.name == *granted).unwrap();
                prop_assert!(allow.tools.iter().any(|allowed| allowed == "*" || allowed == granted.as_str()));
                prop_assert!(allow.effects.contains(&tool.effect()));
            }
            prop_assert!(client.max_records_per_query <= allow.max_records_per_query.unwrap_or(u32::MAX));
            prop_assert!(allow.limits.is_none_or(|ceiling| is_within(&client.limits, &[ceiling])));
            if !plan.decisions[&name].findings.is_empty() {
                let before = valid.documents.as_ref().unwrap().policy.clients();
                let before = before.iter().find(|before| before.id == client.id && before.uid == client.uid).unwrap();
                prop_assert!(client.tools.iter().all(|tool| before.tools.contains(tool)));
                prop_assert!(client.max_records_per_query <= before.max_records_per_query);
                prop_assert!(client.allow_write <= before.allow_write && client.suspended >= before.suspended);
                prop_assert!(is_within(&client.limits, &before.limits));
            }
        }
    }
}

/// Whether each of the bounds is enforced, or the two limits that a policy has room for are stricter.
fn is_within(limits: &[Rate], bounds: &[Rate]) -> bool {
    let per_time = |rate: &Rate| f64::from(rate.requests) / rate.per.as_millis() as f64;
    bounds.iter().all(|bound| match limits.iter().find(|limit| limit.per == bound.per) {
        Some(limit) => limit.requests <= bound.requests,
        None => limits.len() == 2 && limits.iter().all(|limit| per_time(limit) <= per_time(bound)),
    })
}
