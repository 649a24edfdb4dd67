//! A policy, its snapshot and a guard, for unit tests that need all of a server but its ports.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use portcullis_crds::contract::KeyDigest;
use serde_json::{Value, json};

use crate::{
    audit::{Audit, Options, arguments::DigestKey},
    backend::{AddressPolicy, Factory},
    config::{CredentialsDocument, PolicyDocument, ServerInForce, Snapshot, Tools},
    guard::{Caller, Guard},
    limiter::{self, Clock, InFlight, MemoryStore},
    mcp::{Answer, Begun, Group, Mcp, queue},
    metrics::Metrics,
    protocol::{refusal::Refusal, request::Request},
    session::Sealer,
};

/// A client that was granted `greet`, with these fields beside the required ones. Its key is `key-of-<id>`.
pub fn client(id: &str, more: &Value) -> Value {
    let mut client = json!({"id": id, "uid": "u", "tools": ["greet"], "maxRecordsPerQuery": 1,
        "limits": [{"requests": 100, "per": "1m"}]});
    client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client
}

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

pub fn snapshot(policy: &Value, credentials: &Value) -> Snapshot {
    let (policy, _) = PolicyDocument::parse(&policy.to_string()).unwrap();
    let (credentials, _) = CredentialsDocument::parse(&credentials.to_string()).unwrap();
    let checked = policy.server.as_ref().unwrap();
    let server = ServerInForce {
        half: checked.half().clone(),
        tools: Arc::new(Tools::new(checked, None, &factory(), &Metrics::default())),
        limit_store: limiter::Stores::default().of(&checked.half().spec.limits),
    };
    let keys = (Arc::new(Sealer::with_random_key()), DigestKey::random());
    Snapshot::new(&policy, server, Some(&credentials), keys)
}

/// The methods, and `test/count`, which sends three notifications before its result if the caller accepts a stream.
pub fn mcp(guard: Guard) -> Mcp {
    const GROUPS: [Group; 3] = [Mcp::GROUPS[0], Mcp::GROUPS[1], count];
    Mcp::with_groups(guard, &GROUPS)
}

fn count<'s>(_: &Guard, _: Caller<'s>, request: &mut Request<'_>, id: &str) -> Option<Result<Begun<'s>, Refusal>> {
    if request.message.method != "test/count" {
        return None;
    }
    let response = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"count":3}}}}"#));
    if !request.carrier.accepts_stream() {
        return Some(Ok(Begun::Answer(Answer::Result { response, session: None })));
    }
    let messages = stream::once(async {
        let (sender, messages) = queue();
        tokio::spawn(async move {
            for n in 1..=3 {
                let params = json!({"progressToken": "t", "progress": n});
                let message = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                sender.send(message.to_string().into()).await.unwrap();
            }
            sender.send(response).await.unwrap();
        });
        messages
    });
    let messages = messages.flatten().boxed();
    Some(Ok(Begun::Answer(Answer::Stream { id: id.to_owned(), messages })))
}

/// Makes backends on this machine.
pub fn factory() -> Factory {
    Factory::new(AddressPolicy::ServicesAndLoopback).unwrap()
}

/// A guard that records to a log in memory.
pub fn guard() -> (Guard, Log) {
    let log = Log::default();
    let guard = Guard {
        audit: Audit::start(Box::new(log.clone()), Options::new("test")).unwrap(),
        allowance: MemoryStore::default(),
        in_flight: InFlight::default(),
        clock: Clock::start(),
        metrics: Metrics::default(),
    };
    (guard, log)
}

/// An audit log in memory.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The records so far.
    pub fn records(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
