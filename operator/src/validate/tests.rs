use std::{collections::BTreeMap, fmt::Write};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_crds::{
    Finding, Findings, McpClient, McpServer,
    contract::{ApiKeyDigest, KeyDigest, PolicyClient},
};
use proptest::prelude::*;

use super::*;
use crate::credentials::server_keys;
use crate::object::Object;

/// A server with a tool that reads and one that writes, and these fields more.
fn server_with(more: &str) -> Object<portcullis_crds::McpServerSpec> {
    let text = format!(
        "{{apiVersion: portcullis.dev/v1alpha1, kind: McpServer, metadata: {{name: crm, namespace: sales, uid: s}},
          spec: {{backends: [{{name: fixed, static: {{}}}}],
            tools: [
              {{name: read, description: x, backend: fixed, static: {{text: hi}}}},
              {{name: find, description: x, backend: fixed, static: {{text: hi}}}},
              {{name: write, description: x, backend: fixed, effect: Write, static: {{text: hi}}}}],
            {more}}}}}"
    );
    serde_yaml::from_str::<McpServer>(&text).unwrap().into()
}

/// A client that is `age` seconds old, with a key of its own.
fn client_of(namespace: &str, name: &str, age: i64, access: &str) -> ClientInput {
    let text = format!(
        "{{apiVersion: portcullis.dev/v1alpha1, kind: McpClient,
          metadata: {{name: {name}, namespace: {namespace}, uid: {namespace}-{name}}},
          spec: {{access: [{access}], credentials: {{apiKey: {{secretName: {name}-key}}}}}}}}"
    );
    let mut client: McpClient = serde_yaml::from_str(&text).unwrap();
    let born = Timestamp::from_second(1_000_000_000 - age).unwrap();
    client.metadata.creation_timestamp = Some(Time(born));
    ClientInput { client: client.into(), keys: Some(vec![key_of(name)]) }
}

fn key_of(name: &str) -> ApiKeyDigest {
    let sha256 = KeyDigest::of(name.as_bytes());
    ApiKeyDigest { id: sha256.key_id(), sha256 }
}

fn input(server: &str, clients: Vec<ClientInput>) -> ServerInput {
    ServerInput {
        server: server_with(server),
        clients,
        published: Published::default(),
        fresh_keys: server_keys([7; 64]),
    }
}

/// What comes of it once this plan is published.
fn after(plan: &ServerPlan, mut next: ServerInput) -> ServerPlan {
    let documents = plan.documents.clone().unwrap();
    next.published = Published::from(&documents);
    super::server(&next)
}

fn rates(client: &PolicyClient) -> String {
    client.limits.iter().map(|rate| format!("{}/{}", rate.requests, rate.per)).collect::<Vec<_>>().join(" ")
}

/// Each client's grant, and what its status says, a line each.
fn told(plan: &ServerPlan) -> String {
    let mut text = String::new();
    for (name, outcome) in &plan.outcomes {
        let granted = plan
            .documents
            .iter()
            .flat_map(|documents| documents.policy.clients())
            .find(|client| client.id.as_str() == name.name || client.id.as_str() == name.to_string());
        let granted = granted.map_or("nothing".to_owned(), |client| {
            let tools: Vec<_> = client.tools.iter().map(|tool| tool.as_str()).collect();
            let writes = if client.allow_write { " writes" } else { "" };
            format!("[{}] {} records{writes} {}", tools.join(" "), client.max_records_per_query, rates(client))
        });
        let accepted = format!("{} {}", outcome.accepted.is_true(), outcome.accepted.reason);
        writeln!(text, "{name}: {granted} | {accepted}: {}", outcome.accepted.message).unwrap();
        if !outcome.resolved_refs.is_true() {
            writeln!(text, "    {}: {}", outcome.resolved_refs.reason, outcome.resolved_refs.message).unwrap();
        }
    }
    text
}

#[test]
fn a_grant_is_what_is_asked_within_what_the_rule_allows() {
    const ALL: &str = "{serverRef: {name: crm}, tools: ['*'], maxRecordsPerQuery: 100, allowWrite: true}";
    const READS: &str = "{serverRef: {name: crm}, tools: ['*'], maxRecordsPerQuery: 100}";
    const NAMED: &str = "{serverRef: {name: crm}, tools: [read, write, gone], maxRecordsPerQuery: 100}";
    const FAST: &str =
        "{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: 100, limits: {requests: 900, per: 1m}}";
    let rule = |allow: &str| format!("clients: [{{allow: {{{allow}}}}}]");
    let mut table = String::new();
    for (what, spec, access) in [
        ("everything, no rule stated", String::new(), ALL),
        ("everything without allowWrite", String::new(), READS),
        ("named tools, one that writes and one that isn't there", String::new(), NAMED),
        ("a limit of its own", String::new(), FAST),
        ("a rule for reading alone", rule("effects: [Read]"), ALL),
        ("a rule for one tool", rule("tools: [find]"), NAMED),
        ("a rule with fewer records", rule("maxRecordsPerQuery: 5"), ALL),
        ("a ceiling below the server's own limit", rule("limits: {requests: 10, per: 1m}"), ALL),
        ("a ceiling below what is asked", rule("limits: {requests: 600, per: 1m}"), FAST),
        ("a ceiling over another span", rule("limits: {requests: 5000, per: 1h}"), FAST),
        ("no rule at all", "clients: []".to_owned(), ALL),
    ] {
        let plan = server(&input(&spec, vec![client_of("sales", "bot", 0, access)]));
        assert_eq!(plan.findings, Findings::default(), "{what}");
        writeln!(table, "# {what}\n{}", told(&plan)).unwrap();
    }
    insta::assert_snapshot!(table);
}

