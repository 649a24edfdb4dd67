//! A policy with its credentials, ready to be asked. Nothing in it changes; a reload makes another.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::AtomicU64},
};

use portcullis_crds::{
    BackendName, ClientId, ToolName,
    check::{CheckedBackend, CheckedServerHalf},
    contract::{AuditArguments, BackendKind, KeyDigest, LogLevel, MethodMode, OnOverflow, ServerHalf},
};

use super::{
    Client, Tool,
    reading::{CredentialsDocument, PolicyDocument},
};
use crate::{
    audit::arguments::DigestKey, backend::HttpBackend, limiter::LimitStore, metrics::Metrics, protocol::json,
    session::Sealer,
};

/// What is served now.
pub struct Snapshot {
    /// The revision of the policy that was loaded last.
    pub revision: String,
    /// The revision of the last policy of which nothing was refused: all of it is in force.
    pub complete_revision: Option<String>,
    pub credentials_revision: Option<String>,
    pub tools: Arc<Tools>,
    /// The replicas that share the limits.
    pub replicas: u16,
    pub limit_store: Arc<dyn LimitStore>,
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

/// The server's half that is in force, with what was made of it.
#[derive(Clone)]
pub struct ServerInForce {
    pub half: Arc<ServerHalf>,
    pub tools: Arc<Tools>,
    pub limit_store: Arc<dyn LimitStore>,
}

/// The tools and backends of a policy. They are made again only when the server's half changed.
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
    /// `kept` are the backends of the last policy: one whose spec is the same is kept with its state.
    pub fn new(checked: &CheckedServerHalf, kept: &HashMap<BackendName, Arc<HttpBackend>>, metrics: &Metrics) -> Self {
        let mut http = HashMap::new();
        let mut backends = Vec::new();
        for (backend, parsed) in checked.backends() {
            let mut entry = BackendEntry { name: backend.name.clone(), critical: backend.critical, http: None };
            if let (BackendKind::Http(spec), CheckedBackend::Http(target)) = (&backend.kind, parsed) {
                let made = match kept.get(&backend.name) {
                    Some(kept) if kept.spec() == spec => kept.clone(),
                    _ => Arc::new(HttpBackend::new(backend.name.clone(), spec.clone(), target.clone())),
                };
                entry.http = Some(made.clone());
                http.insert(backend.name.clone(), made);
            }
            backends.push(entry);
        }
        let half = checked.half();
        let tools = checked.tools().filter_map(|(tool, compiled)| {
            let made = Tool::new((tool, compiled), &half.spec.limits, &http, metrics)?;
            Some((tool.name.clone(), made))
        });
        Self { by_name: tools.collect(), backends }
    }

    /// Its backends that have state, to be taken over by the next policy.
    pub fn http_backends(&self) -> HashMap<BackendName, Arc<HttpBackend>> {
        self.backends.iter().filter_map(|entry| Some((entry.name.clone(), entry.http.clone()?))).collect()
    }
}

impl Snapshot {
    pub fn new(
        policy: &PolicyDocument,
        complete_revision: Option<String>,
        server: ServerInForce,
        credentials: Option<&CredentialsDocument>,
        (sealer, digest_key): (Arc<Sealer>, DigestKey),
    ) -> Self {
        let ServerInForce { half, tools, limit_store } = server;
        let ServerHalf { server, spec } = &*half;
        let mut clients: HashMap<(&ClientId, &str), Arc<Client>> = HashMap::new();
        for client in &policy.clients {
            let made = Client::new(client, &spec.limits);
            clients.insert((&client.id, &client.uid), Arc::new(made));
        }
        let mut keys = HashMap::new();
        let offers_api_keys = spec.authentication.api_key.mode != MethodMode::Off;
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
        let name = json::string(&server.name);
        Self {
            revision: policy.revision.clone(),
            complete_revision,
            credentials_revision: credentials.map(|credentials| credentials.revision.clone()),
            tools,
            replicas: server.replicas,
            limit_store,
            clients: policy.clients.len(),
            offers_api_keys,
            keys,
            hosts: server.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            records_arguments: spec.audit.arguments == AuditArguments::Shape,
            overflow: spec.audit.on_overflow,
            log_level: spec.log_level,
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
