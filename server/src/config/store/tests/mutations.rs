//! Documents with one fault anywhere, together with a revocation elsewhere: the revocation is in force, whatever the fault is, nobody
//! gains by it, and a server that starts with the documents serves what one serves that is running.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_crds::{
    check,
    contract::{CredentialsReading, KeyDigest, PolicyReading},
};

use super::*;
use crate::{config::RefusedParts, guard::authorise};

const CLIENTS: [&str; 3] = ["a", "b", "c"];

/// Both documents, with every field that a client's access depends on.
fn documents() -> (Value, Value) {
    let schema = json!({"type": "object", "required": ["id"], "properties": {
        "id": {"type": "string", "pattern": "^[a-z]{1,8}$"}, "limit": {"type": "integer", "minimum": 1}}});
    let clients = CLIENTS.map(|id| {
        client(id, &json!({"tools": ["about", "find", "note"], "maxRecordsPerQuery": 10, "allowWrite": true,
            "limits": [{"requests": 60, "per": "1m"}, {"requests": 600, "per": "1h"}], "expiresAt": "2100-01-01T00:00:00Z"}))
    });
    let policy = json!({
        "contract": 1,
        "server": {"namespace": "sales", "name": "crm", "replicas": 2, "hosts": ["crm"]},
        "spec": {
            "backends": [
                {"name": "fixed", "static": {}},
                {"name": "api", "critical": true, "http": {"url": "http://api.example:80", "healthPath": "/healthz"}}],
            "tools": [
                {"name": "about", "description": "x", "backend": "fixed", "static": {"text": "x", "structuredContent": {"a": [1]}}},
                {"name": "find", "title": "Find", "description": "x", "backend": "api", "expensive": true, "timeout": "5s",
                    "inputSchema": schema, "http": {"method": "GET", "path": "/{id}", "query": {"n": "{limit}"}},
                    "records": {"path": "/items", "limitArgument": "limit", "cursorPath": "/next"}, "audit": {"values": ["id"]}},
                {"name": "note", "description": "x", "backend": "api", "effect": "Write", "inputSchema": schema,
                    "http": {"method": "POST", "path": "/{id}", "body": {"text": "{id}"}}}],
            "authentication": {"apiKey": {"mode": "Optional"}},
            "clients": [{"namespaces": {"from": "All"}, "allow": {"tools": ["*"], "effects": ["Read"]}, "maxClients": 5}],
            "limits": {"global": {"requests": 900, "per": "1m", "maxShare": 40}, "perClient": {"requests": 90, "per": "1m"},
                "expensiveTools": {"requests": 9, "per": "1m"}},
            "audit": {"arguments": "Shape", "onOverflow": "Refuse"},
            "logLevel": "info"},
        "clients": clients,
    });
    let entries = CLIENTS.map(|id| {
        let key = |n: u32| {
            let sha256 = String::from(KeyDigest::of(format!("key-{n}-of-{id}").as_bytes()));
            json!({"id": format!("k{n}"), "sha256": sha256})
        };
        json!({"id": id, "uid": "u", "apiKeys": [key(1), key(2)]})
    });
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    (policy, json!({"contract": 1, "clients": entries, "keys": {"sessions": key, "arguments": key}}))
}

/// What a client does no more.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Revocation {
    Suspend,
    Expire,
    Narrow,
    Delete,
    /// Its first key is replaced.
    Key,
}

const REVOCATIONS: [Revocation; 5] =
    [Revocation::Suspend, Revocation::Expire, Revocation::Narrow, Revocation::Delete, Revocation::Key];

impl Revocation {
    fn apply(self, (policy, credentials): &mut (Value, Value), victim: usize) {
        let entry = &mut policy["clients"][victim];
        match self {
            Self::Suspend => entry["suspended"] = json!(true),
            Self::Expire => entry["expiresAt"] = json!("1960-01-01T00:00:00Z"),
            Self::Narrow => entry["tools"] = json!(["about"]),
            Self::Delete => drop(policy["clients"].as_array_mut().unwrap().remove(victim)),
            Self::Key => credentials["clients"][victim]["apiKeys"][0]["sha256"] = json!("0".repeat(64)),
        }
    }

