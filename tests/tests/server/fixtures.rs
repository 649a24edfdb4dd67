//! The documents of the server that most tests start: one tool of each kind, a client that may use all of them, a client that
//! may only read, and limits that no test reaches. A test edits the document before it starts the server.

use portcullis_crds::contract::{Credentials, Policy};
use portcullis_tests::server::{ClientKey, TestServer, credentials, policy};
use serde_json::{Value, json};

/// The key of `agent`, who may call every tool.
pub const AGENT: &str = "portcullis_agent-agent-agent-agent-agent-agent-0";
/// The key of `reader`, who may call `echo` and `find`, and `note` if it did not write.
pub const READER: &str = "portcullis_reader-reader-reader-reader-reader-0";

/// An address of this machine on which nothing listens.
pub const NOWHERE: &str = "http://127.0.0.1:9";

/// A limit that no test reaches.
pub fn plenty() -> Value {
    json!({"requests": 1_000_000, "per": "1s"})
}

/// The policy document, whose tools `find` and `note` call the service at `api`.
pub fn document(api: &str) -> Value {
    json!({
        "contract": 1,
        "server": {"namespace": "sales", "name": "crm", "hosts": ["crm.sales.svc"]},
        "spec": {
            "backends": [{"name": "api", "http": {"url": api, "healthPath": "/healthz"}}, {"name": "fixed", "static": {}}],
            "limits": {
                "global": {"requests": 1_000_000, "per": "1s", "maxShare": 100},
                "perClient": plenty(),
                "expensiveTools": plenty(),
            },
            "tools": [
                {
                    "name": "echo", "description": "Repeats a text.", "backend": "fixed",
                    "static": {"text": "you said {text}"},
                    "inputSchema": {"type": "object", "required": ["text"], "additionalProperties": false,
                        "properties": {"text": {"type": "string", "maxLength": 200}}},
                },
                {
                    "name": "find", "description": "Finds contacts.", "backend": "api",
                    "http": {"method": "GET", "path": "/contacts", "query": {"q": "{query}", "limit": "{limit}"}},
                    "records": {"path": "/items", "limitArgument": "limit", "cursorPath": "/next"},
                    "inputSchema": {"type": "object", "required": ["query"], "additionalProperties": false, "properties": {
                        "query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1, "maximum": 500}}},
                },
                {
                    "name": "note", "description": "Writes a note.", "backend": "api",
                    "http": {"method": "POST", "path": "/contacts/{id}/notes", "body": {"text": "{text}"}},
                    "inputSchema": {"type": "object", "required": ["id", "text"],
                        "properties": {"id": {"type": "string"}, "text": {"type": "string"}}},
                },
            ],
        },
        "clients": [
            client("agent", &["echo", "find", "note"], 10, true),
            client("reader", &["echo", "find", "note"], 100, false),
        ],
    })
}

/// A client of a policy, with the UID `uid-ID`.
pub fn client(id: &str, tools: &[&str], max_records: u32, allow_write: bool) -> Value {
    json!({"id": id, "uid": format!("uid-{id}"), "tools": tools, "maxRecordsPerQuery": max_records,
        "allowWrite": allow_write, "limits": [plenty()]})
}

/// The client of a document that has this id.
pub fn client_of<'a>(document: &'a mut Value, id: &str) -> &'a mut Value {
    let clients = document["clients"].as_array_mut().unwrap();
    clients.iter_mut().find(|client| client["id"] == id).unwrap()
}

/// The tool of a document that has this name.
pub fn tool_of<'a>(document: &'a mut Value, name: &str) -> &'a mut Value {
    let tools = document["spec"]["tools"].as_array_mut().unwrap();
    tools.iter_mut().find(|tool| tool["name"] == name).unwrap()
}

/// A document as the policy that it is.
pub fn parsed(document: &Value) -> Policy {
    policy(&document.to_string()).unwrap()
}

/// The credentials of both clients.
pub fn keys() -> Credentials {
    let agent = ClientKey { client: "agent", uid: "uid-agent", key: AGENT };
    let reader = ClientKey { client: "reader", uid: "uid-reader", key: READER };
    credentials(&[agent, reader]).unwrap()
}

/// The key of a client that is not one of the two.
pub fn key_of(id: &str) -> String {
    format!("portcullis_{id}-0123456789-0123456789-0123456789")
}

/// The credentials of clients whose keys are [`key_of`] their ids.
pub fn keys_of(ids: &[&str]) -> Credentials {
    let keys: Vec<(String, String)> = ids.iter().map(|id| (format!("uid-{id}"), key_of(id))).collect();
    let keys: Vec<ClientKey<'_>> =
        ids.iter().zip(&keys).map(|(client, (uid, key))| ClientKey { client, uid, key }).collect();
    credentials(&keys).unwrap()
}

/// Starts a server with this document and the keys of `agent` and `reader`.
pub async fn start(document: &Value) -> TestServer {
    TestServer::start(&parsed(document), &keys()).await.unwrap()
}

/// Starts a server with this document and the keys of these clients.
pub async fn start_for(document: &Value, clients: &[&str]) -> TestServer {
    TestServer::start(&parsed(document), &keys_of(clients)).await.unwrap()
}
