//! Conditions on arguments: those of the access and of the rule hold together, and what no call could meet is refused.

use super::*;

/// A server whose tool `find` has an argument `region`.
fn input_with(rules: &str, access: &str) -> ServerInput {
    let mut input = input(rules, vec![client_of("sales", "bot", 0, access)]);
    let spec = input.server.spec.as_mut().unwrap();
    let find = spec.tools.iter_mut().find(|tool| tool.name.as_str() == "find").unwrap();
    let schema = json!({"type": "object", "properties": {"region": {"type": "string"}, "limit": {"type": "integer"}}});
    find.input_schema = serde_json::from_value(schema).unwrap();
    input
}

fn access(tools: &str, conditions: &str) -> String {
    format!("{{serverRef: {{name: crm}}, tools: [{tools}], maxRecordsPerQuery: 9, where: [{conditions}]}}")
}

/// The names and tools of the conditions in the policy; what else the client is told.
fn conditions(plan: &ServerPlan) -> (Vec<String>, String) {
    let policy = plan.documents.iter().flat_map(|documents| documents.policy.clients());
    let all = policy.into_iter().flat_map(|client| &client.conditions);
    (all.map(|it| format!("{}:{}", it.tool, it.name)).collect(), summary(plan))
}

const EU: &str = "{name: own-region, tool: find, argument: /region, in: [EU]}";
const FEW: &str = "{name: few, tool: find, argument: /limit, maximum: 10}";

#[test]
fn those_of_the_access_and_of_the_rule_hold_together_for_the_tools_that_are_granted() {
    let rule = |where_: &str| format!("clients: [{{allow: {{where: [{where_}]}}}}]");
    for (rules, requested, expected, said) in [
        (String::new(), access("find", EU), vec!["find:own-region"], "everything that the access requests is granted"),
        (
            rule(FEW),
            access("'*'", EU),
            vec!["find:few", "find:own-region"],
            "the rule sets the condition `few` on the arguments of `find`",
        ),
        (rule(EU), access("find", EU), vec!["find:own-region"], "everything that the access requests is granted"),
        (rule(EU), access("read", ""), vec![], "everything that the access requests is granted"),
    ] {
        let plan = server(&input_with(&rules, &requested));
        assert_eq!(plan.findings, Findings::default());
        let (found, summary) = conditions(&plan);
        assert_eq!(found, expected, "{rules} {requested}");
        assert!(summary.contains(said), "{summary}");
    }
}

#[test]
fn a_condition_that_no_call_can_meet_is_refused_and_the_client_keeps_what_it_had() {
    let before = server(&input_with("", &access("find", EU)));
    for (tools, condition, said) in [
        (
            "find",
            "{name: a, tool: find, argument: /regoin, in: [EU]}",
            "spec.access[0].where[0]: `/regoin` is not an argument of `find`",
        ),
        (
            "find",
            "{name: a, tool: find, argument: /region, in: [1]}",
            "no value that `/region` of `find` can have meets it",
        ),
        (
            "find",
            "{name: a, tool: find, argument: /limit, minimum: 3, maximum: 2}",
            "spec.access[0].where[0].minimum: must not be above",
        ),
        (
            "find",
            "{name: a, tool: find, argument: /region/0, in: [EU]}",
            "spec.access[0].where[0].argument: must be a JSON pointer",
        ),
        (
            "find",
            "{name: a, tool: fnd, argument: /region, in: [EU]}",
            "where[0].tool: `fnd` is not in the `tools` of this access (did you mean `find`?)",
        ),
        ("find", &format!("{EU}, {EU}"), "spec.access[0].where[1].name: `own-region` appears twice"),
    ] {
        let next = || input_with("", &access(tools, condition));
        let (found, summary) = conditions(&server(&next()));
        assert!(found.is_empty() && summary.contains(said) && summary.contains("nothing |"), "{summary}");
        let (kept, summary) = conditions(&after(&before, next()));
        assert!(kept.contains(&"find:own-region".to_owned()) && summary.contains(said), "{kept:?} {summary}");
    }
    let (_, summary) =
        conditions(&server(&input_with("", &access("'*'", "{name: a, tool: fnd, argument: /x, in: [1]}"))));
    assert!(summary.contains("ToolNotFound: not a tool of the McpServer: `fnd` (did you mean `find`?)"), "{summary}");

    for (condition, said) in [
        (
            "{name: a, tool: fnd, argument: /region, in: [EU]}",
            "spec.clients[0].allow.where[0].tool: `fnd` is not a tool of this server (did you mean `find`?)",
        ),
        (
            "{name: a, tool: find, argument: /limit, prefix: x}",
            "spec.clients[0].allow.where[0]: no value that `/limit` of `find` can have",
        ),
        (
            "{name: a, tool: find, argument: /limit, prefix: ../x}",
            "spec.clients[0].allow.where[0].prefix: must not be empty",
        ),
    ] {
        let plan = server(&input_with(&format!("clients: [{{allow: {{where: [{condition}]}}}}]"), &access("find", "")));
        assert!(lines(&plan.findings).contains(said), "{}", lines(&plan.findings));
    }
}

/// Whatever else is wrong with the client: what takes access away counts.
#[test]
fn a_condition_counts_although_the_client_has_errors() {
    let before = server(&input_with("", &access("find", "")));
    assert_eq!(conditions(&before).0, [] as [&str; 0]);
    let twice = format!("{}, {}", access("find", EU), access("find", FEW));
    let (found, _) = conditions(&after(&before, input_with("", &twice)));
    assert_eq!(found, ["find:few", "find:own-region"]);
}

/// However often a client with errors is edited: no condition is lost, and the policy does not grow.
#[test]
fn a_tool_with_too_many_conditions_is_not_granted() {
    let mut plan = server(&input_with("", &access("find, read", "")));
    for round in 0..5 {
        let many: Vec<String> = (0..31)
            .map(|n| format!("{{name: c-{round}-{n}, tool: find, argument: /region, prefix: p{n}}}"))
            .chain([EU.replace("find, argument", "fnd, argument")])
            .collect();
        plan = after(&plan, input_with("", &access("find, read", &many.join(", "))));
        let policy = plan.documents.as_ref().unwrap().policy.clients();
        let (tools, conditions) = (policy[0].tools.len(), policy[0].conditions.len());
        let expected = if round < 4 { (2, 31 * (round + 1)) } else { (1, 0) };
        assert_eq!((tools, conditions), expected, "{round}");
    }
}