    fn is_in_force(self, access: &Access, victim: usize) -> bool {
        let id = CLIENTS[victim];
        let of_victim = access.0.keys().filter(|(key, _)| key.ends_with(&format!("of-{id}")));
        match self {
            Self::Narrow => of_victim.into_iter().all(|(_, tool)| tool == "about"),
            Self::Key => of_victim.into_iter().all(|(key, _)| !key.starts_with("key-1")),
            _ => of_victim.count() == 0,
        }
    }
}

/// What is wrong with a value.
#[derive(Debug, PartialEq)]
enum Fault {
    Value(Value),
    /// It is missing.
    Missing,
    /// It has a field that nobody knows.
    Unknown,
    /// It is there twice: an item of a list, or a field.
    Twice,
    /// It is a list of its fields' values.
    Positional,
}

fn faults() -> Vec<Fault> {
    let junk = [json!(null), json!("junk"), json!(-1), json!(1.5), json!([]), json!({}), json!(true), json!(["junk"])];
    let junk = junk.into_iter().map(Fault::Value);
    junk.chain([Fault::Missing, Fault::Unknown, Fault::Twice, Fault::Positional]).collect()
}

/// The order of the fields where it is not that of their names.
const ORDER: [&str; 12] = [
    "namespace",
    "id",
    "uid",
    "name",
    "tools",
    "maxRecordsPerQuery",
    "allowWrite",
    "limits",
    "requests",
    "per",
    "sessions",
    "arguments",
];

/// The values of a mapping, which the decoder of a struct takes for the mapping.
fn positional(fields: &serde_json::Map<String, Value>) -> Value {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    fields.into_iter().map(|(_, value)| value.clone()).collect()
}

/// The pointers of all values.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), into)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, it)| pointers(it, &format!("{at}/{n}"), into)),
        _ => {}
    }
}

/// The text of a document with a fault; `None` if the value cannot have it.
fn spoil(document: &Value, at: &str, fault: &Fault) -> Option<String> {
    let mut spoilt = document.clone();
    let (parent, name) = at.rsplit_once('/')?;
    let parent = spoilt.pointer_mut(parent)?;
    match fault {
        Fault::Value(junk) => *spoilt.pointer_mut(at)? = junk.clone(),
        Fault::Positional => {
            let value = spoilt.pointer_mut(at)?;
            *value = positional(value.as_object()?);
        }
        Fault::Missing => match parent {
            Value::Object(fields) => drop(fields.remove(name)),
            Value::Array(items) => drop(items.remove(name.parse().ok()?)),
            _ => return None,
        },
        Fault::Unknown => drop(spoilt.pointer_mut(at)?.as_object_mut()?.insert("later".into(), json!(1))),
        Fault::Twice => match parent {
            Value::Array(items) => {
                let n: usize = name.parse().ok()?;
                items.insert(n, items[n].clone());
            }
            Value::Object(fields) => {
                // JSON that serde_json cannot represent.
                let value = fields.remove(name)?;
                fields.insert("TWICE".into(), value.clone());
                let one = format!("\"TWICE\":{value}");
                return Some(spoilt.to_string().replace(&one, &format!("\"{name}\":{value},\"{name}\":{value}")));
            }
            _ => return None,
        },
    }
    Some(spoilt.to_string())
}

/// A key and a tool.
type Call = (String, String);
/// The records, and the limits of the client and of the tool.
type Bounds = (u32, BTreeSet<(u32, Duration)>);
/// Whether a key can no longer call a tool.
type IsLost = Box<dyn Fn(&str, &str) -> bool>;

/// What each key may call, and with which bounds.
#[derive(Debug, Default, PartialEq)]
struct Access(BTreeMap<Call, Bounds>);

