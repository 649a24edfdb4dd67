use super::*;

const ACCESS: &str = "{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: 1}";

#[test]
fn of_two_clients_with_the_same_key_the_older_one_keeps_it() {
    let mut thief = client_of("sales", "a-thief", 1, ACCESS);
    thief.credentials = Some(vec![key_of("bot")]);
    let plan = server(&input("", vec![thief, client_of("sales", "bot", 2, ACCESS)]));
    insta::assert_snapshot!(summary(&plan), @r"
    sales/a-thief: nothing | False IdentityConflict: its API key is also the key of the older client `bot`; a key belongs to one client
    sales/bot: [read] 1 records 60/1m | True Granted: everything that the access requests is granted
    ");
    assert_eq!(plan.documents.unwrap().credentials.clients().len(), 1);
}

#[test]
fn a_client_without_credentials_is_left_out_of_the_policy_only_while_the_published_ones_cannot_be_replaced() {
    let mut revoked = client_of("sales", "revoked", 1, ACCESS);
    revoked.credentials = Some(Vec::new());
    let mut unread = client_of("sales", "unread", 1, ACCESS);
    unread.credentials = None;
    let clients = vec![revoked, unread, client_of("sales", "served", 1, ACCESS)];
    for (is_stuck, expected) in [(false, &["revoked", "served", "unread"][..]), (true, &["served", "unread"])] {
        let mut input = input("", clients.clone());
        input.is_credentials_document_stuck = is_stuck;
        let plan = server(&input);
        let documents = plan.documents.unwrap();
        let served: Vec<_> = documents.policy.clients().iter().map(|client| client.id.as_str()).collect();
        assert_eq!(served, expected);
        assert!(plan.decisions.values().all(|decision| decision.result.is_ok()), "what it is granted stays the same");
    }
}

#[test]
fn each_document_counts_as_published_as_soon_as_it_is_written() {
    let first = server(&input("", vec![])).documents.unwrap();
    let next = server(&input("", vec![client_of("sales", "bot", 1, ACCESS)])).documents.unwrap();
    assert_ne!((&first.policy, &first.credentials), (&next.policy, &next.credentials));
    let mut published = Published::default();
    published.update(Published { policy: Some((&first.policy).into()), credentials: None });
    assert_eq!(published.both(), None, "pods could not serve one document without the other");
    published.update(Published { policy: None, credentials: Some((&first.credentials).into()) });
    published.update(Published { policy: Some((&next.policy).into()), credentials: None });
    assert_eq!(published.both(), Some((&(&next.policy).into(), &(&first.credentials).into())));
}

#[test]
fn the_server_s_own_keys_stay_once_they_are_published() {
    let first = server(&input("", Vec::new()));
    let mut next = input("", Vec::new());
    next.fresh_keys = server_keys([8; 64]);
    assert_eq!(after(&first, next).documents, first.documents);
}

#[test]
fn a_policy_that_would_be_too_large_refuses_the_newest_clients() {
    let clients = (0..9000).map(|n| client_of("sales", &format!("bot-{n:04}"), n, ACCESS)).collect();
    let plan = server(&input("clients: [{maxClients: 10000}]", clients));
    let documents = plan.documents.as_ref().unwrap();
    let bytes = documents.policy.text().len().max(documents.credentials.text().len());
    let admitted = documents.policy.clients().len();
    assert!(bytes <= 1_000_000 && admitted > 3000, "{admitted} clients in {bytes} bytes");
    let refused: Vec<_> = plan.decisions.iter().filter(|(_, decision)| decision.result.is_err()).collect();
    assert_eq!(admitted + refused.len(), 9000);
    assert_eq!(refused[0].0.name, "bot-0000", "the newest client is refused");
    assert!(documents.policy.clients().iter().any(|client| client.id.as_str() == "bot-8999"), "the oldest stays");
}

#[test]
fn requests_may_be_addressed_to_the_service_and_to_the_urls_of_the_spec() {
    let hosts = |urls: &str| {
        let input = input(&format!("urls: [{urls}]"), Vec::new());
        let plan = server(&ServerInput { cluster_domain: "k8s.example".into(), ..input });
        let hosts = plan.documents.map(|documents| documents.policy.server().server.hosts.clone());
        (hosts, lines(&plan.findings))
    };
    let expected =
        ["10.0.0.7", "[fd12::1]", "crm", "crm.example.com", "crm.sales", "crm.sales.svc", "crm.sales.svc.k8s.example"];
    let urls = "'https://CRM.example.com/mcp', 'http://10.0.0.7:30080', 'http://[FD12:0::1]:30080', 'https://crm.example.com:8443'";
    assert_eq!(hosts(urls), (Some(expected.map(String::from).to_vec()), String::new()));
    let (none, findings) = hosts("'https://crm.example.com', 'https://crm.example.com?x=1'");
    assert_eq!(none, None);
    assert!(findings.starts_with("spec.urls[1]: must be a host, optionally with a port and a path"), "{findings}");
}
