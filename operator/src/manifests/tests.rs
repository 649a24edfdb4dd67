use std::path::Path;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{NamespacedName, contract::ServerKeys};

use super::*;
use crate::{credentials::IssuedCredential, validate::Published};

mod broken;
mod refused;

const SERVER: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: McpServer
metadata: {name: crm, namespace: sales}
spec:
  backends: [{name: fixed, static: {}}]
  tools: [{name: hello, description: x, backend: fixed, static: {text: hi}}]
";

fn client(name: &str, more: &str) -> String {
    format!(
        "
---
apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {{name: {name}, namespace: sales}}
spec:
  access: [{{serverRef: {{name: crm}}, tools: [hello], maxRecordsPerQuery: 1}}]
  credentials: {{apiKey: {{secretName: {name}-key}}}}
  {more}
"
    )
}

fn files(files: &[(&str, &str)]) -> Files {
    files.iter().map(|(name, text)| ((*name).to_owned(), Ok((*text).into()))).collect()
}

fn names(folder: &Folder) -> Vec<String> {
    folder.ids().map(ToString::to_string).collect()
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_broken_file_keeps_its_last_valid_state_and_removals_from_other_files_apply() {
    let two = [client("a", ""), client("b", "")].concat();
    let (good, problems) = Folder::default().update(&files(&[("clients.yaml", &two), ("server.yaml", SERVER)]));
    assert_eq!((lines(&problems).as_str(), names(&good).len()), ("", 3));

    let (next, problems) = good.update(&files(&[("clients.yaml", "a: [1,\nb: }")]));
    insta::assert_snapshot!(lines(&problems), @"clients.yaml:2:4: did not find expected node content, while parsing a flow node");
    assert_eq!(
        names(&next),
        ["McpClient sales/a", "McpClient sales/b"],
        "its own objects stay, and the server's file was removed"
    );
    assert!(next.has_broken_file());

    let (next, problems) =
        good.update(&files(&[("clients.yaml", &client("a", "colour: red")), ("server.yaml", SERVER)]));
    insta::assert_snapshot!(lines(&problems), @"clients.yaml: McpClient sales/a: spec.colour: unknown field; allowed fields: access, credentials, expiresAt, suspended");
    assert_eq!(names(&next), ["McpServer sales/crm", "McpClient sales/a"], "the other client is removed all the same");

    let broken = [client("a", "suspended: true"), "---\nkind: [\n".into()].concat();
    let (next, problems) = good.update(&files(&[("clients.yaml", &broken), ("server.yaml", SERVER)]));
    insta::assert_snapshot!(lines(&problems), @"clients.yaml:12:1: did not find expected node content, while parsing a flow node");
    assert_eq!(names(&next), names(&good), "the broken document may be b");
    assert!(next.clients().next().unwrap().1.spec.suspended, "what comes before it counts");

    let nameless = two.replace("name: a,", "nam: a,");
    let (next, problems) = good.update(&files(&[("clients.yaml", &nameless), ("server.yaml", SERVER)]));
    assert_eq!(names(&next), names(&good), "the nameless object may be a");
    assert!(lines(&problems).contains("metadata.nam: unknown field"), "{}", lines(&problems));

    for cut_off in ["apiVersion", "- a", "3"] {
        assert_eq!(names(&good.update(&files(&[("clients.yaml", cut_off), ("server.yaml", SERVER)])).0), names(&good));
    }

    let unreadable = Files::from([("clients.yaml".to_owned(), Err("cannot be read: no".to_owned()))]);
    assert_eq!(names(&good.update(&unreadable).0), ["McpClient sales/a", "McpClient sales/b"]);
}

/// What a server publishes for its clients after a mistake in one document: `a: suspended=false tools=1`.
fn published(before: &str, after: &str) -> (String, String) {
    struct After(Published);
    impl ClusterState for After {
        fn metadata(&self, id: &ObjectId) -> ObjectMeta {
            NoCluster::default().metadata(id)
        }
        fn credentials(&self, client: &NamespacedName) -> Vec<IssuedCredential> {
            NoCluster::default().credentials(client)
        }
        fn published(&self, _: &NamespacedName) -> Published {
            self.0.clone()
        }
        fn server_keys(&self, server: &NamespacedName) -> ServerKeys {
            NoCluster::default().server_keys(server)
        }
    }
    let documents = |folder: &Folder, cluster: After| {
        let review = review(folder, &cluster, |_| {});
        review.servers.into_values().next().unwrap().1.documents.unwrap()
    };
    let (good, problems) = Folder::default().update(&files(&[("all.yaml", before)]));
    assert_eq!(lines(&problems), "");
    let first = documents(&good, After(Published::default()));
    let (next, problems) = good.update(&files(&[("all.yaml", after)]));
    let second = documents(&next, After(Published::from(&first)));
    let clients = second.policy.clients().iter().map(|client| {
        let (suspended, tools) = (client.suspended, client.tools.len());
        format!("{}: suspended={suspended} tools={tools}", client.id)
    });
    (clients.collect::<Vec<_>>().join(", "), lines(&problems))
}

#[test]
fn a_mistake_in_one_document_holds_that_object_and_nothing_that_the_file_takes_away() {
    let before = [SERVER, &client("a", ""), &client("b", "")].concat();
    let suspended = [SERVER, &client("a", ""), &client("b", "suspended: true")].concat();
    let revoked = suspended.replacen("tools: [hello], maxRecordsPerQuery", "tools: [], maxRecordsPerQuery", 1);
    assert_eq!(published(&before, &suspended).0, "a: suspended=false tools=1, b: suspended=true tools=1");
    let kept = "a: suspended=false tools=1, b: suspended=true tools=1";
    let narrowed = "a: suspended=false tools=0, b: suspended=true tools=1";
    for (from, to, expected, problem) in [
        // Of the server.
        (
            "name: crm, ",
            "name: crm, annotations: {wave: 5}, ",
            narrowed,
            "McpServer sales/crm: metadata.annotations.wave",
        ),
        ("name: crm, ", "name: crm, labels: {1: 2}, ", narrowed, "McpServer sales/crm: metadata.labels[1]"),
        ("name: crm, ", "name: crm, colour: red, ", narrowed, "McpServer sales/crm: metadata.colour"),
        ("name: crm, ", "name: 5, ", narrowed, "McpServer: metadata.name"),
        ("name: crm, ", "", narrowed, "McpServer: metadata.name"),
        ("metadata: {name: crm, namespace: sales}", "", narrowed, "McpServer: metadata.name"),
        ("metadata: {name: crm, namespace: sales}", "metadata: crm", narrowed, "McpServer: metadata"),
        ("namespace: sales}", "namespace: [sales]}", narrowed, "McpServer: metadata.namespace"),
        ("kind: McpServer", "kind: McpServr", narrowed, "kind: `McpServr` is not a kind of"),
        ("kind: McpServer", "", narrowed, "kind: `` is not a kind of"),
        (
            "kind: McpServer",
            "kind: McpServer\nkind: McpServer",
            narrowed,
            "all.yaml:2:1: McpServer sales/crm: duplicate",
        ),
        (
            "apiVersion: portcullis.dev/v1alpha1",
            "apiVersion: portcullis.dev/v9",
            narrowed,
            "McpServer sales/crm: apiVersion",
        ),
        ("apiVersion: portcullis.dev/v1alpha1\nkind: McpServer", "", narrowed, "apiVersion and kind: must be set"),
        ("spec:", "spec:\n\tx: 1", narrowed, "all.yaml:6:1: McpServer sales/crm: found"),
        ("spec:", "spec: {", narrowed, "all.yaml:"),
        ("spec:", "spec:\n  clients: []", "", ""),
        ("spec:", "spec:\n  replicas: many\n  clients: []", "", "McpServer sales/crm: spec.replicas"),
        ("name: crm, namespace: sales}", "name: crm, namespace: sales, colour: red}", narrowed, "metadata.colour"),
        (
            "spec:",
            "spec:\n  replicas: 1\n  replicas: 2\n  clients: [{allow: {tools: []}}]",
            "a: suspended=false tools=0, b: suspended=true tools=0",
            "all.yaml:6:3: McpServer sales/crm: spec.replicas: duplicate",
        ),
        (
            "spec:",
            "spec:\n  replicas: [\n  clients: [{allow: {tools: []}}]",
            "a: suspended=false tools=0, b: suspended=true tools=0",
            "McpServer sales/crm: spec.replicas: did not find",
        ),
        // Of the client that is suspended.
        ("name: b, ", "name: b, annotations: {wave: 5}, ", narrowed, "McpClient sales/b: metadata.annotations.wave"),
        ("suspended: true", "suspended: true\n  colour: red", narrowed, "McpClient sales/b: spec.colour"),
        ("suspended: true", "suspended: 'yes'", narrowed, "McpClient sales/b: spec.suspended"),
        ("suspended: true", "suspended: true\n  expiresAt: soon", narrowed, "McpClient sales/b: spec.expiresAt"),
        ("suspended: true", "suspended: true\n  access: {}", narrowed, "McpClient sales/b: spec.access: duplicate"),
        (
            "suspended: true",
            "suspended: true\n  expiresAt: [",
            narrowed,
            "McpClient sales/b: spec.expiresAt: did not find",
        ),
        ("suspended: true", "suspended: true\n  access: [{}", narrowed, "McpClient sales/b: spec.access"),
        ("suspended: true", "suspended: true\n\tcolour", narrowed, "McpClient sales/b: "),
        ("suspended: true", "suspended: true # caf\u{fffd}", narrowed, ""),
        // Of the client whose tool was taken.
        ("name: a, ", "name: a, labels: [], ", narrowed, "McpClient sales/a: metadata.labels"),
        ("tools: []", "tools: all", kept, "McpClient sales/a: spec.access[0].tools"),
        ("tools: []", "tolls: []", kept, "McpClient sales/a: spec.access[0].tolls"),
        (
            "serverRef: {name: crm}, tools: []",
            "serverRef: {name: a..b}, tools: []",
            "b: suspended=true tools=1",
            "McpClient sales/a: spec.access[0].serverRef.name",
        ),
    ] {
        let after = revoked.replacen(from, to, 1);
        assert_ne!(after, revoked, "{from}");
        let (clients, problems) = published(&before, &after);
        assert_eq!(clients, expected, "{to}: {problems}");
        assert!(problems.contains(problem), "{problem} is not in: {problems}");
    }
}

#[test]
fn of_two_objects_of_the_same_name_the_one_that_existed_before_stays() {
    let (good, _) = Folder::default().update(&files(&[("b.yaml", &client("a", ""))]));
    let (next, problems) =
        good.update(&files(&[("a.yaml", &client("a", "suspended: true")), ("b.yaml", &client("a", ""))]));
    insta::assert_snapshot!(lines(&problems), @"a.yaml: McpClient sales/a: metadata.name: appears twice: b.yaml contains an object of this name too, which is used");
    assert!(!next.clients().next().unwrap().1.spec.suspended);
    let (moved, problems) = next.update(&files(&[("a.yaml", &client("a", "suspended: true"))]));
    assert_eq!(lines(&problems), "");
    assert!(moved.clients().next().unwrap().1.spec.suspended);
}

#[test]
fn other_kinds_are_skipped_and_the_items_of_lists_are_read() {
    let text = "
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: b}}
  - {apiVersion: portcullis.dev/v1alpha1, kind: McpClient, metadata: {name: a}, spec: {access: [], credentials: {apiKey: {secretName: k}}}}
