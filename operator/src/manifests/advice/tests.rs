use super::*;
use crate::manifests::{NoCluster, review};

const SERVER: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: McpServer
metadata: {name: crm, namespace: sales}
spec:
  backends: [{name: api, http: {url: 'http://crm.sales.svc:80'}}]
  tools:
    - {name: find, description: Finds, backend: api, http: {method: GET, path: /find}}
    - {name: note, description: Notes, backend: api, http: {method: POST, path: /notes}}
---
";
const CLIENT: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {name: bot, namespace: sales}
spec:
  access: [{serverRef: {name: crm}, tools: [find, note], maxRecordsPerQuery: 5, allowWrite: true}]
  credentials: {apiKey: {secretName: bot-key}}
";

/// What `validate` warns of, with this text in place of another in the manifests.
fn warnings(from: &str, to: &str) -> Vec<String> {
    let good = [SERVER, CLIENT].concat();
    let text = good.replace(from, to);
    assert!(from.is_empty() || text != good, "{from}");
    let files = [("x.yaml".to_owned(), Ok(text.into_bytes()))].into();
    let (folder, problems) = Folder::default().update(&files);
    assert_eq!(problems, []);
    let review = review(&folder, &NoCluster::default(), |_| {});
    let advice = advice(&folder, &review, "2026-06-01T00:00:00Z".parse().unwrap());
    let mut all: Vec<_> = review.problems.into_iter().chain(advice).collect();
    all.sort();
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn each_thing_that_may_not_be_meant_is_a_warning_with_object_and_field() {
    for (from, to, expected) in [
        ("REMOVE", "", vec![]),
        ("bot-key}}", "bot-key}}\n  expiresAt: 2026-06-01T00:00:01Z", vec![]),
        (
            "bot-key}}",
            "bot-key}}\n  expiresAt: 2026-06-01T00:00:00Z",
            vec![
                "warning: x.yaml: McpClient sales/bot: spec.expiresAt: has passed: every call of this client is refused",
            ],
        ),
        (
            "[find, note]",
            "[find]",
            vec![
                "warning: x.yaml: McpServer sales/crm: spec.tools[1]: none of the clients in these manifests may call `note`",
            ],
        ),
        (
            "[find, note]",
            "[]",
            vec![
                "warning: x.yaml: McpClient sales/bot: spec.access: grants no tool: the client gets a key, and may call nothing",
            ],
        ),
        (
            "[find, note]",
            "['*']",
            vec![
                "warning: x.yaml: McpClient sales/bot: spec.access[0].tools: `*` with `allowWrite: true` grants every tool that writes, \
                 also those that are added later; name them: note",
            ],
        ),
        (
            "  tools:\n",
            "  clients: [{}, {namespaces: {from: All}, allow: {effects: [Read]}}]\n  tools:\n",
            vec![
                "warning: x.yaml: McpServer sales/crm: spec.clients[1]: admits none of the clients in these manifests",
            ],
        ),
        (
            "  tools:\n",
            "  clients: [{namespaces: {from: All}}]\n  tools:\n",
            vec![
                "warning: x.yaml: McpServer sales/crm: spec.clients[0].allow: lets clients of every namespace call the tools that write: \
                 note; name the tools, or set `effects: [Read]`",
            ],
        ),
        (
            "http://crm.sales.svc:80",
            "http://crm.example.com",
            vec![
                "warning: x.yaml: McpServer sales/crm: spec.backends[0].http.url: sends arguments and answers in plain text to \
                 crm.example.com, which is outside the cluster; use https, or the full name of a Service, such as crm.sales.svc",
            ],
        ),
        (
            "http: {url: 'http://crm.sales.svc:80'}}",
            "http: {url: 'http://crm.sales.svc:80'}, credentials: {clientCredentials: {tokenUrl: 'http://id.example.com', \
             clientId: crm, clientSecretRef: {name: crm, key: secret}}}}",
            vec![
                "warning: x.yaml: McpServer sales/crm: spec.backends[0].credentials.clientCredentials.tokenUrl: sends the client \
                 secret and tokens in plain text to id.example.com, which is outside the cluster; use https, or the full name of a \
                 Service, such as crm.sales.svc",
            ],
        ),
        (
            "serverRef: {name: crm}",
            "serverRef: {name: crn}",
            vec![
                "warning: x.yaml: McpClient sales/bot: spec.access[0].serverRef: McpServer sales/crn is not among these manifests (did \
                 you mean `sales/crm`?)",
            ],
        ),
        (
            "serverRef: {name: crm}",
            "serverRef: {name: crm, namespace: marketing}",
            vec![
                "warning: x.yaml: McpClient sales/bot: spec.access[0].serverRef: McpServer marketing/crm is not among these manifests \
                 (did you mean `sales/crm`?)",
            ],
        ),
    ] {
        assert_eq!(warnings(if from == "REMOVE" { "" } else { from }, to), expected, "{to}");
    }
}

#[test]
fn a_host_is_inside_if_its_name_or_address_says_so() {
    let namespaces = ["sales"].into();
    for host in [
        "crm",
        "crm.sales",
        "crm.sales.svc",
        "crm.sales.svc.cluster.local",
        "crm.sales.svc.example.org",
        "localhost",
        "127.0.0.1",
        "10.1.2.3",
        "172.20.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "[::1]",
        "[fd00::1]",
        "api.internal",
        "printer.local",
    ] {
        assert!(is_inside(host, &namespaces), "{host}");
    }
    for host in [
        "example.com",
        "crm.marketing",
        "8.8.8.8",
        "100.128.0.1",
        "[2001:db8::1]",
        "notlocal.com",
        "xsvc.org",
        "a.notlocal",
    ] {
        assert!(!is_inside(host, &namespaces), "{host}");
    }
}
