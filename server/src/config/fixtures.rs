//! A policy and its snapshot, for unit tests.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{CredentialsDocument, PolicyDocument, ServerInForce, Snapshot, Tools};
use crate::{
    audit::arguments::DigestKey,
    backend::{AddressPolicy, Factory},
    limiter,
    metrics::Metrics,
    session::Sealer,
};

/// A policy of these clients, with a static tool `greet` that greets `name`.
pub fn policy(clients: &[Value]) -> Value {
    json!({
        "contract": 1, "server": {"namespace": "n", "name": "s"},
        "spec": {"backends": [{"name": "fixed", "static": {}}],
            "tools": [{"name": "greet", "description": "Greets.", "backend": "fixed", "static": {"text": "Hello {name}"},
                "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}]},
        "clients": clients,
    })
}

/// A snapshot of two documents.
pub fn snapshot(policy: &Value, credentials: &Value) -> Snapshot {
    let (policy, _) = PolicyDocument::parse(&policy.to_string()).unwrap();
    let (credentials, _) = CredentialsDocument::parse(&credentials.to_string()).unwrap();
    let checked = &policy.server.as_ref().unwrap().half;
    let server = ServerInForce {
        half: checked.clone(),
        tools: Arc::new(Tools::new(checked, None, &factory(), &Metrics::default())),
        limit_store: limiter::Stores::default().of(&checked.half().spec.limits),
    };
    let keys = (Arc::new(Sealer::with_random_key()), DigestKey::random());
    Snapshot::new(&policy, server, Some(&credentials), keys, (true, true))
}

/// Makes backends on this machine.
pub fn factory() -> Factory {
    Factory::new(AddressPolicy::ServicesAndLoopback, 64).unwrap()
}
