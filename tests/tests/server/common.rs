//! The server that most tests start: a few tools of each kind, one client that may do everything and one that may do little,
//! and limits that nobody meets.

use std::time::Duration;

use portcullis_crds::{Credentials, Policy};
use portcullis_tests::http::Answer;
use portcullis_tests::server::{ClientKey, credentials, policy};
use serde_json::{Map, Value, json};

/// The key of `agent`, who may call every tool.
pub const AGENT: &str = "portcullis_agent-agent-agent-agent-agent-agent-0";
/// The key of `reader`, who may call `echo` and `find`, and write nothing.
pub const READER: &str = "portcullis_reader-reader-reader-reader-reader-0";
/// Longer than anything here takes on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The text of the policy; a test may change it before it is parsed.
pub fn policy_text(api: &str) -> String {
    POLICY.replace("API", api)
}

const POLICY: &str = r#"
contract: 1
server: {namespace: sales, name: crm, hosts: [crm.sales.svc]}
spec:
  backends: [{name: api, http: {url: "API", healthPath: /healthz}}, {name: fixed, static: {}}]
  tools:
    - name: echo
      description: Says it again.
      backend: fixed
      static: {text: "you said {text}"}
      inputSchema: {type: object, required: [text], additionalProperties: false, properties: {text: {type: string, maxLength: 200}}}
    - name: find
      description: Finds contacts.
      backend: api
      http: {method: GET, path: /contacts, query: {q: "{query}", limit: "{limit}"}}
      records: {path: /items, limitArgument: limit, cursorPath: /next}
      inputSchema: {type: object, required: [query], additionalProperties: false,
        properties: {query: {type: string}, limit: {type: integer, minimum: 1, maximum: 500}}}
    - name: note
      description: Writes a note.
      backend: api
      http: {method: POST, path: "/contacts/{id}/notes", body: {text: "{text}"}}
      inputSchema: {type: object, required: [id, text], properties: {id: {type: string}, text: {type: string}}}
clients:
  - {id: agent, uid: uid-agent, tools: [echo, find, note], maxRecordsPerQuery: 10, allowWrite: true, limits: [{requests: 1000000, per: 1s}]}
  - {id: reader, uid: uid-reader, tools: [echo, find, note], maxRecordsPerQuery: 100, limits: [{requests: 1000000, per: 1s}]}
"#;

const NO_LIMITS: &str = "
  limits:
    global: {requests: 1000000, per: 1s, maxShare: 100}
    perClient: {requests: 1000000, per: 1s}
    expensiveTools: {requests: 1000000, per: 1s}
clients:";

/// The policy as it is, with limits that nobody meets.
pub fn unlimited(api: &str) -> Policy {
    policy(&policy_text(api).replacen("\nclients:", NO_LIMITS, 1)).unwrap()
}

/// The credentials of both clients.
pub fn keys() -> Credentials {
    let agent = ClientKey { client: "agent", uid: "uid-agent", key: AGENT };
    let reader = ClientKey { client: "reader", uid: "uid-reader", key: READER };
    credentials(&[agent, reader]).unwrap()
}

/// An address of the loopback where nobody listens.
pub const NOWHERE: &str = "http://127.0.0.1:9";

/// An answer as one value: its status, its headers but the time and the length, its body.
pub fn whole(answer: &Answer) -> Value {
    let headers: Map<String, Value> = answer
        .headers
        .iter()
        .filter(|(name, _)| name != "date" && name != "content-length")
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    json!({"status": answer.status, "headers": headers, "body": answer.json()})
}

/// An answer of JSON as [`whole`] shows it.
pub fn answer(status: u16, body: Value) -> Value {
    json!({"status": status, "headers": {"content-type": "application/json"}, "body": body})
}

/// The same with one more header.
pub fn answer_with(status: u16, name: &str, value: &str, body: Value) -> Value {
    json!({"status": status, "headers": {"content-type": "application/json", name: value}, "body": body})
}

/// A JSON-RPC error for the request of id 1.
pub fn error(code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}})
}

/// The text of a tool's result.
pub fn text(answer: &Answer) -> String {
    answer.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}
