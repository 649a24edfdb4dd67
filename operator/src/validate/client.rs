//! One client by itself: what is wrong with it, whatever servers exist.

use std::collections::BTreeMap;

use portcullis_crds::{
    Findings, McpClientSpec, NamespacedName,
    client::{Access, ServerRef},
    contract::{self, Rate},
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
    /// `None` also if the rate cannot be enforced, which is a finding.
    limits: Option<Rate>,
}

/// An access to one server.
pub(super) struct AccessTo<'a> {
    /// In `spec.access`.
    pub position: usize,
    pub access: &'a Access,
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
        let named =
            named.map(|(position, checked)| AccessTo { position, access: &checked.access, limits: checked.limits });
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
        checked.push(CheckedAccess { access: access.clone(), server, limits });
    }
    checked
}

fn check_credentials(spec: &McpClientSpec, findings: &mut Findings) {
    if requested(&spec.credentials).next().is_none() {
        let kinds: Vec<_> = KINDS.iter().map(|kind| kind.field).collect();
        let message = format!("at least one kind of credential must be set: {}", kinds.join(", "));
        findings.add("spec.credentials", message);
    }
}
