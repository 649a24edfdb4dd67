//! A guard with its log, tools, clients and identities, for unit tests.

use std::{
    io::{self, Write},
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use portcullis_crds::{
    check,
    contract::{Limits, PolicyClient, PolicyReading},
};
use serde_json::{Value, json};

use crate::{
    audit::{Audit, Options},
    config::{Snapshot, Store, StoreSettings, Tool, Tools, fixtures::factory},
    guard::{Answers, Caller, Checks, Guard, Turns, Via},
    identity::{Client, Credential, Identity, Presented},
    limiter::{Clock, InFlight, MemoryStore},
    metrics::Metrics,
    net::ConnectionFacts,
    protocol::headers::Pairs,
};

static LAST_RECORDED: AtomicU64 = AtomicU64::new(0);

/// A guard that records to a log in memory.
pub fn guard() -> (Guard, Log) {
    let log = Log::default();
    let guard = Guard {
        store: Arc::new(Store::new(StoreSettings::of(Path::new("")))),
        checks: Checks::default(),
        readings: Turns::default(),
        audit: Audit::start(Box::new(log.clone()), Options::new("test")).unwrap(),
        allowance: MemoryStore::default(),
        in_flight: InFlight::default(),
        answers: Answers::default(),
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

/// A static tool `t`, with these fields beside the required ones.
pub fn tool(more: &Value) -> Tool {
    let mut tool =
        json!({"name": "t", "description": "d", "backend": "b", "static": {"structuredContent": {"items": []}}});
    extend(&mut tool, more);
    let policy = json!({"contract": 1, "server": {"namespace": "n", "name": "s"},
        "spec": {"backends": [{"name": "b", "static": {}}], "tools": [tool]}});
    let half = check::server_half(PolicyReading::parse(&policy.to_string()).unwrap().server.strict().unwrap()).unwrap();
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
        credential: Credential { id: "k", digest: None, last_recorded: &LAST_RECORDED },
        narrowing: None,
        expires: None,
    }
}

/// The identity of a client of a snapshot, by its API key.
pub fn identity_in<'s>(snapshot: &'s Snapshot, client: &str) -> Identity<'s> {
    let connection = ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() };
    let key = format!("key-of-{client}");
    let presented = Presented { headers: &Pairs(&[("x-api-key", &key)]), connection: &connection };
    snapshot.identify(&presented, Duration::ZERO).unwrap()
}

/// A caller that came by no HTTP.
pub fn caller<'a>(snapshot: &'a Snapshot, identity: &'a Identity<'a>) -> Caller<'a> {
    let via = Via { peer: Ipv4Addr::LOCALHOST.into(), route: "pipe", status: |_| None };
    Caller { snapshot, identity, via }
}

fn extend(object: &mut Value, more: &Value) {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}
