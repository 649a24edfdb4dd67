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
    /// In the order of `spec.access`; empty if the spec cannot be decoded.
    access: Vec<CheckedAccess>,
    findings: Findings,
}

/// What was parsed of an item of `spec.access`.
#[derive(Clone, Debug)]
struct CheckedAccess {
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
        let (access, findings) = match &object.spec {
            Ok(spec) => check(object.namespace(), spec),
            Err(findings) => (Vec::new(), findings.clone()),
        };
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
        self.access.iter().any(|access| access.server == *server)
    }

    /// Each access that names the server.
    pub(super) fn access_to(&self, server: &NamespacedName) -> Vec<AccessTo<'_>> {
        let Ok(spec) = &self.object.spec else { return Vec::new() };
        let all = spec.access.iter().zip(&self.access).enumerate();
        let named = all.filter(|(_, (_, checked))| checked.server == *server);
        named.map(|(position, (access, checked))| AccessTo { position, access, limits: checked.limits }).collect()
    }
}

fn check(namespace: &str, spec: &McpClientSpec) -> (Vec<CheckedAccess>, Findings) {
    let mut findings = Findings::default();
    let mut seen = BTreeMap::new();
    let mut checked = Vec::with_capacity(spec.access.len());
    for (n, access) in spec.access.iter().enumerate() {
        let at = format!("spec.access[{n}]");
        let server = server_of(&access.server_ref, namespace);
        if let Some(first) = seen.insert(server.clone(), n) {
            let message = format!("`{server}` is also named by spec.access[{first}]; name each server once");
            findings.add(format!("{at}.serverRef"), message);
        }
        let limits = access.limits.and_then(|rate| findings.keep(contract::rate(rate, &format!("{at}.limits"))));
        checked.push(CheckedAccess { server, limits });
    }
    if requested(&spec.credentials).next().is_none() {
        let kinds: Vec<_> = KINDS.iter().map(|kind| kind.field).collect();
        let message = format!("at least one kind of credential must be set: {}", kinds.join(", "));
        findings.add("spec.credentials", message);
    }
    (checked, findings)
}
