//! Manifests by hand: each is a valid one but for one thing.

use super::Manifest;

const SERVER: &str = "apiVersion: portcullis.dev/v1alpha1
kind: McpServer
metadata: {name: NAME, namespace: default}
spec:
  backends: [{name: fixed, static: {}}]
  tools:
    - {name: ping, description: Answers., backend: fixed, static: {text: pong}}
";
const CLIENT: &str = "apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {name: NAME, namespace: default}
spec:
  access: [{serverRef: {name: crm}, tools: [ping], maxRecordsPerQuery: 5}]
  credentials: {apiKey: {secretName: key-NAME}}
";
/// The client as JSON.
const JSON: &str = r#"{"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient", "metadata": {"name": "NAME", "namespace": "default"},
 "spec": {"access": [{"serverRef": {"name": "crm"}, "tools": ["ping"], "maxRecordsPerQuery": 5}],
 "credentials": {"apiKey": {"secretName": "key-NAME"}}}}"#;
/// The server as JSON.
const JSON_SERVER: &str = r#"{"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "NAME", "namespace": "default"},
 "spec": {"backends": [{"name": "fixed", "static": {}}], "tools": [
 {"name": "ping", "description": "Answers.", "backend": "fixed", "static": {"text": "pong"}}]}}"#;

/// Where a server has a value, and what is there.
const OF_SERVER: [(&str, &str); 9] = [
    // A text, an integer, a boolean, a word of several, a duration.
    ("description: Answers.", "description: VALUE"),
    ("spec:\n", "spec:\n  replicas: VALUE\n"),
    ("backend: fixed,", "backend: fixed, expensive: VALUE,"),
    ("spec:\n", "spec:\n  logLevel: VALUE\n"),
    ("backend: fixed,", "backend: fixed, timeout: VALUE,"),
    // Anything, and a key.
    ("text: pong", "text: pong, structuredContent: {a: VALUE}"),
    ("text: pong", "text: pong, structuredContent: {VALUE: a}"),
    ("text: pong", "text: pong, structuredContent: {VALUE: {b: a}}"),
    // A label.
    ("namespace: default", "namespace: default, labels: {a: VALUE}"),
];
const VALUES: [&str; 42] = [
    "yes",
    "n",
    "'no'",
    "True",
    "~",
    "null",
    "''",
    "1",
    "'1'",
    "10.0",
    "1.5",
    "0777",
    "08",
    "0o17",
    "0x1F",
    "1_000",
    "1e3",
    "1E400",
    ".5",
    "1.",
    "-0",
    "-0.0",
    ".inf",
    ".NaN",
    "1:30",
    "2020-01-01",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "info",
    "5s",
    "!!str 1",
    "!!int '1'",
    "!!binary aGk=",
    "!foo x",
    "<<",
    "[a]",
    "{a: b}",
    "&x a",
    "*x",
    "\"\\x41\"",
    "\"\\uD83D\\uDE00\"",
];

