//! What kubectl and the API server refuse in a manifest is refused in a folder, too.

use super::*;

/// The paths of what is wrong with a server whose `metadata` has these fields.
fn refused(metadata: &str) -> Vec<String> {
    let text = SERVER.replace("{name: crm, namespace: sales}", &format!("{{name: crm, {metadata}}}"));
    let (_, problems) = Folder::default().update(&files(&[("server.yaml", &text)]));
    problems.into_iter().map(|problem| problem.finding.path).collect()
}

#[test]
fn metadata_that_the_api_server_refuses_is_named() {
    let long = "x".repeat(64);
    for (metadata, paths) in [
        ("labels: {a: b, x.io/a_b: '', c: 'A.b-c_d'}, annotations: {X.io/A: any text}", vec![]),
        ("labels: {team: 'not valid!'}", vec!["metadata.labels.team"]),
        (
            &format!("labels: {{a: {long}, {long}: a, X.io/a: b}}"),
            vec!["metadata.labels.X.io/a", "metadata.labels.a", &format!("metadata.labels.{long}")],
        ),
        ("labels: {a: -b, '': c, x/y/z: d}", vec!["metadata.labels.", "metadata.labels.a", "metadata.labels.x/y/z"]),
        ("annotations: {a b: c}", vec!["metadata.annotations.a b"]),
        (&format!("annotations: {{a: {}}}", "x".repeat(256 * 1024)), vec!["metadata.annotations"]),
        ("finalizers: [x.io/a, a b]", vec!["metadata.finalizers[1]"]),
        ("finalizers: [orphan, foregroundDeletion]", vec!["metadata.finalizers"]),
        ("generateName: crm-", vec![]),
        // It has a name.
        ("generateName: Crm-", vec![]),
        ("ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: ''}]", vec!["metadata.ownerReferences[0].uid"]),
        (
            "ownerReferences: [{apiVersion: a/b/c, kind: Pod, name: a, uid: a}, {apiVersion: a/, kind: Pod, name: a, uid: a}, \
             {apiVersion: /v1, kind: Event, name: a, uid: a}, {apiVersion: a/v1, kind: Event, name: a, uid: a}]",
            vec![
                "metadata.ownerReferences[0].apiVersion",
                "metadata.ownerReferences[1].apiVersion",
                "metadata.ownerReferences[2]",
            ],
        ),
        ("ownerReferences: [{apiVersion: v1, kind: Event, name: a, uid: a}]", vec!["metadata.ownerReferences[0]"]),
        ("namespace: la.b", vec!["McpServer: metadata.namespace"]),
        (&format!("namespace: {long}"), vec!["McpServer: metadata.namespace"]),
        ("namespace: ''", vec![]),
        ("namespace: 'no'", vec![]),
        ("namespace: no", vec!["metadata.namespace"]),
        ("labels: {a: yes, 'on': b}", vec!["metadata.labels.a"]),
    ] {
        assert_eq!(refused(metadata), paths, "{metadata:.80}");
    }
}

#[test]
fn a_status_has_the_fields_of_its_type_and_is_ignored_otherwise() {
    for (status, problems) in [
        ("{}", ""),
        ("5", ""),
        ("{observedGeneration: many}", ""),
        ("{colour: red}", "server.yaml: McpServer sales/crm: status.colour: unknown field"),
    ] {
        let (_, found) = Folder::default().update(&files(&[("server.yaml", &format!("{SERVER}status: {status}\n"))]));
        assert_eq!(lines(&found).split("; allowed").next(), Some(problems), "{status}");
    }
}

#[test]
fn a_word_that_kubectl_takes_for_a_boolean_or_a_number_is_told_with_what_to_write() {
    let word = SERVER.replace("name: hello", "name: no");
    let item = |text: &str| {
        let lines: Vec<_> = text.trim().lines().collect();
        format!("- {}", lines.join("\n  "))
    };
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}\n", item(&word));
    for text in [&word, &list] {
        let (folder, problems) = Folder::default().update(&files(&[("server.yaml", text)]));
        assert_eq!(
            lines(&problems),
            "server.yaml: McpServer sales/crm: spec.tools[0].name: no without quotes is false for kubectl, which reads YAML \
             1.1; write 'no', or false"
        );
        let name = NamespacedName::new("sales", "crm");
        assert_eq!(problems.first().map(|problem| problem.severity), Some(Severity::Finding));
        assert!(folder.mistaken_server(&name).is_none() && folder.servers().any(|(id, _)| *id == name));
    }
    let tagged = format!("{}  logLevel: !<tag:yaml.org,2002:str> debug\n", SERVER);
    let tagged = format!("apiVersion: v1\nkind: List\nitems:\n{}\n", item(&tagged));
    let (_, problems) = Folder::default().update(&files(&[("server.yaml", &tagged)]));
    assert_eq!(
        lines(&problems),
        "server.yaml: document 1 (empty ones not counted): cannot be compared with what kubectl reads; leave out tags, and put what \
         is unusual in quotes"
    );
    let quoted = SERVER.replace("name: hello", "name: 'no'");
    let (_, problems) = Folder::default().update(&files(&[("server.yaml", &quoted)]));
    assert_eq!(lines(&problems), "");
}
