//! Documents of which any part may be refused, one after another: who may call what is what a simple model says.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_crds::contract::KeyDigest;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::guard::authorise;

/// Each client has the key of its name, unless it has another one.
const KEYS: [&str; 4] = ["a", "b", "c", "another"];
const TOOLS: [&str; 2] = ["read", "write"];

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The server's half of a policy, or the server's own keys.
    Part,
    Whole,
}

#[derive(Clone, Debug)]
struct Document {
    fault: Fault,
    entries: Vec<Entry>,
}

/// A client's entry, in either document.
#[derive(Clone, Debug)]
struct Entry {
    id: &'static str,
    uid: &'static str,
    is_refused: bool,
    tools: Vec<&'static str>,
    allow_write: bool,
    suspended: bool,
    key: &'static str,
}

impl Document {
    fn policy(&self) -> Value {
        let clients = self.entries.iter().map(|entry| {
            let (write, suspended) = (entry.allow_write, entry.suspended);
            let mut client =
                json!({"uid": entry.uid, "tools": entry.tools, "allowWrite": write, "suspended": suspended});
            entry.spoil(&mut client);
            super::client(entry.id, &client)
        });
        let mut policy = policy(&clients.collect::<Vec<_>>());
        let tool = policy["spec"]["tools"][0].take();
        let mut tools = [tool.clone(), tool];
        for (tool, (name, effect)) in tools.iter_mut().zip(TOOLS.into_iter().zip(["Read", "Write"])) {
            (tool["name"], tool["effect"]) = (name.into(), effect.into());
        }
        policy["spec"]["tools"] = json!(tools);
        self.spoil(policy, "later")
    }

    fn credentials(&self) -> Value {
        let clients = self.entries.iter().map(|entry| {
            let sha256 = String::from(KeyDigest::of(entry.key.as_bytes()));
            let mut client = json!({"id": entry.id, "uid": entry.uid, "apiKeys": [{"id": "k", "sha256": sha256}]});
            entry.spoil(&mut client);
            client
        });
        self.spoil(json!({"contract": 1, "clients": clients.collect::<Vec<_>>()}), "keys")
    }

    fn spoil(&self, mut document: Value, part: &str) -> Value {
        match self.fault {
            Fault::None => {}
            Fault::Part => document[part] = json!("spoilt"),
            Fault::Whole => document["contract"] = json!(2),
        }
        document
    }

    /// The entries that count, by client.
    fn accepted(&self) -> BTreeMap<&str, &Entry> {
        let of = |id| self.entries.iter().filter(move |entry| entry.id == id);
        self.entries
            .iter()
            .filter(|entry| !entry.is_refused && of(entry.id).count() == 1)
            .map(|it| (it.id, it))
            .collect()
    }

    /// The client and its UID that a key of the credentials belongs to.
    fn owner(&self, key: &str) -> Option<(&str, &str)> {
        // An entry that is refused has its key all the same.
        let ids: BTreeSet<_> = self.entries.iter().filter(|entry| entry.key == key).map(|entry| entry.id).collect();
        let owner = self.accepted().into_values().find(|entry| entry.key == key)?;
        (ids.len() == 1).then_some((owner.id, owner.uid))
    }

    /// Whether a policy grants a tool.
    fn grants(&self, (id, uid): (&str, &str), tool: &str) -> bool {
        self.accepted().get(id).is_some_and(|entry| {
            let may_write = tool != "write" || entry.allow_write;
            entry.uid == uid && !entry.suspended && entry.tools.contains(&tool) && may_write
        })
    }
}

impl Entry {
    fn spoil(&self, entry: &mut Value) {
        if self.is_refused {
            entry["later"] = json!([]);
        }
    }
}

/// The documents in force.
#[derive(Default)]
struct Model {
    policy: Option<Document>,
    policy_of_server: Option<Document>,
    credentials: Option<Document>,
}

impl Model {
    fn load(&mut self, policy: &Document, credentials: &Document) {
        for (loaded, document, worst) in [
            (&mut self.policy, policy, Fault::Part),
            (&mut self.policy_of_server, policy, Fault::None),
            (&mut self.credentials, credentials, Fault::Part),
        ] {
            if document.fault == Fault::None || document.fault == worst {
                *loaded = Some(document.clone());
            }
        }
    }

    fn may_call(&self, key: &str, tool: &str) -> bool {
        let owner = self.credentials.as_ref().and_then(|credentials| credentials.owner(key));
        let policies = [&self.policy, &self.policy_of_server];
        owner
            .is_some_and(|owner| policies.iter().all(|it| it.as_ref().is_some_and(|policy| policy.grants(owner, tool))))
    }
}

fn may_call(store: &Store, key: &str, tool: &str) -> bool {
    let Some(snapshot) = store.current() else { return false };
    let connection = ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() };
    let presented = Presented { headers: &Pairs(&[("x-api-key", key)]), connection: &connection };
    let identity = snapshot.identify(&presented, Duration::ZERO);
    identity.is_ok_and(|identity| authorise(snapshot.tools.by_name.get(tool), &identity).is_ok())
}

fn entry() -> impl Strategy<Value = Entry> {
    let name = (select(&KEYS[..3]), select(&["u", "u", "u", "u", "v"][..]), prop::bool::weighted(0.2));
    let flags = (prop::bool::weighted(0.1), any::<bool>(), prop::bool::weighted(0.1));
    (name, flags, prop::sample::subsequence(&TOOLS[..], 0..=2)).prop_map(
        |((id, uid, has_another_key), (is_refused, allow_write, suspended), tools)| {
            let key = if has_another_key { KEYS[3] } else { id };
            Entry { id, uid, is_refused, tools, allow_write, suspended, key }
        },
    )
}

fn document() -> impl Strategy<Value = Document> {
    let fault = select(&[Fault::None, Fault::None, Fault::Part, Fault::Whole][..]);
    (fault, vec(entry(), 0..=3)).prop_map(|(fault, entries)| Document { fault, entries })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_client_may_call_what_the_documents_in_force_grant(rounds in vec((document(), document()), 2..6)) {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        let mut model = Model::default();
        for (policy, credentials) in rounds {
            write(&directory, POLICY_FILE, &policy.policy());
            write(&directory, CREDENTIALS_FILE, &credentials.credentials());
            store.reload();
            model.load(&policy, &credentials);
            for (key, tool) in KEYS.into_iter().flat_map(|key| TOOLS.map(|tool| (key, tool))) {
                let (found, expected) = (may_call(&store, key, tool), model.may_call(key, tool));
                prop_assert_eq!(found, expected, "key {} and tool {} after {:?} and {:?}", key, tool, policy, credentials);
            }
        }
    }
}
