//! Documents that another release wrote, or that somebody spoilt: every revocation in them is in force, on a server that is running
//! and on one that starts with them, whatever else in them cannot be read.

use portcullis_crds::{Revision, contract::KeyDigest};
use portcullis_tests::server::{ConfigFolder, LOOPBACK, TestServer};
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

/// Policy and credentials.
type Documents = (Value, Value);

/// A change of both documents.
type Edit = fn(&mut Documents);

const NEIGHBOUR: &str = "neighbour";

/// The fixtures' clients, and one whose entries are spoilt.
fn documents() -> Documents {
    let mut policy = document(NOWHERE);
    policy["clients"].as_array_mut().unwrap().push(client(NEIGHBOUR, &["echo"], 10, false));
    let entry = |id: &str, key: &str| {
        let sha256 = String::from(KeyDigest::of(key.as_bytes()));
        json!({"id": id, "uid": format!("uid-{id}"), "apiKeys": [{"id": "k", "sha256": sha256}]})
    };
    let clients = [entry("agent", AGENT), entry("reader", READER), entry(NEIGHBOUR, &key_of(NEIGHBOUR))];
    (policy, json!({"contract": 1, "clients": clients}))
}

fn credentials_of<'a>(documents: &'a mut Documents, id: &str) -> &'a mut Value {
    client_of(&mut documents.1, id)
}

/// What is taken from `agent`.
const REVOCATIONS: [(&str, Edit); 6] = [
    ("suspend", |it| client_of(&mut it.0, "agent")["suspended"] = json!(true)),
    ("narrow", |it| client_of(&mut it.0, "agent")["tools"] = json!(["find"])),
    ("delete", |it| it.0["clients"].as_array_mut().unwrap().retain(|client| client["id"] != "agent")),
    ("expire", |it| client_of(&mut it.0, "agent")["expiresAt"] = json!("2020-01-01T00:00:00Z")),
    ("revoke the key", |it| credentials_of(it, "agent")["apiKeys"] = json!([])),
    ("replace the key", |it| credentials_of(it, "agent")["apiKeys"][0]["sha256"] = json!("0".repeat(64))),
];

/// Who is served beside `agent`, after a fault.
#[derive(Clone, Copy, PartialEq)]
enum Served {
    /// All others, by every server.
    All,
    /// `reader`, by every server.
    Reader,
    /// All others, by a server that is running.
    Running,
}

