//! Tools, clients and identities for the tests of the guard.

use std::{collections::HashMap, sync::atomic::AtomicU64};

use portcullis_crds::{
    check,
    contract::{Limits, PolicyClient, PolicyReading},
};
use serde_json::{Value, json};

use crate::{
    config::{Client, Tool},
    identity::{Credential, Identity},
    metrics::Metrics,
};

static LAST_RECORDED: AtomicU64 = AtomicU64::new(0);

/// A static tool `t`, with these fields beside the required ones.
pub fn tool(more: &Value) -> Tool {
    let mut tool =
        json!({"name": "t", "description": "d", "backend": "b", "static": {"structuredContent": {"items": []}}});
    extend(&mut tool, more);
    let policy = json!({"contract": 1, "server": {"namespace": "n", "name": "s"},
        "spec": {"backends": [{"name": "b", "static": {}}], "tools": [tool]}});
    let half = check::server_half(PolicyReading::parse(&policy.to_string()).unwrap().server.unwrap()).unwrap();
    let tool = half.tools().next().unwrap();
    Tool::new(tool, &Limits::default(), 1, &HashMap::new(), &Metrics::default()).unwrap()
}

/// A client `c` that was granted `t`, with these fields beside the required ones.
pub fn client(more: &Value) -> Client {
    let mut client = json!({"id": "c", "uid": "u", "tools": ["t"], "maxRecordsPerQuery": 1,
        "limits": [{"requests": 1, "per": "1m"}]});
    extend(&mut client, more);
    let client: PolicyClient = serde_json::from_value(client).unwrap();
    Client::new(&client, &Limits::default(), 1)
}

/// The identity of a client, by its API key.
pub fn identity(client: &Client) -> Identity<'_> {
    Identity {
        client,
        subject: None,
        fingerprint: client.fingerprint,
        credential: Credential { id: "k", last_recorded: &LAST_RECORDED },
        narrowing: None,
        expires: None,
    }
}

fn extend(object: &mut Value, more: &Value) {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}