/// What is in the metadata beside the name and the namespace.
const METADATA: [&str; 34] = [
    "labels: {team: 'not valid!'}",
    "labels: {'': a}",
    "labels: {a.example/b: ''}",
    "labels: {A.example/b: c}",
    "labels: {a/b/c: d}",
    "labels: [a]",
    "labels: null",
    "annotations: {a b: c}",
    "annotations: {A.example/b: any text}",
    "annotations: {a: 1}",
    "annotations: {a: {b: c}}",
    "finalizers: [a.example/b]",
    "finalizers: [a.example/b, a.example/b]",
    "finalizers: [a]",
    "finalizers: [a b]",
    "finalizers: [orphan, foregroundDeletion]",
    "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b}]",
    "ownerReferences: [{apiVersion: v1, kind: Pod, name: a}]",
    "ownerReferences: [{apiVersion: v1, kind: Event, name: a, uid: b}]",
    "ownerReferences: [{apiVersion: a/b/c, kind: Pod, name: a, uid: b}]",
    "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b, controller: true}, {apiVersion: v1, kind: Pod, name: c, uid: d, controller: true}]",
    "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b, colour: c}]",
    "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b}, {apiVersion: v1, kind: Pod, name: a, uid: b}]",
    "generateName: a-",
    "generateName: A-",
    "colour: red",
    "uid: a",
    "resourceVersion: '1'",
    "resourceVersion: a",
    "generation: 7",
    "creationTimestamp: null",
    "creationTimestamp: soon",
    "selfLink: a",
    "managedFields: [{manager: a}]",
];
/// In place of the whole metadata.
const NAMES: [&str; 18] = [
    "{name: A}",
    "{name: a_b}",
    "{name: a.b}",
    "{name: 5}",
    "{name: '5'}",
    "{name: '5a'}",
    "{name: ''}",
    "{name: a-}",
    "{name: abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz}",
    "{namespace: default}",
    "{generateName: a-}",
    "{name: a, name: b}",
    "{name: a, namespace: De}",
    "{name: a, namespace: ''}",
    "{name: a}",
    "{}",
    "a",
    "[]",
];