/// The faults. None of them is in an entry of `agent` or `reader`, or in `echo`, which they call.
const FAULTS: [(&str, Served, Edit); 26] = [
    ("a URL that cannot be dialled", Served::All, |it| {
        it.0["spec"]["backends"][0]["http"]["url"] = json!("http://{host}");
    }),
    ("a health path that is none", Served::All, |it| {
        it.0["spec"]["backends"][0]["http"]["healthPath"] = json!("/a b");
    }),
    ("a schema that cannot be compiled", Served::All, |it| {
        tool_of(&mut it.0, "find")["inputSchema"]["pattern"] = json!("(");
        tool_of(&mut it.0, "find")["inputSchema"]["properties"]["query"] = json!({"pattern": "("});
    }),
    ("a tool of a backend that does not exist", Served::All, |it| tool_of(&mut it.0, "find")["backend"] = json!("no")),
    ("a tool with two kinds", Served::All, |it| tool_of(&mut it.0, "find")["static"] = json!({"text": "x"})),
    ("a name that is reserved", Served::All, |it| {
        it.0["spec"]["backends"][0]["name"] = json!("redis");
        tool_of(&mut it.0, "find")["backend"] = json!("redis");
    }),
    ("a share that is no call", Served::All, |it| {
        it.0["server"]["replicas"] = json!(2);
        it.0["spec"]["limits"]["expensiveTools"]["requests"] = json!(1);
    }),
    ("a rule for a tool that does not exist", Served::All, |it| {
        it.0["spec"]["clients"] = json!([{"allow": {"tools": ["gone"]}}]);
    }),
    ("rules that cannot be read", Served::All, |it| it.0["spec"]["clients"] = json!([{"later": 1}])),
    ("another level of the log", Served::All, |it| it.0["spec"]["logLevel"] = json!("trace")),
    ("a setting of the audit log that is not known", Served::All, |it| it.0["spec"]["audit"] = json!({"later": 1})),
    ("a longer description", Served::All, |it| tool_of(&mut it.0, "find")["description"] = json!("x".repeat(5_000))),
    ("an unknown field of a tool", Served::All, |it| tool_of(&mut it.0, "find")["later"] = json!(1)),
    ("an unknown field of a backend", Served::All, |it| it.0["spec"]["backends"][0]["later"] = json!(1)),
    ("another kind of backend", Served::All, |it| it.0["spec"]["backends"][0] = json!({"name": "api", "grpc": {}})),
    ("a tool that is there twice", Served::All, |it| {
        let tool = tool_of(&mut it.0, "find").clone();
        it.0["spec"]["tools"].as_array_mut().unwrap().push(tool);
    }),
    ("an unknown field of the spec", Served::Running, |it| it.0["spec"]["later"] = json!(1)),
    ("an unknown field of the server", Served::Running, |it| it.0["server"]["later"] = json!(1)),
    ("an unknown field of the document", Served::Running, |it| it.0["later"] = json!(1)),
    ("a limit that cannot be read", Served::Running, |it| {
        it.0["spec"]["limits"]["global"] = json!({"requests": 5, "per": "1d"});
    }),
    ("an unknown field of a client", Served::Reader, |it| client_of(&mut it.0, NEIGHBOUR)["later"] = json!(1)),
    ("a client with a date that is none", Served::Reader, |it| {
        client_of(&mut it.0, NEIGHBOUR)["expiresAt"] = json!("9999-99-99");
    }),
    ("a client without limits", Served::Reader, |it| client_of(&mut it.0, NEIGHBOUR)["limits"] = json!([])),
    ("another kind of credential", Served::Reader, |it| {
        credentials_of(it, NEIGHBOUR)["jwt"] = json!([{"issuer": "x"}])
    }),
    ("a key with an unknown field", Served::Reader, |it| {
        credentials_of(it, NEIGHBOUR)["apiKeys"][0]["expiresAt"] = json!("2099-01-01T00:00:00Z");
    }),
    ("a digest that is none", Served::Reader, |it| credentials_of(it, NEIGHBOUR)["apiKeys"][0]["sha256"] = json!("x")),
];

/// A document with its revision, which counts at once.
fn sealed(document: &Value) -> String {
    let mut document = document.clone();
    document["revision"] = json!(Revision::of(&document).unwrap().as_str());
    document.to_string()
}

fn write(config: &ConfigFolder, documents: &Documents) {
    config.write_text(Some(&sealed(&documents.0)), Some(&sealed(&documents.1))).unwrap();
}