---
# nothing
---
just: values
";
    let unknown = "all.yaml: document 1 (empty ones not counted): kind: is not a list that a cluster knows; write `apiVersion: v1` and \
                   `kind: List`";
    for (list, finding) in [
        ("v1\nkind: List", ""),
        ("portcullis.dev/v1alpha1\nkind: McpClientList", ""),
        ("example.dev/v2\nkind: Whatever", unknown),
        ("portcullis.dev/v9\nkind: McpClientList", unknown),
    ] {
        let text = text.replace("v1\nkind: List", list);
        let (folder, problems) = Folder::default().update(&files(&[("all.yaml", &text)]));
        assert_eq!((lines(&problems).as_str(), names(&folder)), (finding, vec!["McpClient default/a".to_owned()]));
    }
    for (text, finding) in [
        (
            "a: b\n---\n- {a: b}",
            "x.json: document 2 (empty ones not counted): must be a mapping with apiVersion and kind",
        ),
        (
            "{apiVersion: v1, kind: List, items: [{a: b}, api, null, {kind: List, items: []}]}",
            "x.json: document 1 (empty ones not counted): items[0]: must be an object with apiVersion and kind, and not a list\n\
             x.json: document 1 (empty ones not counted): items[1]: must be an object with apiVersion and kind, and not a list\n\
             x.json: document 1 (empty ones not counted): items[2]: must be an object with apiVersion and kind, and not a list\n\
             x.json: document 1 (empty ones not counted): items[3]: must be an object with apiVersion and kind, and not a list",
        ),
        (
            "{apiVersion: v1, kind: List, items: {a: b}}",
            "x.json: document 1 (empty ones not counted): items: must be a list",
        ),
        (
            "{apiVersion: portcullis.dev/v1alpha1, kind: McpServers}",
            "x.json: kind: `McpServers` is not a kind of portcullis.dev (did you mean `McpServer`?); its kinds: McpServer, McpClient",
        ),
        (
            "{apiVersion: portcullis.dev/v2, kind: McpServer, metadata: {name: a}}",
            "x.json: McpServer default/a: apiVersion: must be portcullis.dev/v1alpha1 for an McpServer\n\
             x.json: McpServer default/a: spec: is missing",
        ),
        (
            "{apiVersion: portcullis.dev/v1alpha1, kind: McpServer, metadata: {name: a}}",
            "x.json: McpServer default/a: spec: is missing",
        ),
        (
            "{apiVersion: portcullis.dev/v1alpha1, kind: McpServer}",
            "x.json: McpServer: metadata.name: is missing; an object needs a name",
        ),
        (
            "a: b\n---\n{apiVersion: portcullis.dev/v1alpha1, kind: McpServer, metadata: {name: A_b}}\n---\n\
             {kind: McpServe, apiVersion: portcullis.dev/v1alpha1}\n---\n\
             {kind: List, items: [{apiVersion: portcullis.dev/v1alpha1, kind: McpClient}]}",
            "x.json: document 2 (empty ones not counted): McpServer: metadata.name: must be a DNS subdomain: at most 253 of the characters \
             a-z, 0-9, '-', '.', with a letter or digit at both ends\n\
             x.json: document 3 (empty ones not counted): kind: `McpServe` is not a kind of portcullis.dev (did you mean \
             `McpServer`?); its kinds: McpServer, McpClient\n\
             x.json: document 4 (empty ones not counted): items[0]: McpClient: metadata.name: is missing; an object needs a name",
        ),
    ] {
        assert_eq!(lines(&Folder::default().update(&files(&[("x.json", text)])).1), finding);
    }
}