/// What a server is, instead.
const SERVERS: [(&str, &str); 46] = [
    ("v1alpha1", "v1"),
    ("portcullis.dev/v1alpha1", "v1"),
    ("kind: McpServer", "kind: McpServers"),
    ("kind: McpServer", "kind: mcpserver"),
    ("kind: McpServer", "kind: ''"),
    ("kind: McpServer\n", ""),
    ("apiVersion: portcullis.dev/v1alpha1\n", ""),
    ("spec:", "Spec:"),
    ("spec:", "status: {}\nspec:"),
    ("spec:", "status: {colour: red}\nspec:"),
    ("spec:", "status: 5\nspec:"),
    ("spec:", "colour: red\nspec:"),
    ("spec:\n", "spec:\n  colour: red\n"),
    ("spec:\n", "spec:\n  replicas: 0\n"),
    ("spec:\n", "spec:\n  replicas: -1\n"),
    ("spec:\n", "spec:\n  replicas: 1000\n"),
    ("spec:\n", "spec:\n  logLevel: loud\n"),
    ("spec:\n", "spec:\n  clients: null\n"),
    ("spec:\n", "spec:\n  clients: []\n"),
    ("spec:\n", "spec:\n  clients: [null]\n"),
    ("spec:\n", "spec:\n  clients: [{}]\n"),
    ("spec:\n", "spec:\n  urls: ['https://a.example', 'https://a.example']\n"),
    ("spec:\n", "spec:\n  authentication: {apiKey: {mode: Disabled}}\n"),
    ("spec:\n", "spec:\n  limits: {global: {requests: 5, per: 1m, maxShare: 101}}\n"),
    ("spec:\n", "spec:\n  limits: {perClient: {requests: 5, per: 1h1h}}\n"),
    ("spec:\n", "spec:\n  pod: {resources: {requests: {nvidia.com/gpu: 1}}}\n"),
    ("spec:\n", "spec:\n  pod: {resources: {requests: {nvidia.com/gpu: 1}, limits: {nvidia.com/gpu: 2}}}\n"),
    ("spec:\n", "spec:\n  pod: {resources: {limits: {foo: '1'}}}\n"),
    ("spec:\n", "spec:\n  pod: {resources: {limits: {memory: 1Gb}}}\n"),
    ("spec:\n", "spec:\n  pod: {resources: {limits: {cpu: 0.5, memory: 64Mi}}}\n"),
    ("spec:\n", "spec:\n  pod: {resources: {limits: {cpu: true}}}\n"),
    ("spec:\n", "spec:\n  pod: {resources: {limits: {cpu: '2'}, requests: {cpu: '3'}}}\n"),
    ("static: {}", "static: {a: b}"),
    ("static: {}", "static: null"),
    ("static: {}", "static: {}, http: {url: 'http://a'}"),
    ("{name: fixed, static: {}}", "{name: Fixed, static: {}}"),
    ("{name: fixed, static: {}}", "{name: fixed, static: {}}, {name: fixed, static: {}}"),
    ("[{name: fixed, static: {}}]", "{name: fixed, static: {}}"),
    ("[{name: fixed, static: {}}]", "[]"),
    ("name: ping", "name: p!ng"),
    ("name: ping", "name: ping, name: pong"),
    ("static: {text: pong}", "static: {}"),
    ("static: {text: pong}", "http: {method: GETS, path: /a}"),
    ("description: Answers.", "description: Answers., inputSchema: {type: objekt}"),
    ("description: Answers.", "description: Answers., inputSchema: {type: object, default: null, enum: [null]}"),
    ("backend: fixed", "backend: other"),
];
/// What a client is, instead.
const CLIENTS: [(&str, &str); 31] = [
    ("spec:\n", "spec:\n  expiresAt: '2016-12-31T23:59:60Z'\n"),
    ("spec:\n", "spec:\n  expiresAt: '2031-01-01T00:00Z'\n"),
    ("spec:\n", "spec:\n  expiresAt: '2031-01-01T00:00:00+0200'\n"),
    ("spec:\n", "spec:\n  expiresAt: '2031-01-01T00:00:00+02:00'\n"),
    ("spec:\n", "spec:\n  expiresAt: 2031-01-01T00:00:00Z\n"),
    ("spec:\n", "spec:\n  expiresAt: 2031-01-01\n"),
    ("spec:\n", "spec:\n  expiresAt: '2031-01-01t00:00:00z'\n"),
    ("spec:\n", "spec:\n  expiresAt: null\n"),
    ("spec:\n", "spec:\n  expiresAt:\n"),
    ("spec:\n", "spec:\n  suspended: 'true'\n"),
    ("spec:\n", "spec:\n  suspended: 1\n"),
    ("spec:\n", "spec:\n  suspended: true\n  suspended: true\n"),
    ("tools: [ping]", "tools: ping"),
    ("tools: [ping]", "tools: [ping, ping]"),
    ("tools: [ping]", "tools: [null]"),
    ("tools: [ping]", "tools: ['']"),
    ("tools: [ping]", "tools: []"),
    ("tools: [ping]", "tools: ['*']"),
    ("tools: [ping]", "tools: [ping,]"),
    ("tools: [ping]", "tools: [,]"),
    ("tools: [ping], ", ""),
    ("maxRecordsPerQuery: 5", "maxRecordsPerQuery: 0"),
    ("maxRecordsPerQuery: 5", "maxRecordsPerQuery: 5.0"),
    ("maxRecordsPerQuery: 5", "maxRecordsPerQuery: 5.5"),
    ("maxRecordsPerQuery: 5", "maxRecordsPerQuery: 4294967296"),
    ("serverRef: {name: crm}", "serverRef: crm"),
    ("serverRef: {name: crm}", "serverRef: {name: crm, namespace: null}"),
    ("secretName: key-NAME", "secretName: K"),
    ("credentials: {apiKey: {secretName: key-NAME}}", "credentials: {}"),
    ("credentials: {apiKey: {secretName: key-NAME}}", "credentials:\n    apiKey:\n      secretName: &key key"),
    ("  credentials: {apiKey: {secretName: key-NAME}}\n", ""),
];
/// Whole files. `SERVER`, `CLIENT` and `JSON` are objects of that form, `ITEM` a client in one line.
const FILES: [(&str, &str); 58] = [
    ("yaml", ""),
    ("yaml", "# nothing\n"),
    ("yaml", "---\n---\n"),
    ("yaml", "\u{feff}CLIENT"),
    ("yaml", "\u{feff}---\nCLIENT"),
    ("yaml", "%YAML 1.1\n---\nCLIENT"),
    ("yaml", "%YAML 1.2\n---\nCLIENT"),
    ("yaml", "---\nCLIENT"),
    ("yaml", "--- # first\nCLIENT"),
    ("yaml", "--- \nCLIENT"),
    ("yaml", "---\t\nCLIENT"),
    ("yaml", "CLIENT---\nSERVER"),
    ("yaml", "CLIENT--- # next\nSERVER"),
    ("yaml", "CLIENT---\n\n---\n# nothing\n---\nSERVER"),
    ("yaml", "CLIENT---\nnull\n---\nSERVER"),
    ("yaml", "CLIENT---\n5\n"),
    ("yaml", "CLIENT---\n[]\n"),
    ("yaml", "CLIENT---\na: b\n"),
    ("yaml", "CLIENT...\n"),
    ("yaml", "CLIENT...\n---\nSERVER"),
    ("yaml", "CLIENT...\nSERVER"),
    ("yaml", "CLIENT---"),
    ("yaml", "CLIENT  \t\n"),
    ("yaml", "CLIENT\tx: y\n"),
    ("yaml", "CLIENT]\n"),
    ("yaml", "CLIENT'"),
    ("yaml", "CLIENT# caf\u{e9} \u{85}\n"),
    ("yaml", "CLIENT# \u{7}\n"),
    ("yaml", "CLIENT\u{0}"),
    ("yaml", "ITEM"),
    ("yaml", "ITEM\nITEM"),
    ("yaml", "ITEM ITEM"),
    ("yaml", "JSON"),
    ("yaml", "JSON\n---\nCLIENT"),
    ("yaml", "JSON\nJSON"),
    ("yaml", "# a comment\nJSON"),
    ("yaml", "apiVersion: v1\nkind: List\nitems: [ITEM]\n"),
    ("yaml", "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n- ITEM\n- ITEM\n"),
    ("yaml", "apiVersion: v1\nkind: List\nitems: []\n"),
    ("yaml", "apiVersion: v1\nkind: List\nitems: null\n"),
    ("yaml", "apiVersion: v1\nkind: List\n"),
    ("yaml", "apiVersion: v1\nkind: List\nitems: {a: b}\n"),
    ("yaml", "apiVersion: v1\nkind: List\nitems: [{a: b}]\n"),
    ("yaml", "apiVersion: v1\nkind: List\nitems: [null]\n"),
    ("yaml", "apiVersion: v1\nkind: List\ncolour: red\nitems: [ITEM]\n"),
    ("yaml", "apiVersion: portcullis.dev/v1alpha1\nkind: McpClientList\nitems: [ITEM]\n"),
    ("yaml", "apiVersion: portcullis.dev/v9\nkind: Anything\nitems: [ITEM]\n"),
    ("yaml", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: [ITEM]}]\n"),
    ("json", "JSON"),
    ("json", "\u{feff}JSON"),
    ("json", " \n JSON\n"),
    ("json", "JSONJSON"),
    ("json", "JSON\nJSON"),
    ("json", "[JSON]"),
    ("json", "JSON,"),
    ("json", "JSON}"),
    ("json", "CLIENT"),
    ("json", "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [JSON, JSON]}"),
];
/// Values of JSON, as a text, a number and anything.
const JSON_VALUES: [&str; 37] = [
    "1e400",
    "-1e400",
    "1e308",
    "1e-400",
    "-0",
    "-0.0",
    "1.0",
    "5E0",
    "1e2",
    "0.1",
    "01",
    "+1",
    ".5",
    "5.",
    "0x1F",
    "NaN",
    "Infinity",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e19",
    "123456789012345678901234567890",
    "true",
    "yes",
    "null",
    "'single'",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\u0000\"",
    "\"\\/\"",
    "\"\\x41\"",
    "\"a\tb\"",
    "\"a\nb\"",
    "[1,]",
    "{\"a\": 1, \"a\": 1}",
];
/// What JSON is, instead.
const JSON_TEXTS: [(&str, &str); 12] = [
    ("\"spec\"", "// a comment\n\"spec\""),
    ("\"spec\"", "/* a comment */ \"spec\""),
    ("\"spec\"", "# a comment\n\"spec\""),
    ("\"spec\"", "spec"),
    ("\"spec\"", "\"Spec\""),
    ("\"kind\": \"McpClient\"", "\"kind\": \"McpClient\", \"kind\": \"McpClient\""),
    ("\"kind\": \"McpClient\"", "\"kind\": \"McpClient\", \"Kind\": \"McpServer\""),
    ("[\"ping\"]", "[\"ping\",]"),
    ("[\"ping\"]", "[\"ping\", \"ping\"]"),
    ("[\"ping\"]", "[]"),
    ("{\"name\": \"crm\"}", "{\"name\": \"crm\", \"name\": \"crm\"}"),
    ("{\"name\": \"crm\"}", "{\"name\": \"crm\",}"),
];