/// Every fault with one of the revocations, and the first fault of each kind with all of them.
fn cases() -> impl Iterator<Item = (String, Served, Documents)> {
    let of_fault = |(n, (fault, served, spoil)): (usize, (&'static str, Served, Edit))| {
        let is_first = n == 0 || FAULTS[n - 1].1 != served;
        let chosen = REVOCATIONS.into_iter().enumerate().filter(move |(m, _)| is_first || *m == n % REVOCATIONS.len());
        chosen.map(move |(_, (revocation, revoke))| {
            let mut changed = documents();
            revoke(&mut changed);
            spoil(&mut changed);
            (format!("{revocation}, {fault}"), served, changed)
        })
    };
    FAULTS.into_iter().enumerate().flat_map(of_fault)
}

/// Whether a key may call `echo`.
async fn may_call(server: &TestServer, key: &str) -> Result<bool, String> {
    let found = server.call(key, "echo", json!({"text": "x"})).await.map_err(|error| error.to_string())?;
    Ok(found.to_value() == response(200, rpc_result(echoed("x"))))
}

/// Waits until `agent` and the others may call what is expected.
async fn until_served(server: &TestServer, what: &str, others: [bool; 2]) {
    until(PATIENCE, async || {
        let neighbour = may_call(server, &key_of(NEIGHBOUR)).await?;
        let found = [may_call(server, AGENT).await?, may_call(server, READER).await?, neighbour];
        expect_eq((what, found), (what, [false, others[0], others[1]]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_revocation_is_in_force_whatever_else_cannot_be_read() {
    let running = start(&document(NOWHERE)).await;
    for (what, served, changed) in cases() {
        write(&running.config, &documents());
        until(PATIENCE, async || {
            let found = [may_call(&running, AGENT).await?, may_call(&running, &key_of(NEIGHBOUR)).await?];
            expect_eq(found, [true, true])
        })
        .await;
        write(&running.config, &changed);
        until_served(&running, &what, [true, served != Served::Reader]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_revocation_is_in_force_on_a_server_that_starts_with_what_cannot_be_read() {
    for (what, served, changed) in cases() {
        let config = ConfigFolder::new().unwrap();
        write(&config, &changed);
        let started = TestServer::start_in(config, &[LOOPBACK]).await.unwrap();
        let others = match served {
            Served::All => [true, true],
            Served::Reader => [true, false],
            Served::Running => {
                started.log.event("policy_refused", PATIENCE).await.unwrap();
                [false, false]
            }
        };
        until_served(&started, &what, others).await;
    }
}

/// The texts of a policy and of credentials.
type Texts = (String, String);

type Form = fn(Documents) -> Texts;

/// Forms of the two documents, and whether `reader` and `neighbour` are served then by a server that is running.
const FORMS: [(&str, [bool; 2], Form); 16] = [
    ("clients by their names", [false; 2], |mut it| {
        it.0["clients"] = by_name(&it.0["clients"]);
        texts(&it)
    }),
    ("clients in a text", [false; 2], |mut it| {
        it.0["clients"] = json!(it.0["clients"].to_string());
        texts(&it)
    }),
    ("a second list of clients", [false; 2], |it| (with(&it.0, r#""clients":[]"#), it.1.to_string())),
    ("a second list that grants", [false; 2], |it| {
        (with(&it.0, &format!(r#""clients":{}"#, documents().0["clients"])), it.1.to_string())
    }),
    ("no spec", [true; 2], |it| (it.0.to_string().replacen(r#""spec":"#, r#""rest":"#, 1), it.1.to_string())),
    ("a spec of null", [true; 2], |mut it| {
        it.0["spec"] = Value::Null;
        texts(&it)
    }),
    ("no server", [true; 2], |it| (it.0.to_string().replacen(r#""server":"#, r#""rest":"#, 1), it.1.to_string())),
    ("two specs", [true; 2], |it| (with(&it.0, r#""spec":{}"#), it.1.to_string())),
    ("a client by position", [true, true], |mut it| {
        let entries = it.0["clients"].as_array_mut().unwrap();
        entries[0] = entries[0].as_object().unwrap().values().cloned().collect();
        texts(&it)
    }),
    ("a large number", [true; 2], |it| {
        let share = format!(r#""maxShare":1{}"#, "0".repeat(400));
        (it.0.to_string().replacen(r#""maxShare":100"#, &share, 1), it.1.to_string())
    }),
    ("JSON escapes", [true; 2], |it| (it.0.to_string().replacen("Repeats", r"\ud83d\udd0d", 1), it.1.to_string())),
    ("half of the credentials", [true; 2], |it| {
        let (policy, credentials) = texts(&it);
        (policy, credentials[..credentials.len() / 2].to_owned())
    }),
    ("no credentials", [true; 2], |it| (it.0.to_string(), String::new())),
    ("credentials by their names", [false; 2], |mut it| {
        it.1["clients"] = by_name(&it.1["clients"]);
        texts(&it)
    }),
    ("a second list of credentials", [false; 2], |it| (it.0.to_string(), with(&it.1, r#""clients":[]"#))),
    ("an empty policy beside credentials without the key", [true; 2], |mut it| {
        credentials_of(&mut it, "agent")["apiKeys"] = json!([]);
        (String::new(), it.1.to_string())
    }),
];

fn texts(documents: &Documents) -> Texts {
    (documents.0.to_string(), documents.1.to_string())
}

/// A document with one more field, which it may have already.
fn with(document: &Value, field: &str) -> String {
    format!("{},{field}}}", document.to_string().strip_suffix('}').unwrap())
}

fn by_name(entries: &Value) -> Value {
    let entries = entries.as_array().unwrap().iter();
    entries.map(|entry| (entry["id"].as_str().unwrap().to_owned(), entry.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_revocation_is_in_force_in_whatever_form_it_is_written() {
    let running = start(&document(NOWHERE)).await;
    for (what, others, form) in FORMS {
        write(&running.config, &documents());
        until(PATIENCE, async || {
            let found = [may_call(&running, AGENT).await?, may_call(&running, &key_of(NEIGHBOUR)).await?];
            expect_eq(found, [true, true])
        })
        .await;
        let mut changed = documents();
        client_of(&mut changed.0, "agent")["suspended"] = json!(true);
        let (policy, credentials) = form(changed);
        running.config.write_text(Some(&policy), Some(&credentials)).unwrap();
        until_served(&running, what, others).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_counted_at_health_and_in_the_metrics_and_named_in_the_log() {
    let mut changed = documents();
    tool_of(&mut changed.0, "note")["later"] = json!("canary");
    changed.0["spec"]["backends"][0] = json!({"name": "api", "grpc": {}});
    client_of(&mut changed.0, NEIGHBOUR)["tools"] = json!(["echo", {"name": "find"}]);
    let config = ConfigFolder::new().unwrap();
    write(&config, &changed);
    let server = TestServer::start_in(config, &[LOOPBACK]).await.unwrap();
    until(PATIENCE, async || {
        let health = server.admin("/health").await.map_err(|error| error.to_string())?.json();
        let refused = json!({"server": 0, "backends": 1, "tools": 2, "clients": 1});
        expect_eq((&health["refused"], &health["checks"]["policy"]["status"]), (&refused, &json!("degraded")))
    })
    .await;
    let metrics = server.admin("/metrics").await.unwrap().text();
    assert!(metrics.contains("portcullis_parts_refused 4\n"), "{metrics}");
    until(PATIENCE, async || {
        let log = server.log.lines().join("\n");
        for field in ["spec.backends[0].grpc", "spec.tools[1].backend", "spec.tools[2].later", "clients[2].tools[1]"] {
            expect_eq(log.contains(field), true).map_err(|_| format!("{field} is not in {log}"))?;
        }
        Ok::<_, String>(())
    })
    .await;
    let policy = server.admin("/policy").await.unwrap().json();
    assert_eq!((&policy["policyRevision"], &policy["policyError"]), (&Value::Null, &json!(true)));
    // What a check refuses and what is served all the same is not refused.
    let mut changed = documents();
    tool_of(&mut changed.0, "find")["description"] = json!("x".repeat(5_000));
    tool_of(&mut changed.0, "find")["timeout"] = json!("20m");
    write(&server.config, &changed);
    until(PATIENCE, async || {
        let health = server.admin("/health").await.map_err(|error| error.to_string())?.json();
        expect_eq((&health["refused"], &health["checks"]["policy"]["status"]), (&Value::Null, &json!("healthy")))
    })
    .await;
    until(PATIENCE, async || {
        let log = server.log.lines().join("\n");
        let is_said = log.contains("spec.tools[1].timeout: must be from 10ms to 10m");
        expect_eq(is_said, true).map_err(|error| format!("{error}: {log}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_keys_refuse_only_what_contains_them() {
    let server = start(&document(NOWHERE)).await;
    let (policy, credentials) = documents();
    let of_neighbour = format!("\"uid\":\"uid-{NEIGHBOUR}\"");
    let twice = |text: String| text.replacen(&of_neighbour, &format!("{of_neighbour},{of_neighbour}"), 1);
    for (policy, credentials) in
        [(twice(policy.to_string()), credentials.to_string()), (policy.to_string(), twice(credentials.to_string()))]
    {
        write(&server.config, &documents());
        let all = [true, true, true];
        let served = async || -> Result<[bool; 3], String> {
            let neighbour = may_call(&server, &key_of(NEIGHBOUR)).await?;
            Ok([may_call(&server, AGENT).await?, may_call(&server, READER).await?, neighbour])
        };
        until(PATIENCE, async || expect_eq(served().await?, all)).await;
        server.config.write_text(Some(&policy), Some(&credentials)).unwrap();
        until(PATIENCE, async || expect_eq(served().await?, [true, true, false])).await;
    }
}