#[test]
fn a_review_names_file_object_and_field() {
    let broken_server = SERVER.replace("backend: fixed, static", "backend: fixd, static");
    let erp = SERVER.replace("name: crm", "name: erp").replace("static: {}}]", "static: {}}]\n  clients: []");
    let clients = "
apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {name: a, namespace: sales}
spec:
  access:
    - {serverRef: {name: ok}, tools: [hello, bye], maxRecordsPerQuery: 1}
    - {serverRef: {name: erp}, tools: [hello], maxRecordsPerQuery: 1}
    - {serverRef: {name: elsewhere}, tools: [hello], maxRecordsPerQuery: 1}
  credentials: {apiKey: {secretName: erp-credentials-v1}}
---
apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {name: b, namespace: sales}
spec:
  access:
    - {serverRef: {name: ok}, tools: ['*'], maxRecordsPerQuery: 1, allowWrite: true, limits: {requests: 1, per: 1m}}
    - {serverRef: {name: ok, namespace: sales}, tools: ['*'], maxRecordsPerQuery: 1}
  credentials: {apiKey: {secretName: b}}
";
    let ok = SERVER.replace("name: crm", "name: ok").replace("spec:", "spec:\n  replicas: 2");
    let texts = [("a.yaml", broken_server.as_str()), ("b.yaml", &erp), ("c.yaml", &ok), ("d.yaml", clients)];
    let (folder, problems) = Folder::default().update(&files(&texts));
    assert_eq!(lines(&problems), "");
    insta::assert_snapshot!(lines(&review(&folder, &NoCluster::default(), |_| {}).problems));
}

