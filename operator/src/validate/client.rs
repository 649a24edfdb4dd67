//! One client by itself: what is wrong with it, whatever servers exist.

use std::collections::BTreeMap;

use portcullis_crds::{
    Findings, McpClientSpec, NamespacedName,
    client::{Access, ServerRef},
    contract::{self, ArgumentCondition, Rate},
    nearest::suggestion,
};

use crate::{
    credentials::{KINDS, requested},
    object::Object,
};

/// The full name of the server that a client of `namespace` refers to.
pub fn server_of(reference: &ServerRef, namespace: &str) -> NamespacedName {
    let namespace = reference.namespace.as_ref().map_or(namespace, |namespace| namespace.as_str());
    NamespacedName::new(namespace, reference.name.as_str())
}

/// A client that was checked by itself, with everything that was parsed on the way.
#[derive(Clone, Debug)]
pub struct CheckedClient {
    object: Object<McpClientSpec>,
    /// In the order of `spec.access`; `None` if it is unknown what the client asks for.
    access: Option<Vec<CheckedAccess>>,
    findings: Findings,
}

/// What was parsed of an item of `spec.access`.
#[derive(Clone, Debug)]
struct CheckedAccess {
    access: Access,
    server: NamespacedName,
    /// Without those that cannot be right, which are findings.
    conditions: Vec<ArgumentCondition>,
    /// `None` also if the rate cannot be enforced, which is a finding.
    limits: Option<Rate>,
}

/// An access to one server.
pub(super) struct AccessTo<'a> {
    /// In `spec.access`.
    pub position: usize,
    pub access: &'a Access,
    pub conditions: &'a [ArgumentCondition],
    /// `None` also if the rate cannot be enforced.
    pub limits: Option<Rate>,
}

impl CheckedClient {
    pub fn new(object: Object<McpClientSpec>) -> Self {
        let mut findings = Findings::default();
        let access = match &object.spec {
            Ok(spec) => {
                check_credentials(spec, &mut findings);
                Some(&spec.access)
            }
            Err(undecodable) => {
                findings = undecodable.findings.clone();
                undecodable.partial.access.as_ref()
            }
        };
        let access = access.map(|access| check_access(object.namespace(), access, &mut findings));
        Self { object, access, findings }
    }

    pub fn object(&self) -> &Object<McpClientSpec> {
        &self.object
    }

    /// Everything that is wrong with it; paths begin with `spec`.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Whether one of its accesses names the server.
    pub fn names(&self, server: &NamespacedName) -> bool {
        self.access.iter().flatten().any(|access| access.server == *server)
    }

    /// Each access that names the server; `None` if it is unknown what the client asks for.
    pub(super) fn access_to(&self, server: &NamespacedName) -> Option<Vec<AccessTo<'_>>> {
        let named = self.access.as_ref()?.iter().enumerate().filter(|(_, checked)| checked.server == *server);
        let named = named.map(|(position, CheckedAccess { access, conditions, limits, .. })| AccessTo {
            position,
            access,
            conditions,
            limits: *limits,
        });
        Some(named.collect())
    }
}

fn check_access(namespace: &str, all: &[Access], findings: &mut Findings) -> Vec<CheckedAccess> {
    let mut seen = BTreeMap::new();
    let mut checked = Vec::with_capacity(all.len());
    for (n, access) in all.iter().enumerate() {
        let at = format!("spec.access[{n}]");
        let server = server_of(&access.server_ref, namespace);
        if let Some(first) = seen.insert(server.clone(), n) {
            let message = format!("`{server}` is also named by spec.access[{first}]; name each server once");
            findings.add(format!("{at}.serverRef"), message);
        }
        let limits = access.limits.and_then(|rate| findings.keep(contract::rate(rate, &format!("{at}.limits"))));
        let conditions = ArgumentCondition::all_of(&access.conditions, &format!("{at}.where"), findings);
        check_tools(access, &at, findings);
        checked.push(CheckedAccess { access: access.clone(), server, conditions, limits });
    }
    checked
}

/// A condition about a tool that the access does not request has no effect, which is not what it was written for.
fn check_tools(access: &Access, at: &str, findings: &mut Findings) {
    for (n, condition) in access.conditions.iter().enumerate() {
        let tool = condition.tool.as_str();
        if !access.tools.iter().any(|requested| requested == "*" || requested == tool) {
            let suggestion = suggestion(tool, access.tools.iter().map(String::as_str));
            findings.add(
                format!("{at}.where[{n}].tool"),
                format!("`{tool}` is not in the `tools` of this access{suggestion}"),
            );
        }
    }
}

fn check_credentials(spec: &McpClientSpec, findings: &mut Findings) {
    if requested(&spec.credentials).next().is_none() {
        let kinds: Vec<_> = KINDS.iter().map(|kind| kind.field).collect();
        let message = format!("at least one kind of credential must be set: {}", kinds.join(", "));
        findings.add("spec.credentials", message);
    }
}