impl Access {
    fn of(store: &Store) -> Self {
        let mut access = Self::default();
        let Some(snapshot) = store.current() else { return access };
        for key in CLIENTS.into_iter().flat_map(|id| [1, 2].map(|n| format!("key-{n}-of-{id}"))) {
            let connection = ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() };
            let presented = Presented { headers: &Pairs(&[("x-api-key", &key)]), connection: &connection };
            let Ok(identity) = snapshot.identify(&presented, Duration::ZERO) else { continue };
            for (name, tool) in &snapshot.tools.by_name {
                if authorise(Some(tool), &identity).is_ok() {
                    let limits = &identity.client.limits;
                    let rates = limits.own.iter().chain([&limits.share, &limits.global]).chain(&tool.expensive);
                    let rates = rates.map(|rate| (rate.requests, rate.per)).collect();
                    access.0.insert((key.clone(), name.to_string()), (identity.client.max_records, rates));
                }
            }
        }
        access
    }

    fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|(call, (records, limits))| {
            other.0.get(call).is_some_and(|(most, of_other)| records <= most && of_other.is_subset(limits))
        })
    }

    fn without(&self, is_left_out: impl Fn(&str, &str) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|((key, tool), _)| !is_left_out(key, tool))
                .map(|(a, b)| (a.clone(), b.clone()))
                .collect(),
        )
    }
}

fn put(directory: &TempDir, (policy, credentials): (&str, &str)) {
    std::fs::write(directory.path().join(POLICY_FILE), policy).unwrap();
    std::fs::write(directory.path().join(CREDENTIALS_FILE), credentials).unwrap();
}

fn loaded(store: &Store, directory: &TempDir, documents: (&str, &str)) -> (Access, RefusedParts) {
    put(directory, documents);
    store.reload();
    (Access::of(store), store.current().map(|snapshot| snapshot.refused).unwrap_or_default())
}

/// Whether both documents are what an operator could have written.
fn is_valid((policy, credentials): (&str, &str)) -> bool {
    let policy = PolicyReading::parse(policy).is_ok_and(|reading| {
        reading.refused.is_empty() && reading.server.strict().and_then(check::server_half).is_ok()
    });
    policy
        && CredentialsReading::parse(credentials)
            .is_ok_and(|reading| reading.refused.is_empty() && reading.keys.is_ok())
}

/// A fault beside a revocation.
struct Case<'a> {
    in_policy: bool,
    at: &'a str,
    fault: &'a Fault,
    revocation: Revocation,
    victim: usize,
}