/// The API server refuses these too, by schema and CEL: a test with a real one covers that.
#[test]
fn a_folder_refuses_what_the_api_server_refuses_and_names_the_field() {
    let server = |from: &str, to: &str| {
        let changed = SERVER.replace(from, to);
        assert_ne!(changed, SERVER, "{from}");
        changed
    };
    let access = "access: [{serverRef: {name: crm}, tools: [hello], maxRecordsPerQuery: 1}]";
    let client = |from: &str, to: &str| {
        let good = client("bot", "");
        let changed = good.replace(from, to);
        assert_ne!(changed, good, "{from}");
        format!("{SERVER}{changed}")
    };
    let long = "x".repeat(41);
    for (text, field) in [
        (server("spec:", "spec:\n  colour: red"), "spec.colour"),
        (server("static: {text", "timeOut: 1s, static: {text"), "spec.tools[0].timeOut"),
        (server("name: fixed, static: {}", "name: fixed, static: {}, http: {url: 'http://x'}"), "spec.backends[0]"),
        (server("static: {text: hi}", "static: {text: hi}, http: {method: GET, path: /}"), "spec.tools[0]"),
        (server("backend: fixed", "backend: gone"), "spec.tools[0].backend"),
        (server("name: fixed, static: {}", "name: fixed, http: {url: 'http://x.example'}"), "spec.tools[0].static"),
        (server("static: {text: hi}", "static: {}"), "spec.tools[0].static"),
        (server("backend: fixed", "backend: fixed, timeout: soon"), "spec.tools[0].timeout"),
        (server("spec:", "spec:\n  limits: {perClient: {requests: 0, per: 1m}}"), "spec.limits.perClient.requests"),
        (server("spec:", "spec:\n  limits: {perClient: {requests: 1, per: '1'}}"), "spec.limits.perClient.per"),
        (server("spec:", "spec:\n  authentication: {apiKey: {mode: Off}}"), "spec.authentication.apiKey.mode"),
        (server("spec:", "spec:\n  replicas: 101"), "spec.replicas"),
        (server("name: crm", &format!("name: {long}")), "metadata.name"),
        (server("name: crm", "name: a.b"), "metadata.name"),
        (server("hello", "two words"), "spec.tools[0].name"),
        (server("backends: [", "backends: [{name: fixed, static: {}}, "), "spec.backends[1].name"),
        (client("apiKey: {secretName: bot-key}", ""), "spec.credentials"),
        (client("maxRecordsPerQuery: 1", "maxRecordsPerQuery: 0"), "spec.access[0].maxRecordsPerQuery"),
        (client("[hello]", "[hello, hello]"), "spec.access[0].tools[1]"),
        (
            client(access, &access.replace("}]", "}, {serverRef: {name: crm}, tools: [], maxRecordsPerQuery: 1}]")),
            "spec.access[1].serverRef",
        ),
        (client("  credentials", "  expiresAt: tomorrow\n  credentials"), "spec.expiresAt"),
    ] {
        let (folder, mut problems) = Folder::default().update(&files(&[("x.yaml", &text)]));
        problems.extend(review(&folder, &NoCluster::default(), |_| {}).problems);
        let is_named = |problem: &Problem| problem.finding.path == field && problem.severity == Severity::Refused;
        assert!(problems.iter().any(is_named), "{field} is not in:\n{}", lines(&problems));
    }
}

fn reread(path: &Path) -> Result<Files, SourceError> {
    Sources::new(vec![path.to_owned()]).reread()
}

#[test]
fn only_files_with_the_extension_of_a_manifest_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.yaml", "b.yml", "c.json", ".d.yaml", "e.yaml~", "f.txt"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    std::fs::create_dir(folder.path().join("g.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("h.yaml")).unwrap();
    let found: Vec<_> = reread(folder.path()).unwrap().into_keys().collect();
    assert_eq!(found, ["a.yaml", "b.yml", "c.json", "h.yaml"]);
    let broken_link = reread(folder.path()).unwrap()["h.yaml"].clone().unwrap_err();
    assert!(broken_link.starts_with("cannot be read: "), "{broken_link}");
    assert!(reread(Path::new("/nowhere")).is_err());
}