/// A text with one part replaced.
fn edited(text: &str, (from, to): (&str, &str)) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

pub fn all() -> Vec<Manifest> {
    let mut all = Vec::new();
    for value in VALUES {
        all.extend(OF_SERVER.map(|(from, to)| Manifest::yaml(edited(SERVER, (from, &to.replace("VALUE", value))))));
    }
    for text in [SERVER, CLIENT] {
        all.push(Manifest::yaml(text));
        all.push(Manifest::yaml(text.replace('\n', "\r\n")));
        all.push(Manifest::yaml(text.replace('\n', "\r")));
        all.push(Manifest::yaml(text.replace("\n  ", "\n\t")));
        all.push(Manifest::yaml(text.replace("{name: NAME", "{ ? name : NAME")));
    }
    all.extend(
        METADATA
            .map(|more| Manifest::yaml(edited(SERVER, ("namespace: default", &format!("namespace: default, {more}"))))),
    );
    for text in [SERVER, CLIENT] {
        all.extend(NAMES.map(|name| Manifest::yaml(edited(text, ("{name: NAME, namespace: default}", name)))));
    }
    all.extend(SERVERS.map(|edit| Manifest::yaml(edited(SERVER, edit))));
    all.extend(CLIENTS.map(|edit| Manifest::yaml(edited(CLIENT, edit))));
    let item = "{apiVersion: portcullis.dev/v1alpha1, kind: McpClient, metadata: {name: NAME}, \
                spec: {access: [], credentials: {apiKey: {secretName: key-NAME}}}}";
    for (extension, text) in FILES {
        let mut text = text.to_owned();
        let objects = [("JSON", JSON), ("ITEM", item), ("SERVER", SERVER), ("CLIENT", CLIENT)];
        let place =
            |text: &str| objects.iter().filter_map(|(word, object)| Some((text.find(word)?, word, object))).min();
        // Each has a name of its own.
        let mut suffixes = ["", "-b"].into_iter();
        while let Some((_, word, object)) = place(&text) {
            let own = format!("NAME{}", suffixes.next().unwrap_or("-c"));
            text = text.replacen(word, &object.replace("NAME", &own), 1);
        }
        all.push(Manifest { extension, text });
    }
    for value in JSON_VALUES {
        let places = [
            ("\"Answers.\"", value.to_owned()),
            ("\"text\": \"pong\"", format!("\"text\": \"pong\", \"structuredContent\": {{\"a\": {value}}}")),
            ("\"spec\": {", format!("\"spec\": {{\"replicas\": {value}, ")),
        ];
        all.extend(places.map(|(from, to)| Manifest::json(edited(JSON_SERVER, (from, &to)))));
    }
    all.extend(JSON_TEXTS.map(|edit| Manifest::json(edited(JSON, edit))));
    all
}
