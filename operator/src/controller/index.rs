//! Which servers a client names, which clients name a server, and whether a change of a client takes something away.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use portcullis_crds::{
    McpClientSpec, NamespacedName,
    client::{Access, PartialClientSpec},
};

use crate::{object::Undecodable, sync::lock, validate::server_of};

/// The spec of a client as it was received.
type ClientSpec = Result<McpClientSpec, Undecodable<PartialClientSpec>>;

/// Both directions, kept up to date by the watch of clients.
#[derive(Debug, Default)]
pub struct Index(Mutex<Links>);

#[derive(Debug, Default)]
struct Links {
    servers: HashMap<NamespacedName, BTreeSet<NamespacedName>>,
    clients: HashMap<NamespacedName, BTreeSet<NamespacedName>>,
}

impl Index {
    /// Sets which servers the client names. Returns those that it named before or names now.
    fn set(&self, client: &NamespacedName, servers: BTreeSet<NamespacedName>) -> BTreeSet<NamespacedName> {
        let mut links = lock(&self.0);
        let before = links.servers.remove(client).unwrap_or_default();
        for server in before.difference(&servers) {
            if let Some(clients) = links.clients.get_mut(server) {
                clients.remove(client);
                if clients.is_empty() {
                    links.clients.remove(server);
                }
            }
        }
        for server in servers.difference(&before) {
            links.clients.entry(server.clone()).or_default().insert(client.clone());
        }
        let all = before.union(&servers).cloned().collect();
        if !servers.is_empty() {
            links.servers.insert(client.clone(), servers);
        }
        all
    }

    /// Takes in a change of a client: each spec is `None` if there is no such client, and an error if it cannot be decoded.
    /// Returns the servers that the change concerns; `None` if that may be any, since it is unknown what the client named.
    pub fn change(
        &self,
        client: &NamespacedName,
        old: Option<&ClientSpec>,
        new: Option<&ClientSpec>,
    ) -> Option<BTreeSet<NamespacedName>> {
        // A client that can no longer be decoded keeps what it named before.
        let known = self.servers(client);
        let is_undecodable = |spec: Option<&ClientSpec>| spec.is_some_and(Result::is_err);
        let is_unknown = known.is_empty() && (is_undecodable(old) || (old.is_none() && is_undecodable(new)));
        let servers = match new.map(access) {
            Some(Some(access)) => self.set(client, named(access, &client.namespace)),
            Some(None) => known,
            None => self.set(client, BTreeSet::new()),
        };
        (!is_unknown).then_some(servers)
    }

    /// The servers that the client names.
    pub fn servers(&self, client: &NamespacedName) -> BTreeSet<NamespacedName> {
        let links = lock(&self.0);
        links.servers.get(client).cloned().unwrap_or_default()
    }

    /// The clients that name the server.
    pub fn clients(&self, server: &NamespacedName) -> BTreeSet<NamespacedName> {
        let links = lock(&self.0);
        links.clients.get(server).cloned().unwrap_or_default()
    }
}

/// What a client asks for; `None` if that is unknown.
fn access(spec: &ClientSpec) -> Option<&[Access]> {
    match spec {
        Ok(spec) => Some(&spec.access),
        Err(undecodable) => undecodable.partial.access.as_deref(),
    }
}

/// The full names of the servers that a client names.
fn named(access: &[Access], namespace: &str) -> BTreeSet<NamespacedName> {
    access.iter().map(|access| server_of(&access.server_ref, namespace)).collect()
}

/// Whether the new spec takes away anything that the old one asked for: then it is published without waiting for other
/// changes.
pub fn narrows(old: &McpClientSpec, new: &McpClientSpec) -> bool {
    let is_suspended = new.suspended && !old.suspended;
    let ends_earlier =
        new.expires_at.as_ref().is_some_and(|new| old.expires_at.as_ref().is_none_or(|old| new.0 < old.0));
    let is_kept = |old: &Access| new.access.iter().any(|new| new.server_ref == old.server_ref && contains(new, old));
    is_suspended || ends_earlier || !old.access.iter().all(is_kept)
}

