use super::*;

#[test]
fn a_server_with_errors_keeps_its_half_while_clients_come_and_go() {
    let access = |tools: &str| format!("{{serverRef: {{name: crm}}, tools: [{tools}], maxRecordsPerQuery: 1}}");
    let bot = client_of("sales", "bot", 3, &access("read, find"));
    let removed = client_of("sales", "removed", 2, &access("read"));
    let valid = server(&input("clients: [{allow: {tools: [read]}}]", vec![bot, removed]));
    let clients = || vec![client_of("sales", "bot", 3, &access("find")), client_of("sales", "new", 1, &access("read"))];

    let mut invalid =
        input("clients: [{allow: {tools: [read, nope]}}], limits: {perClient: {requests: 1, per: 48h}}", clients());
    let plan = after(&valid, invalid.clone());
    let paths: Vec<_> = plan.findings.0.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["spec.limits.perClient.per", "spec.clients[0].allow.tools[1]"]);
    let documents = plan.documents.as_ref().unwrap();
    assert_eq!(documents.policy.server(), valid.documents.as_ref().unwrap().policy.server());
    insta::assert_snapshot!(summary(&plan), @r"
    sales/bot: [] 1 records 60/1m | True ServerInvalid: the McpServer has errors; access is granted by its last valid spec
    sales/new: [read] 1 records 60/1m | True ServerInvalid: the McpServer has errors; access is granted by its last valid spec
    ");

    invalid.server.spec = Err(Findings::from(Finding::new("", "cannot be decoded")).into());
    assert_eq!(
        after(&valid, invalid.clone()).documents,
        plan.documents,
        "a spec that cannot be decoded makes no difference"
    );
    // What the rules take away counts, whatever else is wrong.
    let partial = PartialServerSpec::read(&json!({"clients": [{"allow": {"tools": []}}], "backends": "none"}));
    let mut narrowing = invalid.clone();
    narrowing.server.spec = Err(Undecodable { findings: Finding::new("spec", "cannot be decoded").into(), partial });
    let narrowed = after(&valid, narrowing);
    let tools = |plan: &ServerPlan| {
        let documents = plan.documents.as_ref().unwrap();
        documents.policy.clients().iter().map(|client| client.tools.len()).sum::<usize>()
    };
    assert_eq!((tools(&plan), tools(&narrowed)), (1, 0));
    let of_backends = |plan: &ServerPlan| plan.documents.as_ref().unwrap().policy.server().spec.backends.clone();
    assert_eq!(of_backends(&narrowed), of_backends(&valid));
    let refusing = after(&valid, input("clients: [], limits: {perClient: {requests: 1, per: 48h}}", clients()));
    assert_eq!(refusing.documents.unwrap().policy.clients(), []);

    let never_valid = server(&invalid);
    assert_eq!((never_valid.documents.clone(), never_valid.findings.0.len()), (None, 1));
    insta::assert_snapshot!(summary(&never_valid), @r"
    sales/bot: nothing | False ServerInvalid: the McpServer has errors and was never valid; its status names them
    sales/new: nothing | False ServerInvalid: the McpServer has errors and was never valid; its status names them
    ");
}

#[test]
fn a_client_with_errors_keeps_only_what_it_had_and_still_requests() {
    const BEFORE: &str = "{serverRef: {name: crm}, tools: [read, write], maxRecordsPerQuery: 10, allowWrite: true, limits: {requests: 30, per: 1m}}";
    let valid = server(&input("", vec![client_of("sales", "bot", 0, BEFORE)]));
    let mut table = String::new();
    for (what, access) in [
        (
            "the server is named twice, with other tools",
            "{serverRef: {name: crm}, tools: [read, find], maxRecordsPerQuery: 99, allowWrite: true},
             {serverRef: {name: crm, namespace: sales}, tools: [], maxRecordsPerQuery: 99}",
        ),
        (
            "a limit over too long a span, and less of everything",
            "{serverRef: {name: crm}, tools: ['*'], maxRecordsPerQuery: 3, limits: {requests: 900, per: 48h}}",
        ),
        (
            "a limit that two pods cannot share",
            "{serverRef: {name: crm}, tools: ['*'], maxRecordsPerQuery: 99, allowWrite: true, limits: {requests: 1, per: 1m}}",
        ),
    ] {
        let plan = after(&valid, input("replicas: 2", vec![client_of("sales", "bot", 0, access)]));
        writeln!(table, "# {what}\n{}", summary(&plan)).unwrap();
        let fresh = server(&input("replicas: 2", vec![client_of("sales", "bot", 0, access)]));
        assert_eq!(fresh.decisions[&NamespacedName::new("sales", "bot")].result, Err(Refusal::Invalid));
    }
    let mut undecodable = client_object("sales", "bot", 0, BEFORE);
    undecodable.spec = Err(Findings::from(Finding::new("", "cannot be decoded")).into());
    let input_of = |object: &Object<_>| ClientInput { client: CheckedClient::new(object.clone()), credentials: None };
    let plan = after(&valid, input("clients: [{allow: {tools: [read]}}]", vec![input_of(&undecodable)]));
    writeln!(table, "# it cannot be decoded, its keys cannot be read, and the rule was narrowed\n{}", summary(&plan))
        .unwrap();
    assert_eq!(plan.documents.unwrap().credentials.clients()[0].api_keys, [digest_of("bot")]);
    undecodable.metadata.uid = Some("another".into());
    let plan = after(&valid, input("", vec![input_of(&undecodable)]));
    writeln!(table, "# it cannot be decoded, and is not the client that had access\n{}", summary(&plan)).unwrap();
    let few = server(&input("", vec![client_of("sales", "bot", 0, &BEFORE.replace("30", "1"))]));
    let plan = after(&few, input("replicas: 2", vec![client_of("sales", "bot", 0, &BEFORE.replace("30", "1"))]));
    writeln!(table, "# pods were added until they cannot share its limit\n{}", summary(&plan)).unwrap();
    insta::assert_snapshot!(table);
}

#[test]
fn every_field_of_a_server_that_is_wrong_is_named() {
    let mut broken = server_with(
        "replicas: 9, limits: {perClient: {requests: 8, per: 1m}}, clients: [{allow: {limits: {requests: 2, per: 1m}}}],
         pod: {resources: {requests: {cpu: 2, memory: lots}, limits: {cpu: 1500m}}}",
    );
    broken.metadata.name = Some("C.rm".into());
    insta::assert_snapshot!(lines(&server_half(&broken, CLUSTER_DOMAIN).unwrap_err()));
}

#[test]
fn a_union_without_exactly_one_member_hides_no_other_finding() {
    let mut broken = server_with("limits: {perClient: {requests: 1, per: 48h}}");
    broken.metadata.name = Some("C.rm".into());
    let spec = broken.spec.as_mut().unwrap();
    spec.backends.push(serde_yaml::from_str("{name: neither}").unwrap());
    for tool in [
        "{name: both, description: x, backend: fixed, http: {method: GET, path: /x}, static: {text: hi}, timeout: 1ms}",
        "{name: none, description: x, backend: neither}",
        "{name: calls, description: x, backend: neither, http: {method: GET, path: '/{id}'}}",
    ] {
        spec.tools.push(serde_yaml::from_str(tool).unwrap());
    }
    insta::assert_snapshot!(lines(&server_half(&broken, CLUSTER_DOMAIN).unwrap_err()), @r"
    spec.backends[1]: exactly one of http and static must be set
    spec.tools[3]: exactly one of http and static must be set
    spec.tools[4]: exactly one of http and static must be set
    spec.limits.perClient.per: must be from 1s to 24h
    spec.tools[3].timeout: must be from 10ms to 10m
    spec.tools[5].http.path: `id` is not a property of inputSchema; its properties: none
    metadata.name: must be a DNS label of at most 40 characters that begins with a letter: the name of the Service is derived from it
    ");
}

#[test]
fn every_field_of_a_client_that_is_wrong_is_named() {
    let client = client_object(
        "sales",
        "bot",
        0,
        "{serverRef: {name: crm}, tools: [], maxRecordsPerQuery: 1},
         {serverRef: {name: crm, namespace: sales}, tools: [], maxRecordsPerQuery: 1, limits: {requests: 1, per: 1ms}}",
    );
    insta::assert_snapshot!(lines(CheckedClient::new(client).findings()), @r"
    spec.access[1].serverRef: `sales/crm` is also named by spec.access[0]; name each server once
    spec.access[1].limits.per: must be from 1s to 24h
    ");
}

/// A client that had access, and whose spec cannot be decoded as a whole.
#[test]
fn what_takes_access_away_counts_although_the_rest_of_the_client_cannot_be_decoded() {
    const BEFORE: &str = "{serverRef: {name: crm}, tools: [read, find], maxRecordsPerQuery: 10}";
    let valid = server(&input("", vec![client_of("sales", "bot", 0, BEFORE)]));
    let mut table = String::new();
    for spec in [
        "{access: everything}",
        "{access: everything, suspended: true}",
        "{access: everything, expiresAt: soon}",
        "{access: everything, expiresAt: '2020-01-01T00:00:00Z'}",
        "{access: [], later: 1}",
        "{access: [{serverRef: {name: 'crm..old'}, tools: [read], maxRecordsPerQuery: 10}]}",
        "{access: [{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: many}]}",
        "{access: [{serverRef: {name: crm}, tools: [read, write], maxRecordsPerQuery: 99, allowWrite: 'yes'}, 7]}",
    ] {
        let mut undecodable = client_object("sales", "bot", 0, BEFORE);
        let partial = PartialClientSpec::read(&serde_yaml::from_str(spec).unwrap());
        let findings = Finding::new("spec", "cannot be decoded").into();
        undecodable.spec = Err(Undecodable { findings, partial });
        let bot = ClientInput { client: CheckedClient::new(undecodable), credentials: None };
        let documents = after(&valid, input("", vec![bot])).documents.unwrap();
        let clients = documents.policy.clients().iter().map(|client| {
            let tools: Vec<_> = client.tools.iter().map(ToolName::as_str).collect();
            let expires = client.expires_at.as_ref().map(|at| at.0.to_string());
            format!(
                "{tools:?} {} {} {} {expires:?}",
                client.max_records_per_query, client.allow_write, client.suspended
            )
        });
        let clients: Vec<_> = clients.collect();
        writeln!(table, "{spec}\n    {}", clients.join("; ")).unwrap();
    }
    insta::assert_snapshot!(table, @r#"
    {access: everything}
        ["find", "read"] 10 false false None
    {access: everything, suspended: true}
        ["find", "read"] 10 false true None
    {access: everything, expiresAt: soon}
        ["find", "read"] 10 false true None
    {access: everything, expiresAt: '2020-01-01T00:00:00Z'}
        ["find", "read"] 10 false false Some("2020-01-01T00:00:00Z")
    {access: [], later: 1}
        
    {access: [{serverRef: {name: 'crm..old'}, tools: [read], maxRecordsPerQuery: 10}]}
        
    {access: [{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: many}]}
        ["read"] 10 false false None
    {access: [{serverRef: {name: crm}, tools: [read, write], maxRecordsPerQuery: 99, allowWrite: 'yes'}, 7]}
        ["read"] 10 false false None
    "#);
}
