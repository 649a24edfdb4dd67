//! Clients and their credentials as documents, for unit tests.

use portcullis_crds::contract::KeyDigest;
use serde_json::{Value, json};

/// A client that was granted `greet`, with these fields beside the required ones. Its key is `key-of-<id>`.
pub fn client(id: &str, more: &Value) -> Value {
    let mut client = json!({"id": id, "uid": "u", "tools": ["greet"], "maxRecordsPerQuery": 1,
        "limits": [{"requests": 100, "per": "1m"}]});
    client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client
}

/// The credentials of these clients.
pub fn credentials(ids: &[&str]) -> Value {
    let clients: Vec<_> = ids
        .iter()
        .map(|id| {
            let sha256 = String::from(KeyDigest::of(format!("key-of-{id}").as_bytes()));
            json!({"id": id, "uid": "u", "apiKeys": [{"id": format!("k-{id}"), "sha256": sha256}]})
        })
        .collect();
    json!({"contract": 1, "clients": clients})
}
