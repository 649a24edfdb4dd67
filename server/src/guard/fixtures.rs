//! Tools, clients and identities for the tests of the guard.

use std::{sync::atomic::AtomicU64, time::Duration};

use portcullis_crds::{
    check,
    contract::{Limits, PolicyClient, PolicyReading},
};
use serde_json::{Value, json};

use crate::{
    config::{Client, Snapshot, Tool, Tools},
    fixtures::factory,
    identity::{Credential, Identity, Presented, identify},
    metrics::Metrics,
    net::ConnectionFacts,
    protocol::headers::Pairs,
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
    let tools = Tools::new(&half, None, &factory(), &Metrics::default());
    tools.by_name.into_values().next().unwrap()
}

/// A client `c` that was granted `t`, with these fields beside the required ones.
pub fn client(more: &Value) -> Client {
    let mut client = json!({"id": "c", "uid": "u", "tools": ["t"], "maxRecordsPerQuery": 1,
        "limits": [{"requests": 1, "per": "1m"}]});
    extend(&mut client, more);
    let client: PolicyClient = serde_json::from_value(client).unwrap();
    Client::new(&client, &Limits::default())
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

/// The identity of a client of `crate::fixtures`, by its API key.
pub fn identity_in<'s>(snapshot: &'s Snapshot, client: &str) -> Identity<'s> {
    let connection = ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() };
    let key = format!("key-of-{client}");
    let presented = Presented { headers: &Pairs(&[("x-api-key", &key)]), connection: &connection };
    identify(snapshot, &presented, Duration::ZERO).unwrap()
}

fn extend(object: &mut Value, more: &Value) {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}
