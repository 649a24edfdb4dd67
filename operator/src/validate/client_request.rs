//! What a client requests of one server, and what is wrong with the request.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_crds::{
    ClientId, Finding, Findings, NamespacedName, check,
    contract::{ArgumentCondition, PolicyClient, Rate, ServerHalf},
};

use super::{
    client::AccessTo,
    input::{ClientInput, ServerInput},
};

/// A client that requests access to the server.
pub(super) struct ClientRequest<'a> {
    pub id: ClientId,
    pub input: &'a ClientInput,
    pub access: RequestedAccess,
    /// What the published policy grants it; `None` if that entry is of an earlier client of the same name.
    pub published: Option<&'a PolicyClient>,
    /// What is wrong with the client, by itself or on this server. If anything is, it is granted no more than what is published.
    pub findings: Findings,
    /// Whether it is granted no more than what is published although nothing is wrong with it.
    pub is_bounded: bool,
}

/// What a client requests.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestedAccess {
    /// Names of tools, or `*` for all.
    pub tools: Vec<String>,
    pub max_records_per_query: u32,
    pub allow_write: bool,
    pub conditions: Vec<ArgumentCondition>,
    /// Empty if the server's own limit is to apply.
    pub limits: Vec<Rate>,
    pub suspended: bool,
    pub expires_at: Option<Time>,
}

/// The requests of all clients, those of older clients first; of the same age, by name. A client that is being deleted
/// requests nothing.
pub(super) fn requests<'a>(input: &'a ServerInput, half: Option<&ServerHalf>) -> Vec<ClientRequest<'a>> {
    let mut requests: Vec<_> = input.clients.iter().filter_map(|client| request(client, input, half)).collect();
    requests.sort_by_cached_key(ClientRequest::age);
    requests
}

fn request<'a>(
    client: &'a ClientInput,
    input: &'a ServerInput,
    half: Option<&ServerHalf>,
) -> Option<ClientRequest<'a>> {
    let object = client.client.object();
    if object.metadata.deletion_timestamp.is_some() || object.uid().is_empty() {
        return None;
    }
    let id = ClientId::of(input.server.namespace(), &object.namespaced_name()).ok()?;
    let published = input.published.policy.as_ref().map_or(&[][..], |policy| &policy.clients);
    let published = published.binary_search_by(|entry| entry.id.cmp(&id)).ok().map(|n| &published[n]);
    let published = published.filter(|entry| entry.uid == object.uid());
    let mut findings = client.client.findings().clone();
    let access = match client.client.access_to(&input.server.namespaced_name()) {
        Some(named) => {
            if let Some(half) = half {
                check_shares(&named, half.server.replicas, &mut findings);
                check_conditions(&named, half, &mut findings);
            }
            RequestedAccess::of(&named, half)?
        }
        // What it requests is unknown: it keeps what it has.
        None => published.map_or_else(RequestedAccess::nothing, RequestedAccess::from),
    };
    let (suspended, expires_at) = match &object.spec {
        Ok(spec) => (spec.suspended, &spec.expires_at),
        Err(undecodable) => (undecodable.partial.suspended, &undecodable.partial.expires_at),
    };
    let access = RequestedAccess { suspended, expires_at: expires_at.clone(), ..access };
    Some(ClientRequest { id, input: client, access, published, findings, is_bounded: false })
}

/// A client's own limit must leave each pod of the server at least one call.
fn check_shares(named: &[AccessTo<'_>], replicas: u16, findings: &mut Findings) {
    for AccessTo { position, limits, .. } in named {
        if let Some(rate) = limits {
            check::share(*rate, replicas, &format!("spec.access[{position}].limits"), findings);
        }
    }
}

/// A condition that no call can meet. One about a tool that the server does not have is a reference that cannot be resolved.
fn check_conditions(named: &[AccessTo<'_>], half: &ServerHalf, findings: &mut Findings) {
    for AccessTo { position, access, conditions, .. } in named {
        for condition in *conditions {
            let tool = half.spec.tools.iter().find(|tool| tool.name == condition.tool);
            let never_met = tool.and_then(|tool| check::never_met(condition, tool));
            let n = access.conditions.iter().position(|it| it.name == condition.name).unwrap_or_default();
            findings.0.extend(never_met.map(|why| Finding::new(format!("spec.access[{position}].where[{n}]"), why)));
        }
    }
}

impl ClientRequest<'_> {
    pub fn name(&self) -> NamespacedName {
        self.input.client.object().namespaced_name()
    }

    pub fn uid(&self) -> &str {
        self.input.client.object().uid()
    }

    pub fn namespace(&self) -> &str {
        self.input.client.object().namespace()
    }

    /// Whether it is granted no more than what it had.
    pub fn keeps_at_most(&self) -> bool {
        self.is_bounded || !self.findings.is_empty()
    }

    /// What it had, if it is granted no more now.
    pub fn granted_before(&self) -> Option<&PolicyClient> {
        self.published.filter(|_| self.keeps_at_most())
    }

    /// A client without a creation time is the newest.
    fn age(&self) -> (Timestamp, NamespacedName) {
        let created = self.input.client.object().metadata.creation_timestamp.as_ref();
        (created.map_or(Timestamp::MAX, |time| time.0), self.name())
    }
}

impl RequestedAccess {
    /// What the accesses to one server request together; `None` if there is no access. More than one is an error of the client,
    /// which is then granted only what it had of this.
    fn of(named: &[AccessTo<'_>], half: Option<&ServerHalf>) -> Option<Self> {
        let limits = named.first()?.limits;
        let replicas = half.map_or(1, |half| u32::from(half.server.replicas));
        let accesses = || named.iter().map(|named| named.access);
        Some(Self {
            tools: accesses().flat_map(|access| access.tools.iter().cloned()).collect(),
            max_records_per_query: accesses().map(|access| access.max_records_per_query).max().unwrap_or(1),
            allow_write: accesses().any(|access| access.allow_write),
            conditions: ArgumentCondition::union(named.iter().flat_map(|named| named.conditions)),
            // A limit that the pods cannot share is a finding.
            limits: limits.filter(|rate| rate.requests >= replicas).into_iter().collect(),
            ..Self::nothing()
        })
    }

    fn nothing() -> Self {
        Self {
            tools: Vec::new(),
            max_records_per_query: 1,
            allow_write: false,
            conditions: Vec::new(),
            limits: Vec::new(),
            suspended: false,
            expires_at: None,
        }
    }

    /// Whether the access names the tool itself; `*` names none.
    pub fn names(&self, tool: &str) -> bool {
        self.tools.iter().any(|requested| requested == tool)
    }

    pub fn requests(&self, tool: &str) -> bool {
        self.names("*") || self.names(tool)
    }
}

impl From<&PolicyClient> for RequestedAccess {
    fn from(entry: &PolicyClient) -> Self {
        Self {
            tools: entry.tools.iter().map(|tool| tool.as_str().to_owned()).collect(),
            max_records_per_query: entry.max_records_per_query,
            allow_write: entry.allow_write,
            conditions: entry.conditions.clone(),
            limits: entry.limits.clone(),
            suspended: entry.suspended,
            expires_at: entry.expires_at.clone(),
        }
    }
}
