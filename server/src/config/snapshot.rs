//! A policy with its credentials, ready to be asked. Nothing in it changes; a reload makes another.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::AtomicU64},
};

use portcullis_crds::{
    BackendName, ClientId, Credentials, Findings, Policy, ToolName,
    credentials::KeyDigest,
    server::{AuditArguments, LogLevel, MethodMode, OnOverflow, Target},
};

use super::{Client, Tool};
use crate::{audit::arguments::DigestKey, backend::HttpBackend, metrics::Metrics, protocol::json, session::Sealer};

/// What is served now.
pub struct Snapshot {
    pub revision: String,
    pub credentials_revision: Option<String>,
    pub tools: Arc<Tools>,
    pub clients: usize,
    /// Whether clients may use API keys.
    pub offers_api_keys: bool,
    keys: HashMap<KeyDigest, ApiKeyEntry>,
    /// Lower case, without ports.
    pub hosts: HashSet<String>,
    pub records_arguments: bool,
    pub overflow: OnOverflow,
    pub log_level: LogLevel,
    /// Name and version, as JSON.
    pub server_info: String,
    pub sealer: Arc<Sealer>,
    pub digest_key: DigestKey,
}

/// The server's half: made again only when the policy changed.
pub struct Tools {
    pub by_name: BTreeMap<ToolName, Tool>,
    pub backends: Vec<BackendEntry>,
}

/// A backend, for `/health`.
pub struct BackendEntry {
    pub name: BackendName,
    pub critical: bool,
    /// `None` where there is nothing to ask.
    pub http: Option<Arc<HttpBackend>>,
}

/// An API key of the credentials.
pub struct ApiKeyEntry {
    /// The client that owns it.
    pub id: ClientId,
    /// What audit records call the key.
    pub key_id: String,
    /// The client in the policy; `None` if the policy has no client of the same id and UID.
    pub client: Option<Arc<Client>>,
    /// When its use was last recorded, in seconds of the limiter's clock plus one; 0 if it never was.
    pub last_recorded: AtomicU64,
}

impl Tools {
    /// `kept` are the backends of the policy before: one whose spec is the same is taken over with its state.
    ///
    /// # Errors
    /// What the policy's own check cannot see. Places go by name: a policy is sorted once it was read.
    pub fn new(
        policy: &Policy,
        kept: &HashMap<BackendName, Arc<HttpBackend>>,
        metrics: &Metrics,
    ) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        let mut http = HashMap::new();
        let mut backends = Vec::new();
        for backend in &policy.spec.backends {
            let mut entry = BackendEntry { name: backend.name.clone(), critical: backend.critical, http: None };
            if let Some(Target::Http(spec)) = backend.target() {
                let made = match kept.get(&backend.name) {
                    Some(kept) if kept.spec() == spec => Ok(kept.clone()),
                    _ => HttpBackend::new(backend.name.clone(), spec.clone()).map(Arc::new),
                };
                match made {
                    Ok(made) => {
                        entry.http = Some(made.clone());
                        http.insert(backend.name.clone(), made);
                    }
                    Err(error) => findings.add(format!("spec.backends[{}].http.url", backend.name), error),
                }
            }
            backends.push(entry);
        }
        let mut by_name = BTreeMap::new();
        if findings.is_empty() {
            for tool in &policy.spec.tools {
                match Tool::new(tool, &policy.spec.limits, policy.server.replicas, &http, metrics) {
                    Ok(made) => _ = by_name.insert(tool.name.clone(), made),
                    Err(finding) => findings.0.push(finding),
                }
            }
        }
        findings.or(Self { by_name, backends })
    }

    /// Its backends that have state, to be taken over by the next policy.
    pub fn http_backends(&self) -> HashMap<BackendName, Arc<HttpBackend>> {
        self.backends.iter().filter_map(|entry| Some((entry.name.clone(), entry.http.clone()?))).collect()
    }
}

impl Snapshot {
    pub fn new(
        policy: &Policy,
        tools: Arc<Tools>,
        credentials: Option<&Credentials>,
        sealer: Arc<Sealer>,
        digest_key: DigestKey,
    ) -> Self {
        let limits = &policy.spec.limits;
        let replicas = policy.server.replicas;
        let mut clients: HashMap<(&ClientId, &str), Arc<Client>> = HashMap::new();
        for client in &policy.clients {
            clients.insert((&client.id, &client.uid), Arc::new(Client::new(client, limits, replicas)));
        }
        let mut keys = HashMap::new();
        let offers_api_keys = policy.spec.authentication.api_key.mode != MethodMode::Off;
        for owner in credentials.iter().filter(|_| offers_api_keys).flat_map(|credentials| &credentials.clients) {
            let client = clients.get(&(&owner.id, owner.uid.as_str()));
            for key in &owner.api_keys {
                let entry = ApiKeyEntry {
                    id: owner.id.clone(),
                    key_id: key.id.clone(),
                    client: client.cloned(),
                    last_recorded: AtomicU64::new(0),
                };
                keys.insert(key.sha256, entry);
            }
        }
        let name = json::string(&policy.server.name);
        Self {
            revision: policy.revision().to_owned(),
            credentials_revision: credentials.map(|credentials| credentials.revision().to_owned()),
            tools,
            clients: policy.clients.len(),
            offers_api_keys,
            keys,
            hosts: policy.server.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            records_arguments: policy.spec.audit.arguments == AuditArguments::Shape,
            overflow: policy.spec.audit.on_overflow,
            log_level: policy.spec.log_level,
            server_info: format!(r#"{{"name":{name},"version":"{}"}}"#, env!("CARGO_PKG_VERSION")),
            sealer,
            digest_key,
        }
    }

    /// Looks up an API key by its digest.
    pub fn api_key(&self, digest: &KeyDigest) -> Option<&ApiKeyEntry> {
        self.keys.get(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_found_by_the_name_of_its_backend() {
        let policy = r#"
contract: 1
server: {namespace: n, name: s}
spec:
  backends: [{name: written-first, http: {url: "http://a^b"}}, {name: fixed, static: {}}]
  tools: [{name: t, description: d, backend: fixed, static: {text: x}}]
"#;
        let policy = Policy::parse(policy).unwrap();
        let found = Tools::new(&policy, &HashMap::new(), &Metrics::default()).err().unwrap();
        assert_eq!(found.to_string(), "spec.backends[written-first].http.url: is no URL");
    }
}
