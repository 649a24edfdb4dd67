//! The server's half of its policy: the McpServer's own while it is valid, else the one that is published.

use portcullis_crds::{
    Findings, McpServerSpec, Policy, check,
    policy::{ServerIdentity, Serving},
};

use super::{Object, ServerInput, documents::MAX_BYTES, resources};

/// The longest name whose children's names fit everywhere.
const MAX_NAME: usize = 40;

/// What a server offers, and who it is.
#[derive(Clone, Debug)]
pub(super) struct Half {
    pub identity: ServerIdentity,
    pub serving: Serving,
}

/// The half that is in force, and what is wrong with the one that is asked for.
pub(super) fn half(input: &ServerInput) -> (Option<Half>, Findings) {
    let (asked, findings) = match &input.server.spec {
        Ok(spec) => asked(&input.server, spec),
        Err(findings) => (None, findings.clone()),
    };
    (asked.or_else(|| published(input)), findings)
}

/// What is wrong with a McpServer by itself, whatever clients there are.
pub fn findings(server: &Object<McpServerSpec>) -> Findings {
    match &server.spec {
        Ok(spec) => asked(server, spec).1,
        Err(findings) => findings.clone(),
    }
}

fn asked(server: &Object<McpServerSpec>, spec: &McpServerSpec) -> (Option<Half>, Findings) {
    let identity = identity(server, spec.replicas());
    let serving = Serving::from(spec);
    let mut findings = check::serving(&serving, identity.replicas);
    let name = server.name();
    let is_label = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if name.len() > MAX_NAME || !is_label || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-')
    {
        let message = "must be a DNS label of at most 40 characters that begins with a letter: Services derive their names from it";
        findings.add("metadata.name", message);
    }
    if let Some(resources) = spec.pod.as_ref().and_then(|pod| pod.resources.as_ref()) {
        resources::check(resources, &mut findings);
    }
    if findings.is_empty() {
        let printed = Policy::new(identity.clone(), serving.clone(), Vec::new()).map(|policy| policy.print());
        match printed {
            Ok(Ok(text)) if text.len() > MAX_BYTES => {
                let message = format!(
                    "make a policy of {} bytes; at most {MAX_BYTES} fit into a ConfigMap: shorten descriptions and schemas, or split the server",
                    text.len()
                );
                findings.add("spec.tools", message);
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => findings.add("spec", format!("has no YAML form: {error}")),
            Err(refused) => findings = refused,
        }
    }
    (findings.is_empty().then_some(Half { identity, serving }), findings)
}

/// Who the server is, and the names that requests may be addressed to.
fn identity(server: &Object<McpServerSpec>, replicas: u16) -> ServerIdentity {
    let (namespace, name) = (server.namespace(), server.name());
    ServerIdentity {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        replicas: replicas.max(1),
        hosts: vec![
            name.to_owned(),
            format!("{name}.{namespace}"),
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}.svc.cluster.local"),
        ],
    }
}

fn published(input: &ServerInput) -> Option<Half> {
    let policy = input.published.policy.as_ref()?;
    let is_its = policy.server.namespace == input.server.namespace() && policy.server.name == input.server.name();
    is_its.then(|| Half { identity: policy.server.clone(), serving: policy.spec.clone() })
}