#[test]
fn a_fault_holds_back_no_revocation_and_gives_nobody_anything() {
    let revocations: Vec<_> = REVOCATIONS.into_iter().flat_map(|it| (0..CLIENTS.len()).map(move |n| (it, n))).collect();
    let base = documents();
    let faults = faults();
    let expected = |(revocation, victim): (Revocation, usize)| {
        let mut revoked = base.clone();
        revocation.apply(&mut revoked, victim);
        let directory = tempfile::tempdir().unwrap();
        loaded(&store(&directory), &directory, (&revoked.0.to_string(), &revoked.1.to_string())).0
    };
    let expected: Vec<_> = revocations.iter().map(|it| (*it, expected(*it))).collect();
    let mut tried = 0;
    for (in_policy, document) in [(true, &base.0), (false, &base.1)] {
        let mut places = Vec::new();
        pointers(document, "", &mut places);
        for (n, at) in places.iter().enumerate() {
            for (m, fault) in faults.iter().enumerate() {
                // Each place has each fault, and the revocations take turns.
                let mut turn = expected.iter().cycle().skip(n + m).take(expected.len());
                tried += usize::from(turn.any(|((revocation, victim), expected)| {
                    let case = Case { in_policy, at, fault, revocation: *revocation, victim: *victim };
                    case.documents(&base)
                        .map(|(revoked, texts)| case.check(&base, &revoked, &texts, expected))
                        .is_some()
                }));
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
}

impl Case<'_> {
    fn is_deleted(&self) -> bool {
        self.in_policy && self.revocation == Revocation::Delete
    }

    /// The documents with the revocation, and their texts with the fault, too; `None` if there is no such case.
    fn documents(&self, base: &(Value, Value)) -> Option<((Value, Value), (String, String))> {
        // Not in the entry of the victim, and not what makes a document none at all.
        let of_victim = format!("/clients/{}", self.victim);
        let is_of_all = ["", "/contract", "/clients", "/server", "/spec"].contains(&self.at);
        let is_of_victim = self.at == of_victim || self.at.starts_with(&format!("{of_victim}/"));
        if is_of_all || is_of_victim && !self.is_deleted() {
            return None;
        }
        let mut revoked = base.clone();
        self.revocation.apply(&mut revoked, self.victim);
        let (policy, credentials) = (revoked.0.to_string(), revoked.1.to_string());
        let spoilt = spoil(if self.in_policy { &revoked.0 } else { &revoked.1 }, self.at, self.fault)?;
        Some((revoked, if self.in_policy { (spoilt, credentials) } else { (policy, spoilt) }))
    }

    /// `expected` is what is in force without the fault.
    fn check(&self, base: &(Value, Value), revoked: &(Value, Value), texts: &(String, String), expected: &Access) {
        let Self { in_policy, at, fault, revocation, victim } = *self;
        let documents = (&*texts.0, &*texts.1);
        let [of_running, of_started] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (running, started) = (store(&of_running), store(&of_started));
        loaded(&running, &of_running, (&base.0.to_string(), &base.1.to_string()));
        let (reloaded, refused) = loaded(&running, &of_running, documents);
        let (restarted, _) = loaded(&started, &of_started, documents);

        assert!(revocation.is_in_force(&reloaded, victim), "running: {at} {fault:?} {reloaded:?}");
        assert!(revocation.is_in_force(&restarted, victim), "started: {at} {fault:?} {restarted:?}");
        assert!(restarted.is_within(&reloaded), "{at} {fault:?} {restarted:?} {reloaded:?}");
        if refused.server + refused.tools + refused.backends == 0 {
            assert_eq!(&restarted, &reloaded, "{} {:?}", at, fault);
        }
        // A fault that is a valid value is a change.
        if is_valid(documents) {
            return;
        }
        assert!(reloaded.is_within(expected), "{at} {fault:?} {reloaded:?} {expected:?}");
        // What does not contain the fault is served as if there were none.
        let is_deleted = self.is_deleted();
        let segments: Vec<&str> = at.split('/').skip(1).collect();
        let is_lost: IsLost = match segments[..] {
            ["clients", n, ..] => {
                let n: usize = n.parse().unwrap();
                let id = CLIENTS[if is_deleted && n >= victim { n + 1 } else { n }];
                Box::new(move |key: &str, _: &str| key.ends_with(id))
            }
            ["spec", "tools", n, ..] => {
                let name = revoked.0["spec"]["tools"][n.parse::<usize>().unwrap()]["name"].as_str().unwrap().to_owned();
                Box::new(move |_: &str, tool: &str| tool == name)
            }
            ["spec", "backends", "0", ..] => Box::new(|_: &str, tool: &str| tool == "about"),
            ["spec", "backends", "1", ..] => Box::new(|_: &str, tool: &str| tool != "about"),
            ["spec", "clients" | "audit" | "logLevel", ..] => Box::new(|_: &str, _: &str| false),
            _ if in_policy => Box::new(|_: &str, _: &str| true),
            _ => Box::new(|_: &str, _: &str| false),
        };
        assert_eq!(restarted.without(&is_lost), expected.without(&is_lost), "started: {} {:?}", at, fault);
        // A tool that has no name any more is not known, and one whose backend is another one, or was removed, does not stay.
        let is_lost_running = |key: &str, tool: &str| match segments[..] {
            ["spec", "tools" | "backends"] if *fault == Fault::Value(json!(["junk"])) => is_lost(key, tool),
            ["spec", "backends", _] if matches!(fault, Fault::Missing | Fault::Value(_) | Fault::Positional) => {
                is_lost(key, tool)
            }
            ["spec", "backends", _, "name"] => is_lost(key, tool),
            ["spec", "tools", _] | ["spec", "tools", _, "name"] | ["clients", ..] => is_lost(key, tool),
            _ => false,
        };
        assert_eq!(reloaded.without(is_lost_running), expected.without(is_lost_running), "running: {} {:?}", at, fault);
        if let (["spec", "backends", _], Fault::Missing) = (&segments[..], fault) {
            assert_eq!(reloaded, reloaded.without(&is_lost), "a backend that was removed is not called");
        }
    }
}
