use portcullis_crds::{
    Duration,
    contract::{Effect, Rate},
};

use super::*;

const ALL: &str = "{serverRef: {name: crm}, tools: ['*'], maxRecordsPerQuery: 100, allowWrite: true}";
const READS: &str = "{serverRef: {name: crm}, tools: ['*'], maxRecordsPerQuery: 100}";
const NAMED: &str = "{serverRef: {name: crm}, tools: [read, write, gone], maxRecordsPerQuery: 100}";
const FAST: &str = "{serverRef: {name: crm}, tools: [read], maxRecordsPerQuery: 100, limits: {requests: 900, per: 1m}}";

fn rule(allow: &str) -> String {
    format!("clients: [{{allow: {{{allow}}}}}]")
}

#[test]
fn a_grant_is_what_is_requested_within_what_the_rule_allows() {
    let mut table = String::new();
    for (what, spec, access) in [
        ("everything, and the server has no rules", String::new(), ALL),
        ("everything without allowWrite", String::new(), READS),
        ("named tools, of which one writes and one does not exist", String::new(), NAMED),
        ("a limit of its own", String::new(), FAST),
        ("everything, and the rule allows tools that read", rule("effects: [Read]"), ALL),
        ("named tools, and the rule allows tools that write", rule("effects: [Write]"), NAMED),
        ("named tools, and the rule allows another one", rule("tools: [find]"), NAMED),
        ("more records than the rule allows", rule("maxRecordsPerQuery: 5"), ALL),
        ("the server's limit, which is above the rule's ceiling", rule("limits: {requests: 10, per: 1m}"), ALL),
        ("a limit above the rule's ceiling", rule("limits: {requests: 600, per: 1m}"), FAST),
        ("a limit over another span than the rule's ceiling", rule("limits: {requests: 5000, per: 1h}"), FAST),
        ("everything, and no rule admits anybody", "clients: []".to_owned(), ALL),
    ] {
        let plan = server(&input(&spec, vec![client_of("sales", "bot", 0, access)]));
        assert_eq!(plan.findings, Findings::default(), "{what}");
        writeln!(table, "# {what}\n{}", summary(&plan)).unwrap();
    }
    insta::assert_snapshot!(table);
}

fn grant(spec: &str, access: &str) -> Grant {
    let mut plan = server(&input(spec, vec![client_of("sales", "bot", 0, access)]));
    plan.decisions.remove(&NamespacedName::new("sales", "bot")).unwrap().result.unwrap()
}

#[test]
fn the_decision_about_each_tool_names_what_it_follows_from() {
    use ToolDecision::{EffectNotAllowed, Granted, NoSuchTool, NotRequested, ToolNotAllowed, WriteNotRequested};
    for (spec, access, decisions) in [
        (String::new(), ALL, vec![("find", Granted), ("read", Granted), ("write", Granted)]),
        (String::new(), READS, vec![("find", Granted), ("read", Granted), ("write", WriteNotRequested)]),
        (
            String::new(),
            NAMED,
            vec![("find", NotRequested), ("read", Granted), ("write", WriteNotRequested), ("gone", NoSuchTool)],
        ),
        (
            rule("tools: [find, write], effects: [Read]"),
            ALL,
            vec![("find", Granted), ("read", ToolNotAllowed), ("write", EffectNotAllowed(Effect::Write))],
        ),
    ] {
        assert_eq!(grant(&spec, access).tools().collect::<Vec<_>>(), decisions, "{spec} {access}");
    }
}

#[test]
fn the_decision_about_each_number_names_the_bound_that_it_is() {
    let minute = |requests| Rate::new(requests, Duration::from_secs(60)).unwrap();
    for (spec, access, records, limit) in [
        (String::new(), ALL, (100, Bound::Request), (minute(60), Bound::Server)),
        (String::new(), FAST, (100, Bound::Request), (minute(900), Bound::Request)),
        (
            rule("maxRecordsPerQuery: 5, limits: {requests: 600, per: 1m}"),
            FAST,
            (5, Bound::Rule),
            (minute(600), Bound::Rule),
        ),
    ] {
        let grant = grant(&spec, access);
        assert_eq!(grant.records(), RecordsDecision { max: records.0, bound: records.1 });
        assert_eq!(grant.limits(), [LimitDecision { rate: limit.0, bound: limit.1 }]);
    }
}
