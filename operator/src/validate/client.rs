//! What a client asks of a server, and whether it asks in a way that can be granted.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{
    ClientId, Findings, McpClientSpec, NamespacedName, check,
    client::{Access, ServerRef},
    contract::{self, PolicyClient, Rate, ServerHalf},
};

use super::{ClientInput, ServerInput};

/// The full name of the server that a reference in a client of `namespace` means.
pub fn server_of(reference: &ServerRef, namespace: &str) -> NamespacedName {
    let namespace = reference.namespace.as_ref().map_or(namespace, |namespace| namespace.as_str());
    NamespacedName { namespace: namespace.to_owned(), name: reference.name.as_str().to_owned() }
}

/// What is wrong with a client by itself, whatever servers there are; paths begin with `spec`.
pub fn client(namespace: &str, spec: &McpClientSpec) -> Findings {
    let mut findings = Findings::default();
    let mut seen = BTreeMap::new();
    for (n, access) in spec.access.iter().enumerate() {
        let at = format!("spec.access[{n}]");
        let server = server_of(&access.server_ref, namespace);
        if let Some(first) = seen.insert(server.clone(), n) {
            let message = format!("`{server}` is what spec.access[{first}] names too; name each server once");
            findings.add(format!("{at}.serverRef"), message);
        }
        if let Some(rate) = access.limits {
            findings.keep(contract::rate(rate, &format!("{at}.limits")));
        }
    }
    if spec.credentials.api_key.is_none() {
        findings.add("spec.credentials", "at least one kind of credential must be set: apiKey");
    }
    findings
}

/// A client that asks something of the server.
pub(super) struct Asking<'a> {
    pub id: ClientId,
    pub input: &'a ClientInput,
    pub ask: Ask,
    /// What it has now, if it is the same client that has it.
    pub had: Option<&'a PolicyClient>,
    /// Why it may not have more than it had; nothing where it is valid.
    pub findings: Findings,
}

/// What is asked for.
pub(super) struct Ask {
    pub tools: Vec<String>,
    pub max_records_per_query: u32,
    pub allow_write: bool,
    /// Empty: the server's own.
    pub limits: Vec<Rate>,
}

impl Asking<'_> {
    pub fn name(&self) -> NamespacedName {
        self.input.client.namespaced_name()
    }

    /// Oldest first; of the same age, by name. A client without a time is the newest.
    pub fn age(&self) -> (Timestamp, NamespacedName) {
        let created = self.input.client.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
        (created, self.name())
    }
}

/// The clients that ask for anything, oldest first. One that is being deleted asks for nothing.
pub(super) fn asking<'a>(input: &'a ServerInput, half: Option<&ServerHalf>) -> Vec<Asking<'a>> {
    let mut asking: Vec<_> = input.clients.iter().filter_map(|client| asks(client, input, half)).collect();
    asking.sort_by_cached_key(Asking::age);
    asking
}

fn asks<'a>(client: &'a ClientInput, input: &'a ServerInput, half: Option<&ServerHalf>) -> Option<Asking<'a>> {
    let object = &client.client;
    if object.metadata.deletion_timestamp.is_some() || object.uid().is_empty() {
        return None;
    }
    let id = ClientId::of(input.server.namespace(), &object.namespaced_name()).ok()?;
    let published = input.published.policy.as_ref().map_or(&[][..], |policy| &policy.clients);
    let had = published.binary_search_by(|had| had.id.cmp(&id)).ok().map(|n| &published[n]);
    let had = had.filter(|had| had.uid == object.uid());
    let (ask, findings) = match &object.spec {
        Ok(spec) => {
            let named =
                |access: &&Access| server_of(&access.server_ref, object.namespace()) == input.server.namespaced_name();
            let accesses: Vec<_> = spec.access.iter().filter(named).collect();
            let mut findings = self::client(object.namespace(), spec);
            if let Some(half) = half {
                shares(spec, object.namespace(), input, half, &mut findings);
            }
            (Ask::of(&accesses)?, findings)
        }
        // Nobody can say what it asks for: it keeps what it has.
        Err(findings) => (had.map_or_else(Ask::nothing, Ask::again), findings.clone()),
    };
    Some(Asking { id, input: client, ask, had, findings })
}

/// A client's own limit must leave each pod of the server at least one call.
fn shares(spec: &McpClientSpec, namespace: &str, input: &ServerInput, half: &ServerHalf, findings: &mut Findings) {
    for (n, access) in spec.access.iter().enumerate() {
        if let Some(rate) = access.limits
            && server_of(&access.server_ref, namespace) == input.server.namespaced_name()
        {
            let at = format!("spec.access[{n}].limits");
            if let Ok(rate) = contract::rate(rate, &at) {
                check::share(rate, half.server.replicas, &at, findings);
            }
        }
    }
}

impl Ask {
    /// What the accesses to one server ask for together; none where there is no access. More than one is an error of
    /// the client's, and then only what it had is left of this.
    fn of(accesses: &[&Access]) -> Option<Self> {
        let first = accesses.first()?;
        Some(Self {
            tools: accesses.iter().flat_map(|access| access.tools.iter().cloned()).collect(),
            max_records_per_query: accesses.iter().map(|access| access.max_records_per_query).max().unwrap_or(1),
            allow_write: accesses.iter().any(|access| access.allow_write),
            // A rate that cannot be enforced is a finding.
            limits: first.limits.and_then(|rate| contract::rate(rate, "").ok()).into_iter().collect(),
        })
    }

    fn again(had: &PolicyClient) -> Self {
        Self {
            tools: had.tools.iter().map(|tool| tool.as_str().to_owned()).collect(),
            max_records_per_query: had.max_records_per_query,
            allow_write: had.allow_write,
            limits: had.limits.clone(),
        }
    }

    fn nothing() -> Self {
        Self { tools: Vec::new(), max_records_per_query: 1, allow_write: false, limits: Vec::new() }
    }
}
