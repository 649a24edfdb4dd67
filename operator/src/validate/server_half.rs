//! The server's half of its policy: from the McpServer's spec if that is valid, otherwise the one that is published.

use std::sync::Arc;

use portcullis_crds::{
    Findings, McpServerSpec, check,
    contract::{PublishedHalf, ServerHalf, ServerIdentity, server_spec},
};

use super::{input::ServerInput, resources};
use crate::object::Object;

/// The longest name of an McpServer: the names of other objects are derived from it.
const MAX_NAME: usize = 40;

/// Checks an McpServer by itself, whatever clients exist, and returns the half that its spec describes. Services have names in
/// `cluster_domain`.
///
/// # Errors
/// Returns everything that is wrong with it.
pub fn server_half(server: &Object<McpServerSpec>, cluster_domain: &str) -> Result<Arc<ServerHalf>, Findings> {
    let spec = server.spec.as_ref().map_err(|undecodable| undecodable.findings.clone())?;
    let (converted, mut findings) = server_spec(spec);
    let hosts = hosts(server, spec, cluster_domain, &mut findings);
    let identity = identity(server, spec.replicas(), hosts);
    let half = check::server_half(ServerHalf { server: identity, spec: converted });
    let half = half.map_err(|found| findings.0.extend(found.0)).ok();
    check_name(server.name(), &mut findings);
    if let Some(resources) = spec.pod.as_ref().and_then(|pod| pod.resources.as_ref()) {
        resources::check(resources, &mut findings);
    }
    match half {
        Some(half) => findings.or(half.half().clone()),
        None => Err(findings),
    }
}

fn check_name(name: &str, findings: &mut Findings) {
    let is_label = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if name.len() > MAX_NAME || !is_label || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-')
    {
        let message = "must be a DNS label of at most 40 characters that begins with a letter: the name of the Service is \
                       derived from it";
        findings.add("metadata.name", message);
    }
}

/// The half that is published for this server.
pub(super) fn published(input: &ServerInput) -> Option<PublishedHalf> {
    let half = input.published.policy.as_ref()?.server.clone()?;
    let of = &half.readable.server;
    let is_its_own = of.namespace == input.server.namespace() && of.name == input.server.name();
    is_its_own.then_some(half)
}

/// Which server it is, and the host names that requests may use.
fn identity(server: &Object<McpServerSpec>, replicas: u16, hosts: Vec<String>) -> ServerIdentity {
    let (namespace, name) = (server.namespace().to_owned(), server.name().to_owned());
    ServerIdentity { namespace, name, replicas: replicas.max(1), hosts }
}

/// The names of the Service, and the hosts of the URLs in the spec.
fn hosts(
    server: &Object<McpServerSpec>,
    spec: &McpServerSpec,
    cluster_domain: &str,
    findings: &mut Findings,
) -> Vec<String> {
    let (namespace, name) = (server.namespace(), server.name());
    let mut hosts = vec![
        name.to_owned(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.{cluster_domain}"),
    ];
    for (index, url) in spec.urls.iter().enumerate() {
        match check::url::host(url) {
            Ok(host) => hosts.push(host),
            Err(message) => findings.add(format!("spec.urls[{index}]"), message),
        }
    }
    hosts
}
