//! A policy with its credentials, ready to use. It is immutable; a reload makes another one.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::AtomicU64},
};

use portcullis_crds::{
    BackendName, ClientId, ToolName,
    check::CheckedServerHalf,
    contract::{AuditArguments, KeyDigest, LogLevel, MethodMode, OnOverflow, ServerHalf},
};

use super::{
    Client, Tool,
    reading::{CredentialsDocument, PolicyDocument},
};
use crate::{
    audit::arguments::DigestKey,
    backend::{Backend, Factory},
    limiter::LimitStore,
    metrics::Metrics,
    protocol::json,
    session::Sealer,
};

/// What is served now.
pub struct Snapshot {
    /// The revision of the policy whose clients are in force.
    pub revision: String,
    /// The same, if all of that policy is in force: nothing of it was refused.
    pub complete_revision: Option<String>,
    pub credentials_revision: Option<String>,
    /// The same, if nothing of the credentials was refused.
    pub complete_credentials_revision: Option<String>,
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
    pub backends: BTreeMap<BackendName, Backend>,
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
    /// A backend of `previous` is kept with its state if its spec is the same.
    pub fn new(checked: &CheckedServerHalf, previous: Option<&Self>, factory: &Factory, metrics: &Metrics) -> Self {
        let backends = checked.backends().map(|(backend, parsed)| {
            let previous = previous.and_then(|tools| tools.backends.get(&backend.name));
            (backend.name.clone(), factory.backend(backend, parsed, previous))
        });
        let backends: BTreeMap<_, _> = backends.collect();
        let limits = &checked.half().spec.limits;
        let tools = checked.tools().filter_map(|(tool, compiled)| {
            let work = backends.get(&tool.backend)?.work(&tool.kind, &compiled.kind)?;
            Some((tool.name.clone(), Tool::new(tool, compiled.schema.clone(), work, limits, metrics)))
        });
        Self { by_name: tools.collect(), backends }
    }
}

impl Snapshot {
    pub fn new(
        policy: &PolicyDocument,
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
            complete_revision: policy.is_complete.then(|| policy.revision.clone()),
            credentials_revision: credentials.map(|credentials| credentials.revision.clone()),
            complete_credentials_revision: credentials.filter(|it| it.is_complete).map(|it| it.revision.clone()),
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