/// Whether one access asks for at least what the other asks for.
fn contains(more: &Access, less: &Access) -> bool {
    let all = |access: &Access| access.tools.iter().any(|tool| tool == "*");
    let tools = all(more) || (!all(less) && less.tools.iter().all(|tool| more.tools.contains(tool)));
    tools
        && more.max_records_per_query >= less.max_records_per_query
        && more.allow_write >= less.allow_write
        && more.conditions.iter().all(|condition| less.conditions.contains(condition))
        && more.limits == less.limits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(name: &str) -> NamespacedName {
        NamespacedName { namespace: "sales".into(), name: name.into() }
    }

    fn names(all: &[&str]) -> BTreeSet<NamespacedName> {
        all.iter().map(|it| name(it)).collect()
    }

    #[test]
    fn a_client_concerns_the_servers_that_it_names_and_those_that_it_named() {
        let index = Index::default();
        assert_eq!(index.set(&name("bot"), names(&["crm", "erp"])), names(&["crm", "erp"]));
        assert_eq!(index.set(&name("bot"), names(&["erp", "wiki"])), names(&["crm", "erp", "wiki"]));
        assert_eq!((index.clients(&name("crm")), index.clients(&name("wiki"))), (names(&[]), names(&["bot"])));
        assert_eq!(index.set(&name("bot"), names(&[])), names(&["erp", "wiki"]), "deleted: those that it named");
        assert_eq!(index.clients(&name("erp")), names(&[]));
    }

    fn spec(change: impl FnOnce(&mut serde_json::Value)) -> McpClientSpec {
        let mut value = json!({
            "access": [{"serverRef": {"name": "crm"}, "tools": ["a", "b"], "maxRecordsPerQuery": 10, "allowWrite": true}],
            "credentials": {"apiKey": {"secretName": "key"}},
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_client_that_cannot_be_decoded_concerns_every_server_unless_it_is_known_what_it_named() {
        let (bot, broken) = (name("bot"), Err(Undecodable::default()));
        let (crm, erp) = (Ok(spec(|_| ())), Ok(spec(|it| it["access"][0]["serverRef"]["name"] = json!("erp"))));
        let index = Index::default();
        assert_eq!(index.change(&bot, None, Some(&broken)), None, "as the operator starts");
        assert_eq!(index.change(&bot, Some(&broken), Some(&broken)), None);
        assert_eq!(
            index.change(&bot, Some(&broken), Some(&crm)),
            None,
            "repaired: other servers may have published access for it"
        );
        assert_eq!(index.change(&bot, Some(&crm), Some(&broken)), Some(names(&["crm"])));
        assert_eq!(index.change(&bot, Some(&broken), Some(&erp)), Some(names(&["crm", "erp"])));
        assert_eq!(index.change(&bot, Some(&erp), None), Some(names(&["erp"])));
        assert_eq!(index.change(&bot, None, Some(&crm)), Some(names(&["crm"])));
        let index = Index::default();
        assert_eq!(index.change(&bot, Some(&broken), None), None, "deleted before it could be decoded");
    }

    #[test]
    fn only_what_takes_nothing_away_may_wait() {
        let old = spec(|_| ());
        for widening in [
            spec(|_| ()),
            spec(|it| it["access"][0]["tools"] = json!(["b", "a", "c"])),
            spec(|it| it["access"][0]["tools"] = json!(["*"])),
            spec(|it| it["access"][0]["maxRecordsPerQuery"] = json!(20)),
        ] {
            assert!(!narrows(&old, &widening), "{widening:?}");
        }
        for narrowing in [
            spec(|it| it["access"] = json!([])),
            spec(|it| it["access"][0]["tools"] = json!(["a", "c"])),
            spec(|it| it["access"][0]["allowWrite"] = json!(false)),
            spec(|it| it["access"][0]["maxRecordsPerQuery"] = json!(9)),
            spec(|it| it["access"][0]["where"] = json!([{"name": "x", "tool": "a", "argument": "/b", "in": [1]}])),
            spec(|it| it["access"][0]["limits"] = json!({"requests": 1, "per": "1m"})),
            spec(|it| it["access"][0]["serverRef"]["name"] = json!("erp")),
            spec(|it| it["suspended"] = json!(true)),
            spec(|it| it["expiresAt"] = json!("2027-01-01T00:00:00Z")),
        ] {
            assert!(narrows(&old, &narrowing), "{narrowing:?}");
        }
        assert!(narrows(&spec(|it| it["access"][0]["tools"] = json!(["*"])), &old));
    }
}