fn server(input: &ServerInput) -> ServerPlan {
    super::server(input)
}

#[test]
fn the_first_rule_that_matches_decides_and_no_match_is_no() {
    let rules = "clients: [
        {namespaces: {from: Same}, allow: {tools: [read]}},
        {namespaces: {from: All}, allow: {tools: [find]}}]";
    let access = "{serverRef: {name: crm, namespace: sales}, tools: ['*'], maxRecordsPerQuery: 1}";
    let clients = || vec![client_of("sales", "bot", 0, access), client_of("team", "bot2", 0, access)];
    insta::assert_snapshot!(told(&server(&input(rules, clients()))), @r"
    sales/bot: [read] 1 records 60/1m | true Granted: what is asked for is granted
    team/bot2: [find] 1 records 60/1m | true Granted: what is asked for is granted
    ");
    insta::assert_snapshot!(told(&server(&input("", clients()))), @r"
    sales/bot: [find read] 1 records 60/1m | true Granted: what is asked for is granted
    team/bot2: nothing | false NotAllowed: no rule in the McpServer's spec.clients admits clients of namespace `team`
    ");
}

#[test]
fn of_too_many_clients_the_oldest_are_admitted_and_of_one_age_by_name() {
    let access = "{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: 1}";
    let ages = [("a", 1), ("b", 3), ("c", 2), ("d", 2)];
    let clients = ages.map(|(name, age)| client_of("sales", name, age, access));
    let plan = server(&input("clients: [{maxClients: 2}]", clients.into()));
    let admitted: Vec<_> =
        plan.outcomes.iter().filter(|(_, it)| it.granted.is_some()).map(|(it, _)| &it.name).collect();
    assert_eq!(admitted, ["b", "c"]);
    assert_eq!(plan.outcomes.values().next().unwrap().accepted.reason.as_str(), "TooManyClients");
}

#[test]
fn of_two_clients_with_one_key_the_older_has_it() {
    let access = "{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: 1}";
    let mut thief = client_of("sales", "a-thief", 1, access);
    thief.keys = Some(vec![key_of("bot")]);
    let plan = server(&input("", vec![thief, client_of("sales", "bot", 2, access)]));
    insta::assert_snapshot!(told(&plan), @r"
    sales/a-thief: nothing | false IdentityConflict: its API key is that of the older client `bot`; a key names one client
    sales/bot: [read] 1 records 60/1m | true Granted: what is asked for is granted
    ");
    assert_eq!(plan.documents.unwrap().credentials.clients().len(), 1);
}

#[test]
fn an_invalid_server_keeps_its_half_while_clients_come_and_go() {
    let access = |tools: &str| format!("{{serverRef: {{name: crm}}, tools: [{tools}], maxRecordsPerQuery: 1}}");
    let bot = client_of("sales", "bot", 3, &access("read, find"));
    let gone = client_of("sales", "gone", 2, &access("read"));
    let good = server(&input("clients: [{allow: {tools: [read]}}]", vec![bot, gone]));
    let clients = || vec![client_of("sales", "bot", 3, &access("find")), client_of("sales", "new", 1, &access("read"))];

    let mut invalid =
        input("clients: [{allow: {tools: [read, nope]}}], limits: {perClient: {requests: 1, per: 48h}}", clients());
    let plan = after(&good, invalid.clone());
    let paths: Vec<_> = plan.findings.0.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["spec.limits.perClient.per", "spec.clients[0].allow.tools[1]"]);
    let documents = plan.documents.as_ref().unwrap();
    assert_eq!(documents.policy.server(), good.documents.as_ref().unwrap().policy.server());
    insta::assert_snapshot!(told(&plan), @r"
    sales/bot: [] 1 records 60/1m | true ServerInvalid: the McpServer has errors; what its last valid spec allows is granted
    sales/new: [read] 1 records 60/1m | true ServerInvalid: the McpServer has errors; what its last valid spec allows is granted
    ");

    invalid.server.spec = Err(Finding::new("", "can't be decoded").into());
    assert_eq!(after(&good, invalid.clone()).documents, plan.documents, "as when it can't be decoded at all");
    let never_valid = super::server(&invalid);
    assert_eq!((never_valid.documents.clone(), never_valid.findings.0.len()), (None, 1));
    assert!(told(&never_valid).contains("sales/new: nothing | false ServerInvalid"), "{}", told(&never_valid));
}

#[test]
fn an_invalid_client_keeps_only_what_it_had_and_still_asks_for() {
    const HAD: &str = "{serverRef: {name: crm}, tools: [read, write], maxRecordsPerQuery: 10, allowWrite: true, limits: {requests: 30, per: 1m}}";
    let good = server(&input("", vec![client_of("sales", "bot", 0, HAD)]));
    let mut table = String::new();
    for (what, access) in [
        (
            "the server named twice, by one that asks for other tools",
            "{serverRef: {name: crm}, tools: [read, find], maxRecordsPerQuery: 99, allowWrite: true},
             {serverRef: {name: crm, namespace: sales}, tools: [], maxRecordsPerQuery: 99}",
        ),
        (
            "a limit over too long a span, and less of everything",
            "{serverRef: {name: crm}, tools: ['*'], maxRecordsPerQuery: 3, limits: {requests: 900, per: 48h}}",
        ),
        (
            "a limit that no pod of two could keep",
            "{serverRef: {name: crm}, tools: ['*'], maxRecordsPerQuery: 99, allowWrite: true, limits: {requests: 1, per: 1m}}",
        ),
    ] {
        let plan = after(&good, input("replicas: 2", vec![client_of("sales", "bot", 0, access)]));
        writeln!(table, "# {what}\n{}", told(&plan)).unwrap();
        let fresh = server(&input("replicas: 2", vec![client_of("sales", "bot", 0, access)]));
        assert!(told(&fresh).starts_with("sales/bot: nothing | false Invalid: "), "never had: {}", told(&fresh));
    }
    let mut undecodable = client_of("sales", "bot", 0, HAD);
    undecodable.client.spec = Err(Finding::new("", "can't be decoded").into());
    undecodable.keys = None;
    let plan = after(&good, input("clients: [{allow: {tools: [read]}}]", vec![undecodable.clone()]));
    writeln!(table, "# it can't be decoded, and its keys not be read; the rule was narrowed\n{}", told(&plan)).unwrap();
    assert_eq!(plan.documents.unwrap().credentials.clients()[0].api_keys, [key_of("bot")]);
    undecodable.client.metadata.uid = Some("another".into());
    let plan = after(&good, input("", vec![undecodable]));
    writeln!(table, "# it can't be decoded, and is not the client that had it\n{}", told(&plan)).unwrap();
    insta::assert_snapshot!(table);
}

#[test]
fn who_is_gone_or_going_or_names_another_server_has_nothing() {
    let access = "{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: 1}";
    let other = "{serverRef: {name: erp}, tools: [read], maxRecordsPerQuery: 1}";
    let good = server(&input("", vec![client_of("sales", "a", 0, access), client_of("sales", "b", 0, access)]));
    let mut going = client_of("sales", "a", 0, access);
    going.client.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let plan = after(&good, input("", vec![going, client_of("sales", "b", 0, other)]));
    let documents = plan.documents.unwrap();
    assert_eq!((documents.policy.clients().len(), documents.credentials.clients().len()), (0, 0));
    assert!(plan.outcomes.is_empty());
}

#[test]
fn each_document_counts_as_published_as_soon_as_it_is_written() {
    let first = server(&input("", vec![])).documents.unwrap();
    let next = server(&input(
        "",
        vec![client_of("sales", "bot", 1, "{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: 10}")],
    ))
    .documents
    .unwrap();
    assert_ne!((&first.policy, &first.credentials), (&next.policy, &next.credentials));
    let mut published = Published::default();
    published.update(Published { policy: Some((&first.policy).into()), credentials: None });
    assert_eq!(published.both(), None, "half of it is nothing that pods could serve");
    published.update(Published { policy: None, credentials: Some((&first.credentials).into()) });
    published.update(Published { policy: Some((&next.policy).into()), credentials: None });
    assert_eq!(published.both(), Some((&(&next.policy).into(), &(&first.credentials).into())));
}

#[test]
fn the_server_s_keys_stay_once_they_are_published() {
    let good = server(&input("", Vec::new()));
    let mut next = input("", Vec::new());
    next.fresh_keys = server_keys([8; 64]);
    assert_eq!(after(&good, next).documents, good.documents);
}

#[test]
fn a_policy_that_would_be_too_large_refuses_the_newest_clients() {
    let access = "{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: 1}";
    let clients = (0..9000).map(|n| client_of("sales", &format!("bot-{n:04}"), n, access)).collect();
    let plan = server(&input("clients: [{maxClients: 10000}]", clients));
    let documents = plan.documents.as_ref().unwrap();
    let bytes = documents.policy.text().len().max(documents.credentials.text().len());
    let admitted = documents.policy.clients().len();
    assert!(bytes <= 1_000_000 && admitted > 3000, "{admitted} clients in {bytes} bytes");
    let refused: Vec<_> = plan.outcomes.iter().filter(|(_, outcome)| outcome.granted.is_none()).collect();
    assert_eq!(admitted + refused.len(), 9000);
    assert_eq!(refused[0].0.name, "bot-0000", "the newest");
    assert!(documents.policy.clients().iter().any(|client| client.id.as_str() == "bot-8999"), "the oldest");
}

#[test]
fn an_invalid_server_is_told_every_field() {
    let mut broken = server_with(
        "replicas: 9, limits: {perClient: {requests: 8, per: 1m}}, clients: [{allow: {limits: {requests: 2, per: 1m}}}],
         pod: {resources: {requests: {cpu: 2, memory: lots}, limits: {cpu: 1500m}}}",
    );
    broken.metadata.name = Some("C.rm".into());
    insta::assert_snapshot!(findings(&broken).0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_client_that_names_a_server_twice_is_told_so() {
    let client = client_of(
        "sales",
        "bot",
        0,
        "{serverRef: {name: crm}, tools: [], maxRecordsPerQuery: 1},
         {serverRef: {name: crm, namespace: sales}, tools: [], maxRecordsPerQuery: 1, limits: {requests: 1, per: 1ms}}",
    );
    let found = super::client("sales", client.client.spec.as_ref().unwrap());
    insta::assert_snapshot!(found.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @r"
    spec.access[1].serverRef: `sales/crm` is what spec.access[0] names too; name each server once
    spec.access[1].limits.per: must be from 1s to 24h
    ");
}

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
        let by_name: BTreeMap<_, _> = clients.into_iter().map(|it| (it.client.namespaced_name(), it)).collect();
        by_name.into_values().collect::<Vec<_>>()
    };
    let clients = prop::collection::vec(any_client(), 0..8).prop_map(distinct);
    clients.prop_flat_map(|clients| (Just(clients.clone()), Just(clients).prop_shuffle()))
}

const SERVERS: [&str; 4] = [
    "",
    "replicas: 3, clients: [{maxClients: 2}]",
    "clients: [{namespaces: {from: All}, allow: {tools: [read, write], effects: [Write], maxRecordsPerQuery: 7, limits: {requests: 5, per: 1h}}}]",
    "clients: [{allow: {limits: {requests: 70, per: 1m}}}, {namespaces: {from: All}, maxClients: 3}]",
];

proptest! {
    #[test]
    fn the_order_of_the_clients_does_not_matter((clients, shuffled) in any_clients(), n in 0..SERVERS.len()) {
        let plan = server(&input(SERVERS[n], clients));
        prop_assert!(plan.documents.is_some() && plan.findings.is_empty(), "{}", plan.findings);
        prop_assert_eq!(&server(&input(SERVERS[n], shuffled)), &plan);
    }

    /// Whatever was in force, and whatever comes after: nobody gets more than the server's rules and its own words allow,
    /// and there is always something to publish.
    #[test]
    fn nobody_ever_has_more_than_was_asked(
        (first, _) in any_clients(),
        (second, _) in any_clients(),
        (n, m) in (0..SERVERS.len(), 0..SERVERS.len()),
        server_is_broken in any::<bool>(),
    ) {
        let good = server(&input(SERVERS[n], first));
        let mut next = input(SERVERS[m], second.clone());
        if server_is_broken {
            next.server.spec = Err(Finding::new("", "can't be decoded").into());
        }
        let plan = after(&good, next);
        let documents = plan.documents.as_ref().unwrap();
        for client in documents.policy.clients() {
            let asking = second.iter().find(|it| it.client.uid() == client.uid).unwrap();
            let access = &asking.client.spec.as_ref().unwrap().access[0];
            let asked = |tool: &str| access.tools.iter().any(|asked| asked == "*" || asked == tool);
            prop_assert!(client.tools.iter().all(|tool| asked(tool.as_str())));
            prop_assert!(client.max_records_per_query <= access.max_records_per_query);
            prop_assert!(access.allow_write || (!client.allow_write && !client.tools.iter().any(|it| it.as_str() == "write")));
        }
        let ids = |clients: Vec<&portcullis_crds::ClientId>| clients.into_iter().cloned().collect::<Vec<_>>();
        prop_assert_eq!(
            ids(documents.policy.clients().iter().map(|client| &client.id).collect()),
            ids(documents.credentials.clients().iter().map(|client| &client.id).collect())
        );
    }
}
